"""What can be released to a line, and how to evaluate it: expressions, rulesets, control charts, model packages.

Read `window` (what is judged), `expression` (CEL, the public face of the `expression_*` files), `rulesets` (of the
`ruleset_*` files), `virtual` (tags made from tags), `spc` (charts and capability); for models `package` (the file),
`features` (its inputs, one definition for line and training), `session` (the run), `drift`. Pure, but for what a
package needs: its file is read and written (`package`), verified in a child process, and served by one (`worker`).
"""
