-- The chain of every lane, what was forgotten before it was safe, what the cloud countersigned, and hours that are
-- still to be tallied. Rows of schema 001 keep empty values: "not known".
--
-- Link before the chunk (sync.chain); its own is SHA-256(before ‖ digest).
ALTER TABLE chunk ADD COLUMN before BLOB NOT NULL DEFAULT x'';
-- How long this store had been open in all when the chunk was committed, ns: its age needs no wall clock.
ALTER TABLE chunk ADD COLUMN lived INTEGER NOT NULL DEFAULT 0;

-- Link of the last chunk ever committed.
ALTER TABLE lane ADD COLUMN link BLOB NOT NULL DEFAULT x'';
-- Highest seq that stands in a tally.
ALTER TABLE lane ADD COLUMN tallied INTEGER NOT NULL DEFAULT 0;
-- Begin of the hour that runs and is not tallied yet, ns of the wall clock; 0 for none.
ALTER TABLE incarnation ADD COLUMN hour INTEGER NOT NULL DEFAULT 0;

-- Forgotten at `stored`, before it was safe: declared lost with these times should the cloud come back without it.
CREATE TABLE latent (
  ord    INTEGER NOT NULL,
  stream INTEGER NOT NULL,
  first  INTEGER NOT NULL,
  last   INTEGER NOT NULL,
  t0     INTEGER NOT NULL,
  t1     INTEGER NOT NULL,
  PRIMARY KEY (ord, stream, first)
) STRICT, WITHOUT ROWID;

-- The cloud's countersignatures: the newest of each lane, and every one of the audit lanes.
CREATE TABLE witness (
  inc       TEXT    NOT NULL,
  stream    INTEGER NOT NULL,
  seq       INTEGER NOT NULL,
  link      TEXT    NOT NULL,
  at        INTEGER NOT NULL,         -- the cloud's clock, ns
  signature TEXT    NOT NULL,
  PRIMARY KEY (inc, stream, seq)
) STRICT, WITHOUT ROWID;

-- Tag dictionaries that have left the outbox, until their incarnation is done: a cloud that was set back needs them
-- before it can take the readings that are still here. Columns as in `chunk`.
CREATE TABLE dictionary (
  ord    INTEGER NOT NULL,
  first  INTEGER NOT NULL,
  count  INTEGER NOT NULL,
  t0     INTEGER NOT NULL,
  t1     INTEGER NOT NULL,
  before BLOB    NOT NULL,
  digest BLOB    NOT NULL,
  body   BLOB    NOT NULL,
  PRIMARY KEY (ord, first)
) STRICT;

-- The newest incarnations of which nothing is left here: named to a cloud that was set back to before they began.
CREATE TABLE done (
  ord      INTEGER PRIMARY KEY,
  inc      TEXT    NOT NULL,
  previous TEXT    NOT NULL,
  lanes    TEXT    NOT NULL           -- JSON: stream → [last, hex link]
) STRICT;
