"""What the gateway may do about a verdict: hands that are off by default, and hard to move.

A verdict recommends; whether a value is written is decided here, in the verdict's own transaction, and every decision
says all its reasons. In the order of reading: `trust` (how far a ruleset is trusted, from `evidence`), `matrix`
(trust × risk), `guard` (what must be true for one write; `edge.interlock` is a part of it), `journal` (what waits, what
was begun, what became of it), `modes` and `switches` (how far the gateway may go, and the kill switch), `orders` (what
people leave for the running gateway), `execution` (intent on disk → write → read back), `fail_safe` (what is held and
lost its reason), `hands` (what decides), and `acting`, where they meet. `status` shows people all of it.

None of this is a safety function. A gateway has no SIL and no PL; people are protected by the machine's own safety
circuit, which nothing here reads from, writes to or stands in for.
"""
