"""What the gateway may do about a verdict: hands that are off by default, and hard to move.

A verdict recommends; whether a value is written is decided here, in the verdict's own transaction, and every decision
says all its reasons. In the order of reading: `trust` (how far a ruleset is trusted, from `evidence`), `matrix`
(trust × risk), `interlock` and `guard` (what must be true for one write), `journal` (what waits, what was begun, what
became of it), `switches` (the kill switch), `orders` (what people leave for the running gateway), `writing` (intent on
disk → write → read back), and `acting`, where they meet.

None of this is a safety function. A gateway has no SIL and no PL; people are protected by the machine's own safety
circuit, which nothing here reads from, writes to or stands in for.
"""
