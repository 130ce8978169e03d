CREATE TABLE alarm (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  alarm TEXT NOT NULL,
  changed_at INTEGER NOT NULL,
  active BOOLEAN NOT NULL,
  severity TEXT NOT NULL,
  summary TEXT NOT NULL,
  verdict_id TEXT,
  PRIMARY KEY (tenant, site, work_unit, alarm)
);

CREATE TABLE alarm_change (
  inc INTEGER NOT NULL,
  stream SMALLINT NOT NULL,
  seq INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  at INTEGER NOT NULL,
  alarm TEXT NOT NULL,
  active BOOLEAN NOT NULL,
  severity TEXT NOT NULL,
  summary TEXT NOT NULL,
  verdict_id TEXT,
  PRIMARY KEY (inc, stream, seq)
);

CREATE INDEX alarm_change_by_alarm ON alarm_change (tenant, site, work_unit, alarm, active, at);

CREATE INDEX alarm_change_by_time ON alarm_change (tenant, at);

CREATE TABLE "conflict" (
  id INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  inc INTEGER NOT NULL,
  stream SMALLINT NOT NULL,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  digest BLOB NOT NULL,
  why TEXT NOT NULL,
  body BLOB NOT NULL,
  recorded_ms INTEGER NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (inc, stream, first, digest)
);

CREATE TABLE dead_letter (
  id INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  inc INTEGER NOT NULL,
  stream SMALLINT NOT NULL,
  first INTEGER NOT NULL,
  count INTEGER NOT NULL,
  why TEXT NOT NULL,
  body BLOB NOT NULL,
  recorded_ms INTEGER NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (inc, stream, first)
);

CREATE TABLE dirty_bucket (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  mart TEXT NOT NULL,
  start_ms INTEGER NOT NULL,
  gen INTEGER NOT NULL,
  due_ms INTEGER NOT NULL,
  PRIMARY KEY (tenant, site, work_unit, mart, start_ms)
);

CREATE INDEX dirty_bucket_by_due ON dirty_bucket (due_ms);

CREATE TABLE equipment_state (
  inc INTEGER NOT NULL,
  stream SMALLINT NOT NULL,
  seq INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  at INTEGER NOT NULL,
  state TEXT NOT NULL,
  reason TEXT,
  status INTEGER NOT NULL,
  job_order TEXT,
  product TEXT,
  lot TEXT,
  PRIMARY KEY (inc, stream, seq)
);

CREATE INDEX equipment_state_by_time ON equipment_state (tenant, site, work_unit, at);

CREATE TABLE fact (
  inc INTEGER NOT NULL,
  stream SMALLINT NOT NULL,
  seq INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  kind TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  at INTEGER NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (inc, stream, seq)
)
 WITHOUT ROWID;

CREATE INDEX fact_by_time ON fact (tenant, at);

CREATE TABLE gap (
  inc INTEGER NOT NULL,
  stream SMALLINT NOT NULL,
  seq INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  start INTEGER NOT NULL,
  at INTEGER NOT NULL,
  source TEXT NOT NULL,
  tags INTEGER NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (inc, stream, seq)
);

CREATE INDEX gap_by_time ON gap (tenant, site, work_unit, at);

CREATE TABLE gateway (
  id INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  name TEXT NOT NULL,
  last_seen_ms INTEGER,
  gone_ms INTEGER,
  software TEXT DEFAULT '' NOT NULL,
  clock_offset_ms INTEGER,
  waiting INTEGER DEFAULT '0' NOT NULL,
  waiting_bytes INTEGER DEFAULT '0' NOT NULL,
  oldest_at INTEGER,
  disk_free_bytes INTEGER,
  autonomy_hours DOUBLE,
  data_at INTEGER,
  sources TEXT DEFAULT '{}' NOT NULL,
  holdings TEXT DEFAULT '[]' NOT NULL,
  holdings_ms INTEGER,
  conflicts INTEGER DEFAULT '0' NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (tenant, site, name)
);

CREATE TABLE ingest_chunk (
  inc INTEGER NOT NULL,
  stream SMALLINT NOT NULL,
  first INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  count INTEGER NOT NULL,
  digest BLOB NOT NULL,
  stored_ms INTEGER NOT NULL,
  PRIMARY KEY (inc, stream, first)
)
 WITHOUT ROWID;

CREATE TABLE ingest_stream (
  inc INTEGER NOT NULL,
  stream SMALLINT NOT NULL,
  tenant TEXT NOT NULL,
  stored INTEGER DEFAULT '0' NOT NULL,
  last INTEGER DEFAULT '0' NOT NULL,
  rows INTEGER DEFAULT '0' NOT NULL,
  PRIMARY KEY (inc, stream)
);

CREATE TABLE inventory (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  material TEXT NOT NULL,
  location TEXT NOT NULL,
  at INTEGER NOT NULL,
  quantity DOUBLE NOT NULL,
  unit TEXT NOT NULL,
  daily_usage DOUBLE,
  PRIMARY KEY (tenant, site, material, location, at)
);

CREATE TABLE job_order (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  job_order TEXT NOT NULL,
  changed_at INTEGER NOT NULL,
  product TEXT NOT NULL,
  lot TEXT,
  quantity INTEGER NOT NULL,
  start INTEGER NOT NULL,
  end_at INTEGER NOT NULL,
  state TEXT NOT NULL,
  ideal_cycle_ms DOUBLE,
  PRIMARY KEY (tenant, site, work_unit, job_order)
);

CREATE INDEX job_order_by_time ON job_order (tenant, site, work_unit, start);

CREATE TABLE judgment (
  inc INTEGER NOT NULL,
  stream SMALLINT NOT NULL,
  seq INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  verdict_id TEXT NOT NULL,
  start INTEGER NOT NULL,
  at INTEGER NOT NULL,
  decision TEXT NOT NULL,
  severity TEXT NOT NULL,
  confidence DOUBLE NOT NULL,
  ruleset TEXT NOT NULL,
  summary TEXT NOT NULL,
  job_order TEXT,
  product TEXT,
  lot TEXT,
  PRIMARY KEY (inc, stream, seq)
);

CREATE INDEX judgment_by_line ON judgment (tenant, site, work_unit, at);

CREATE INDEX judgment_by_time ON judgment (tenant, at);

CREATE INDEX judgment_by_verdict ON judgment (tenant, verdict_id);

CREATE TABLE loss (
  inc INTEGER NOT NULL,
  stream SMALLINT NOT NULL,
  first INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  last INTEGER NOT NULL,
  reason TEXT NOT NULL,
  t0 INTEGER DEFAULT '0' NOT NULL,
  t1 INTEGER DEFAULT '0' NOT NULL,
  declared_by TEXT NOT NULL,
  recorded_ms INTEGER NOT NULL,
  PRIMARY KEY (inc, stream, first)
);

CREATE TABLE mart_defect (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  start_ms INTEGER NOT NULL,
  product TEXT NOT NULL,
  defect TEXT NOT NULL,
  quantity INTEGER NOT NULL,
  PRIMARY KEY (tenant, site, work_unit, start_ms, product, defect)
);

CREATE TABLE mart_hour (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  start_ms INTEGER NOT NULL,
  product TEXT NOT NULL,
  produced INTEGER NOT NULL,
  good INTEGER NOT NULL,
  scrap INTEGER NOT NULL,
  rework INTEGER NOT NULL,
  PRIMARY KEY (tenant, site, work_unit, start_ms, product)
);

CREATE TABLE mart_shift (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  start_ms INTEGER NOT NULL,
  product TEXT NOT NULL,
  end_ms INTEGER NOT NULL,
  business_date TEXT NOT NULL,
  shift TEXT NOT NULL,
  calendar_ms INTEGER NOT NULL,
  scheduled_ms INTEGER NOT NULL,
  apt_ms INTEGER NOT NULL,
  setup_ms INTEGER NOT NULL,
  delay_ms INTEGER NOT NULL,
  down_ms INTEGER NOT NULL,
  planned_down_ms INTEGER NOT NULL,
  unknown_ms INTEGER NOT NULL,
  produced INTEGER NOT NULL,
  good INTEGER NOT NULL,
  scrap INTEGER NOT NULL,
  rework INTEGER NOT NULL,
  unrated INTEGER NOT NULL,
  ideal_us INTEGER NOT NULL,
  ideal_good_us INTEGER NOT NULL,
  energy_wh INTEGER NOT NULL,
  judgments INTEGER NOT NULL,
  warnings INTEGER NOT NULL,
  criticals INTEGER NOT NULL,
  unknowns INTEGER NOT NULL,
  PRIMARY KEY (tenant, site, work_unit, start_ms, product)
);

CREATE INDEX mart_shift_by_date ON mart_shift (tenant, business_date);

CREATE TABLE mart_stop (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  start_ms INTEGER NOT NULL,
  element TEXT NOT NULL,
  reason TEXT NOT NULL,
  duration_ms INTEGER NOT NULL,
  stops INTEGER NOT NULL,
  PRIMARY KEY (tenant, site, work_unit, start_ms, element, reason)
);

CREATE TABLE mart_version (
  tenant TEXT NOT NULL,
  mart TEXT NOT NULL,
  version INTEGER NOT NULL,
  refreshed_ms INTEGER NOT NULL,
  PRIMARY KEY (tenant, mart)
);

CREATE TABLE product (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  product TEXT NOT NULL,
  changed_at INTEGER NOT NULL,
  name TEXT NOT NULL,
  ideal_cycle_ms TEXT NOT NULL,
  PRIMARY KEY (tenant, site, product)
);

CREATE TABLE production (
  inc INTEGER NOT NULL,
  stream SMALLINT NOT NULL,
  seq INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  start INTEGER NOT NULL,
  at INTEGER NOT NULL,
  counted_ms INTEGER NOT NULL,
  produced INTEGER NOT NULL,
  good INTEGER NOT NULL,
  scrap INTEGER NOT NULL,
  rework INTEGER NOT NULL,
  ideal_us INTEGER,
  ideal_good_us INTEGER,
  energy_wh INTEGER DEFAULT '0' NOT NULL,
  job_order TEXT,
  product TEXT,
  lot TEXT,
  PRIMARY KEY (inc, stream, seq)
);

CREATE INDEX production_by_time ON production (tenant, site, work_unit, counted_ms);

CREATE TABLE production_defect (
  inc INTEGER NOT NULL,
  stream SMALLINT NOT NULL,
  seq INTEGER NOT NULL,
  defect TEXT NOT NULL,
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  counted_ms INTEGER NOT NULL,
  product TEXT,
  quantity INTEGER NOT NULL,
  PRIMARY KEY (inc, stream, seq, defect)
);

CREATE INDEX production_defect_by_time ON production_defect (tenant, site, work_unit, counted_ms);

CREATE TABLE reading (
  inc INTEGER NOT NULL,
  stream SMALLINT NOT NULL,
  seq INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  tag INTEGER NOT NULL,
  source_time INTEGER NOT NULL,
  server_time INTEGER,
  value DOUBLE,
  other TEXT,
  status INTEGER DEFAULT '0' NOT NULL,
  PRIMARY KEY (inc, stream, seq)
)
 WITHOUT ROWID;

CREATE TABLE tag_minute (
  minute INTEGER NOT NULL,
  tag INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  good INTEGER NOT NULL,
  bad INTEGER NOT NULL,
  total DOUBLE NOT NULL,
  low DOUBLE,
  high DOUBLE,
  PRIMARY KEY (minute, tag)
)
 WITHOUT ROWID;

CREATE TABLE work_unit (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  gateway INTEGER NOT NULL,
  data_at INTEGER,
  state_at INTEGER DEFAULT '0' NOT NULL,
  state TEXT DEFAULT 'UNDEFINED' NOT NULL,
  reason TEXT,
  context_at INTEGER DEFAULT '0' NOT NULL,
  job_order TEXT,
  product TEXT,
  lot TEXT,
  context_stale BOOLEAN DEFAULT 0 NOT NULL,
  verdict_at INTEGER DEFAULT '0' NOT NULL,
  verdict_id TEXT,
  decision TEXT,
  severity TEXT,
  confidence DOUBLE,
  summary TEXT,
  PRIMARY KEY (tenant, site, work_unit)
);

CREATE TABLE dictionary (
  gateway INTEGER NOT NULL,
  version TEXT NOT NULL,
  tenant TEXT NOT NULL,
  tags TEXT NOT NULL,
  PRIMARY KEY (gateway, version),
  FOREIGN KEY(gateway) REFERENCES gateway (id)
);

CREATE TABLE incarnation (
  id INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  gateway INTEGER NOT NULL,
  inc TEXT NOT NULL,
  ord INTEGER DEFAULT '0' NOT NULL,
  previous TEXT DEFAULT '' NOT NULL,
  closed BOOLEAN DEFAULT 0 NOT NULL,
  first_seen_ms INTEGER NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (gateway, inc),
  FOREIGN KEY(gateway) REFERENCES gateway (id)
);

CREATE TABLE tag (
  id INTEGER NOT NULL,
  tenant TEXT NOT NULL,
  gateway INTEGER NOT NULL,
  name TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  unit TEXT,
  role TEXT NOT NULL,
  low DOUBLE,
  high DOUBLE,
  PRIMARY KEY (id),
  UNIQUE (gateway, name),
  FOREIGN KEY(gateway) REFERENCES gateway (id)
);
