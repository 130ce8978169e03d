"""The contract between gateway and cloud: what may cross the wire, and the promise that it does.

**The promise.** A fact that the store acknowledged is on disk. It leaves the gateway's disk only after the cloud's
database has committed it. The cloud stores it once. What is dropped on purpose is a `Loss`, counted and reported.
So at any quiet moment, per gateway: produced = stored + waiting + declared losses.

Glossary
  fact         something that happened, with its time; immutable (`sync.facts`), or one reading (`sync.reading`)
  stream       a lane of facts with its own sequence: audit, event, fact, agg, diag
  incarnation  one start of a gateway's process: 128 random bits; identity of a fact is
               (gateway, stream, incarnation, seq), and seq is contiguous within it
  chunk        up to 1,000 consecutive records of one stream, encoded once (`sync.chunk`)
  frame        one message on the wire (`sync.frames`), sealed with the gateway's key
  receipt      what the cloud says after its commit: `stored` and `safe`
  loss         a range of records that will never arrive, and why; delivered exactly once like any record
  nonce        what the cloud hands out at every resume, so that nothing from an earlier session counts

Read `frames`, then `cursor` (the gateway's side as a table, no I/O), then `receiver` (the cloud's side, no I/O).
"""
