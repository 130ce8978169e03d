CREATE TABLE alarm (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  alarm TEXT NOT NULL,
  changed_at BIGINT NOT NULL,
  active BOOLEAN NOT NULL,
  severity TEXT NOT NULL,
  summary TEXT NOT NULL,
  verdict_id TEXT,
  PRIMARY KEY (tenant, site, work_unit, alarm)
);

CREATE TABLE alarm_change (
  inc BIGINT NOT NULL,
  stream SMALLINT NOT NULL,
  seq BIGINT NOT NULL,
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  at BIGINT NOT NULL,
  alarm TEXT NOT NULL,
  active BOOLEAN NOT NULL,
  severity TEXT NOT NULL,
  summary TEXT NOT NULL,
  verdict_id TEXT,
  PRIMARY KEY (inc, stream, seq)
);

CREATE INDEX alarm_change_by_alarm ON alarm_change (tenant, site, work_unit, alarm, active, at);

CREATE INDEX alarm_change_by_time ON alarm_change (tenant, at);

CREATE TABLE conflict (
  id BIGSERIAL NOT NULL,
  tenant TEXT NOT NULL,
  inc BIGINT NOT NULL,
  stream SMALLINT NOT NULL,
  first BIGINT NOT NULL,
  count BIGINT NOT NULL,
  digest BYTEA NOT NULL,
  why TEXT NOT NULL,
  body BYTEA NOT NULL,
  recorded_ms BIGINT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (inc, stream, first, digest)
);

CREATE TABLE dead_letter (
  id BIGSERIAL NOT NULL,
  tenant TEXT NOT NULL,
  inc BIGINT NOT NULL,
  stream SMALLINT NOT NULL,
  first BIGINT NOT NULL,
  count BIGINT NOT NULL,
  why TEXT NOT NULL,
  body BYTEA NOT NULL,
  recorded_ms BIGINT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (inc, stream, first)
);

CREATE TABLE dirty_bucket (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  mart TEXT NOT NULL,
  start_ms BIGINT NOT NULL,
  gen BIGINT NOT NULL,
  due_ms BIGINT NOT NULL,
  PRIMARY KEY (tenant, site, work_unit, mart, start_ms)
);

CREATE INDEX dirty_bucket_by_due ON dirty_bucket (due_ms);

CREATE TABLE equipment_state (
  inc BIGINT NOT NULL,
  stream SMALLINT NOT NULL,
  seq BIGINT NOT NULL,
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  at BIGINT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT,
  status BIGINT NOT NULL,
  job_order TEXT,
  product TEXT,
  lot TEXT,
  PRIMARY KEY (inc, stream, seq)
);

CREATE INDEX equipment_state_by_time ON equipment_state (tenant, site, work_unit, at);

CREATE TABLE fact (
  inc BIGINT NOT NULL,
  stream SMALLINT NOT NULL,
  seq BIGINT NOT NULL,
  tenant TEXT NOT NULL,
  kind TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  at BIGINT NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (inc, stream, seq)
);

CREATE INDEX fact_by_time ON fact (tenant, at);

CREATE TABLE gap (
  inc BIGINT NOT NULL,
  stream SMALLINT NOT NULL,
  seq BIGINT NOT NULL,
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  start BIGINT NOT NULL,
  at BIGINT NOT NULL,
  source TEXT NOT NULL,
  tags BIGINT NOT NULL,
  reason TEXT NOT NULL,
  PRIMARY KEY (inc, stream, seq)
);

CREATE INDEX gap_by_time ON gap (tenant, site, work_unit, at);

CREATE TABLE gateway (
  id BIGSERIAL NOT NULL,
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  name TEXT NOT NULL,
  last_seen_ms BIGINT,
  gone_ms BIGINT,
  software TEXT DEFAULT '' NOT NULL,
  clock_offset_ms BIGINT,
  waiting BIGINT DEFAULT '0' NOT NULL,
  waiting_bytes BIGINT DEFAULT '0' NOT NULL,
  oldest_at BIGINT,
  disk_free_bytes BIGINT,
  autonomy_hours DOUBLE PRECISION,
  data_at BIGINT,
  sources TEXT DEFAULT '{}' NOT NULL,
  holdings TEXT DEFAULT '[]' NOT NULL,
  holdings_ms BIGINT,
  conflicts BIGINT DEFAULT '0' NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (tenant, site, name)
);

CREATE TABLE ingest_chunk (
  inc BIGINT NOT NULL,
  stream SMALLINT NOT NULL,
  first BIGINT NOT NULL,
  tenant TEXT NOT NULL,
  count BIGINT NOT NULL,
  digest BYTEA NOT NULL,
  stored_ms BIGINT NOT NULL,
  PRIMARY KEY (inc, stream, first)
);

CREATE TABLE ingest_stream (
  inc BIGINT NOT NULL,
  stream SMALLINT NOT NULL,
  tenant TEXT NOT NULL,
  stored BIGINT DEFAULT '0' NOT NULL,
  last BIGINT DEFAULT '0' NOT NULL,
  rows BIGINT DEFAULT '0' NOT NULL,
  PRIMARY KEY (inc, stream)
);

CREATE TABLE inventory (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  material TEXT NOT NULL,
  location TEXT NOT NULL,
  at BIGINT NOT NULL,
  quantity DOUBLE PRECISION NOT NULL,
  unit TEXT NOT NULL,
  daily_usage DOUBLE PRECISION,
  PRIMARY KEY (tenant, site, material, location, at)
);

CREATE TABLE job_order (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  job_order TEXT NOT NULL,
  changed_at BIGINT NOT NULL,
  product TEXT NOT NULL,
  lot TEXT,
  quantity BIGINT NOT NULL,
  start BIGINT NOT NULL,
  end_at BIGINT NOT NULL,
  state TEXT NOT NULL,
  ideal_cycle_ms DOUBLE PRECISION,
  PRIMARY KEY (tenant, site, work_unit, job_order)
);

CREATE INDEX job_order_by_time ON job_order (tenant, site, work_unit, start);

CREATE TABLE judgment (
  inc BIGINT NOT NULL,
  stream SMALLINT NOT NULL,
  seq BIGINT NOT NULL,
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  verdict_id TEXT NOT NULL,
  start BIGINT NOT NULL,
  at BIGINT NOT NULL,
  decision TEXT NOT NULL,
  severity TEXT NOT NULL,
  confidence DOUBLE PRECISION NOT NULL,
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
  inc BIGINT NOT NULL,
  stream SMALLINT NOT NULL,
  first BIGINT NOT NULL,
  tenant TEXT NOT NULL,
  last BIGINT NOT NULL,
  reason TEXT NOT NULL,
  t0 BIGINT DEFAULT '0' NOT NULL,
  t1 BIGINT DEFAULT '0' NOT NULL,
  declared_by TEXT NOT NULL,
  recorded_ms BIGINT NOT NULL,
  PRIMARY KEY (inc, stream, first)
);

CREATE TABLE mart_defect (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  start_ms BIGINT NOT NULL,
  product TEXT NOT NULL,
  defect TEXT NOT NULL,
  quantity BIGINT NOT NULL,
  PRIMARY KEY (tenant, site, work_unit, start_ms, product, defect)
);

CREATE TABLE mart_hour (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  start_ms BIGINT NOT NULL,
  product TEXT NOT NULL,
  produced BIGINT NOT NULL,
  good BIGINT NOT NULL,
  scrap BIGINT NOT NULL,
  rework BIGINT NOT NULL,
  PRIMARY KEY (tenant, site, work_unit, start_ms, product)
);

CREATE TABLE mart_shift (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  start_ms BIGINT NOT NULL,
  product TEXT NOT NULL,
  end_ms BIGINT NOT NULL,
  business_date TEXT NOT NULL,
  shift TEXT NOT NULL,
  calendar_ms BIGINT NOT NULL,
  scheduled_ms BIGINT NOT NULL,
  apt_ms BIGINT NOT NULL,
  setup_ms BIGINT NOT NULL,
  delay_ms BIGINT NOT NULL,
  down_ms BIGINT NOT NULL,
  planned_down_ms BIGINT NOT NULL,
  unknown_ms BIGINT NOT NULL,
  produced BIGINT NOT NULL,
  good BIGINT NOT NULL,
  scrap BIGINT NOT NULL,
  rework BIGINT NOT NULL,
  unrated BIGINT NOT NULL,
  ideal_us BIGINT NOT NULL,
  ideal_good_us BIGINT NOT NULL,
  energy_wh BIGINT NOT NULL,
  judgments BIGINT NOT NULL,
  warnings BIGINT NOT NULL,
  criticals BIGINT NOT NULL,
  unknowns BIGINT NOT NULL,
  PRIMARY KEY (tenant, site, work_unit, start_ms, product)
);

CREATE INDEX mart_shift_by_date ON mart_shift (tenant, business_date);

CREATE TABLE mart_stop (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  start_ms BIGINT NOT NULL,
  element TEXT NOT NULL,
  reason TEXT NOT NULL,
  duration_ms BIGINT NOT NULL,
  stops BIGINT NOT NULL,
  PRIMARY KEY (tenant, site, work_unit, start_ms, element, reason)
);

CREATE TABLE mart_version (
  tenant TEXT NOT NULL,
  mart TEXT NOT NULL,
  version BIGINT NOT NULL,
  refreshed_ms BIGINT NOT NULL,
  PRIMARY KEY (tenant, mart)
);

CREATE TABLE product (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  product TEXT NOT NULL,
  changed_at BIGINT NOT NULL,
  name TEXT NOT NULL,
  ideal_cycle_ms TEXT NOT NULL,
  PRIMARY KEY (tenant, site, product)
);

CREATE TABLE production (
  inc BIGINT NOT NULL,
  stream SMALLINT NOT NULL,
  seq BIGINT NOT NULL,
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  start BIGINT NOT NULL,
  at BIGINT NOT NULL,
  counted_ms BIGINT NOT NULL,
  produced BIGINT NOT NULL,
  good BIGINT NOT NULL,
  scrap BIGINT NOT NULL,
  rework BIGINT NOT NULL,
  ideal_us BIGINT,
  ideal_good_us BIGINT,
  energy_wh BIGINT DEFAULT '0' NOT NULL,
  job_order TEXT,
  product TEXT,
  lot TEXT,
  PRIMARY KEY (inc, stream, seq)
);

CREATE INDEX production_by_time ON production (tenant, site, work_unit, counted_ms);

CREATE TABLE production_defect (
  inc BIGINT NOT NULL,
  stream SMALLINT NOT NULL,
  seq BIGINT NOT NULL,
  defect TEXT NOT NULL,
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  counted_ms BIGINT NOT NULL,
  product TEXT,
  quantity BIGINT NOT NULL,
  PRIMARY KEY (inc, stream, seq, defect)
);

CREATE INDEX production_defect_by_time ON production_defect (tenant, site, work_unit, counted_ms);

CREATE TABLE reading (
  inc BIGINT NOT NULL,
  stream SMALLINT NOT NULL,
  seq BIGINT NOT NULL,
  tenant TEXT NOT NULL,
  tag BIGINT NOT NULL,
  source_time BIGINT NOT NULL,
  server_time BIGINT,
  value DOUBLE PRECISION,
  other TEXT,
  status BIGINT DEFAULT '0' NOT NULL,
  PRIMARY KEY (inc, stream, seq)
);

CREATE TABLE tag_minute (
  minute BIGINT NOT NULL,
  tag BIGINT NOT NULL,
  tenant TEXT NOT NULL,
  good BIGINT NOT NULL,
  bad BIGINT NOT NULL,
  total DOUBLE PRECISION NOT NULL,
  low DOUBLE PRECISION,
  high DOUBLE PRECISION,
  PRIMARY KEY (minute, tag)
);

CREATE TABLE work_unit (
  tenant TEXT NOT NULL,
  site TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  gateway BIGINT NOT NULL,
  data_at BIGINT,
  state_at BIGINT DEFAULT '0' NOT NULL,
  state TEXT DEFAULT 'UNDEFINED' NOT NULL,
  reason TEXT,
  context_at BIGINT DEFAULT '0' NOT NULL,
  job_order TEXT,
  product TEXT,
  lot TEXT,
  context_stale BOOLEAN DEFAULT false NOT NULL,
  verdict_at BIGINT DEFAULT '0' NOT NULL,
  verdict_id TEXT,
  decision TEXT,
  severity TEXT,
  confidence DOUBLE PRECISION,
  summary TEXT,
  PRIMARY KEY (tenant, site, work_unit)
);

CREATE TABLE dictionary (
  gateway BIGINT NOT NULL,
  version TEXT NOT NULL,
  tenant TEXT NOT NULL,
  tags TEXT NOT NULL,
  PRIMARY KEY (gateway, version),
  FOREIGN KEY(gateway) REFERENCES gateway (id)
);

CREATE TABLE incarnation (
  id BIGSERIAL NOT NULL,
  tenant TEXT NOT NULL,
  gateway BIGINT NOT NULL,
  inc TEXT NOT NULL,
  ord BIGINT DEFAULT '0' NOT NULL,
  previous TEXT DEFAULT '' NOT NULL,
  closed BOOLEAN DEFAULT false NOT NULL,
  first_seen_ms BIGINT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (gateway, inc),
  FOREIGN KEY(gateway) REFERENCES gateway (id)
);

CREATE TABLE tag (
  id BIGSERIAL NOT NULL,
  tenant TEXT NOT NULL,
  gateway BIGINT NOT NULL,
  name TEXT NOT NULL,
  work_unit TEXT NOT NULL,
  unit TEXT,
  role TEXT NOT NULL,
  low DOUBLE PRECISION,
  high DOUBLE PRECISION,
  PRIMARY KEY (id),
  UNIQUE (gateway, name),
  FOREIGN KEY(gateway) REFERENCES gateway (id)
);
