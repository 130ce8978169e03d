"""What can be released to a line, and how to evaluate it: expressions, rulesets, later models. Pure: no I/O, no clock.

Read `window` (what is judged), `expression` (CEL, the public face of the `expression_*` files), then `rulesets`.
"""
