-- The gateway's one file. Numbered: a file with `user_version` n has had 001 … n applied. Never edit an old number.
-- 0x54464C57 is "TFLW": how we know a file as ours.
PRAGMA application_id = 1413893207;

-- Small facts about the store itself: clean (1 after an orderly close), audit_head (hex SHA-256 of the last audit
-- record), sealed_produced and sealed_lost (records of incarnations that are done and whose rows are gone).
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;

-- One start of the process each. `closed` for all but the present one.
CREATE TABLE incarnation (
  ord      INTEGER PRIMARY KEY,
  inc      TEXT    NOT NULL UNIQUE,
  previous TEXT    NOT NULL,
  opened   INTEGER NOT NULL,          -- wall clock, ns
  software TEXT    NOT NULL,
  closed   INTEGER NOT NULL
) STRICT;

-- A lane of one incarnation: every seq in 1 … last is below the floor, in `chunk`, or in `loss`.
CREATE TABLE lane (
  ord    INTEGER NOT NULL,
  stream INTEGER NOT NULL,
  last   INTEGER NOT NULL,            -- highest seq assigned
  stored INTEGER NOT NULL,            -- the cloud has committed all up to here (or knows it as lost)
  safe   INTEGER NOT NULL,            -- … and has it in a backup
  floor  INTEGER NOT NULL,            -- forgotten up to here, after `safe` (or `stored` on a full disk)
  lost   INTEGER NOT NULL,            -- records ever declared lost
  PRIMARY KEY (ord, stream)
) STRICT, WITHOUT ROWID;

-- The outbox. The body stands last: reading the rest of a row does not touch it.
CREATE TABLE chunk (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  ord    INTEGER NOT NULL,
  stream INTEGER NOT NULL,
  first  INTEGER NOT NULL,
  count  INTEGER NOT NULL,
  at     INTEGER NOT NULL,            -- commit time, ns
  bytes  INTEGER NOT NULL,            -- of the body
  keep   INTEGER NOT NULL,            -- 1: a dictionary, without which later readings mean nothing
  t0     INTEGER NOT NULL,            -- span of the records' own times, ns
  t1     INTEGER NOT NULL,
  digest BLOB    NOT NULL,            -- SHA-256 of the body
  body   BLOB    NOT NULL
) STRICT;
-- Covers everything that counting and finding need, so that neither reads a body.
CREATE UNIQUE INDEX chunk_place ON chunk (ord, stream, first, count, bytes, at);

-- Records that will never arrive, and why. Each is told to the cloud; the row goes once the cloud's `safe` has passed it.
CREATE TABLE loss (
  ord    INTEGER NOT NULL,
  stream INTEGER NOT NULL,
  first  INTEGER NOT NULL,
  last   INTEGER NOT NULL,
  reason TEXT    NOT NULL,
  t0     INTEGER NOT NULL,
  t1     INTEGER NOT NULL,
  PRIMARY KEY (ord, stream, first)
) STRICT, WITHOUT ROWID;

-- Chunks the cloud refused or whose digest no longer fits: kept for a person to look at, oldest dropped beyond a limit.
CREATE TABLE aside (
  id     INTEGER PRIMARY KEY AUTOINCREMENT,
  inc    TEXT    NOT NULL,
  stream INTEGER NOT NULL,
  first  INTEGER NOT NULL,
  count  INTEGER NOT NULL,
  why    TEXT    NOT NULL,
  at     INTEGER NOT NULL,
  digest BLOB    NOT NULL,
  body   BLOB    NOT NULL
) STRICT;

-- Where windows, counters and sources stand: restored at the next start.
CREATE TABLE checkpoint (
  name   TEXT PRIMARY KEY,
  value  BLOB NOT NULL,
  digest BLOB NOT NULL
) STRICT;

-- The newest states, verdicts and alarms for the gateway's own page; a bounded ring, derived, never sent.
CREATE TABLE recent (
  id   INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  fact BLOB NOT NULL                  -- JSON
) STRICT;
CREATE INDEX recent_kind ON recent (kind, id);
