CREATE TABLE mart_order (
  tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, start_ms {big} NOT NULL, job_order TEXT NOT NULL,
  lot TEXT NOT NULL, product TEXT NOT NULL, business_date TEXT DEFAULT '' NOT NULL, shift TEXT DEFAULT '' NOT NULL,
  produced {big} NOT NULL, good {big} NOT NULL, scrap {big} NOT NULL, rework {big} NOT NULL, unrated {big} NOT NULL,
  ideal_us {big} NOT NULL, ideal_good_us {big} NOT NULL, energy_wh {big} NOT NULL, PRIMARY KEY (tenant, site, work_unit,
  start_ms, job_order, lot, product)
){clustered};
CREATE INDEX mart_order_by_date ON mart_order (tenant, business_date);
CREATE INDEX mart_order_by_lot ON mart_order (tenant, lot);
CREATE TABLE mart_judgment (
  tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, start_ms {big} NOT NULL, product TEXT NOT NULL,
  ruleset TEXT NOT NULL, ruleset_version TEXT NOT NULL, model TEXT NOT NULL, business_date TEXT DEFAULT '' NOT NULL,
  shift TEXT DEFAULT '' NOT NULL, judgments {big} NOT NULL, warnings {big} NOT NULL, criticals {big} NOT NULL,
  unknowns {big} NOT NULL, needs_human {big} NOT NULL, confidence_ppm {big} NOT NULL, PRIMARY KEY (tenant, site, work_unit,
  start_ms, product, ruleset, ruleset_version, model)
){clustered};
CREATE INDEX mart_judgment_by_date ON mart_judgment (tenant, business_date);
CREATE TABLE mart_quality (
  tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, start_ms {big} NOT NULL, product TEXT NOT NULL,
  lot TEXT NOT NULL, characteristic TEXT NOT NULL, unit TEXT NOT NULL, business_date TEXT DEFAULT '' NOT NULL, shift
  TEXT DEFAULT '' NOT NULL, measured {big} NOT NULL, passed {big} NOT NULL, failed {big} NOT NULL, untold {big} NOT
  NULL, valued {big} NOT NULL, total_micro {big} NOT NULL, low_micro {big}, high_micro {big}, PRIMARY KEY (tenant, site,
  work_unit, start_ms, product, lot, characteristic, unit)
){clustered};
CREATE INDEX mart_quality_by_date ON mart_quality (tenant, business_date);
CREATE TABLE mart_day (
  tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, business_date TEXT NOT NULL, product TEXT NOT
  NULL, start_ms {big} NOT NULL, calendar_ms {big} NOT NULL, scheduled_ms {big} NOT NULL, apt_ms {big} NOT NULL,
  setup_ms {big} NOT NULL, delay_ms {big} NOT NULL, down_ms {big} NOT NULL, planned_down_ms {big} NOT NULL, unknown_ms
  {big} NOT NULL, produced {big} NOT NULL, good {big} NOT NULL, scrap {big} NOT NULL, rework {big} NOT NULL, unrated
  {big} NOT NULL, ideal_us {big} NOT NULL, ideal_good_us {big} NOT NULL, energy_wh {big} NOT NULL, judgments {big} NOT
  NULL, warnings {big} NOT NULL, criticals {big} NOT NULL, unknowns {big} NOT NULL, planned_micro {big} NOT NULL,
  failures {big} NOT NULL, PRIMARY KEY (tenant, site, work_unit, business_date, product)
){clustered};
CREATE INDEX mart_day_by_date ON mart_day (tenant, business_date);
CREATE TABLE mart_day_stop (
  tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, business_date TEXT NOT NULL, element TEXT NOT
  NULL, reason TEXT NOT NULL, start_ms {big} NOT NULL, duration_ms {big} NOT NULL, stops {big} NOT NULL, PRIMARY KEY (tenant,
  site, work_unit, business_date, element, reason)
){clustered};
CREATE INDEX mart_day_stop_by_date ON mart_day_stop (tenant, business_date);
CREATE TABLE mart_day_defect (
  tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, business_date TEXT NOT NULL, product TEXT NOT
  NULL, defect TEXT NOT NULL, start_ms {big} NOT NULL, quantity {big} NOT NULL, PRIMARY KEY (tenant, site, work_unit,
  business_date, product, defect)
){clustered};
CREATE INDEX mart_day_defect_by_date ON mart_day_defect (tenant, business_date);
CREATE TABLE mart_inventory (
  tenant TEXT NOT NULL, site TEXT NOT NULL, material TEXT NOT NULL, location TEXT NOT NULL, business_date TEXT NOT
  NULL, quantity_micro {big} NOT NULL, usage_micro {big}, unit TEXT NOT NULL, at {big} NOT NULL, PRIMARY KEY (tenant, site,
  material, location, business_date)
){clustered};
CREATE INDEX mart_inventory_by_date ON mart_inventory (tenant, business_date);
CREATE TABLE mv_oee_daily (
  tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, business_date TEXT NOT NULL, shift TEXT NOT NULL,
  busy_ms {big} NOT NULL, apt_ms {big} NOT NULL, setup_ms {big} NOT NULL, delay_ms {big} NOT NULL, down_ms {big} NOT
  NULL, planned_down_ms {big} NOT NULL, unknown_ms {big} NOT NULL, produced {big} NOT NULL, good {big} NOT NULL, scrap
  {big} NOT NULL, planned_micro {big} NOT NULL, availability {double}, availability_excl_setup {double}, performance
  {double}, effectiveness {double}, quality {double}, oee {double}, availability_pct {double}, performance_pct
  {double}, quality_pct {double}, oee_pct {double}, achievement_rate {double}, reason TEXT, implausible {big} NOT
  NULL, PRIMARY KEY (tenant, site, work_unit, business_date, shift)
){clustered};
CREATE INDEX mv_oee_daily_by_date ON mv_oee_daily (tenant, business_date);
CREATE TABLE mv_defect_trend (
  tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, business_date TEXT NOT NULL, product TEXT NOT
  NULL, shift TEXT NOT NULL, produced {big} NOT NULL, good {big} NOT NULL, rejected {big} NOT NULL, classified {big}
  NOT NULL, defect_rate {double}, yield_rate {double}, defect_rate_7d {double}, trend TEXT, top_defects TEXT NOT NULL,
  PRIMARY KEY (tenant, site, work_unit, business_date, product, shift)
){clustered};
CREATE INDEX mv_defect_trend_by_date ON mv_defect_trend (tenant, business_date);
CREATE TABLE mv_line_performance (
  tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, business_date TEXT NOT NULL, busy_ms {big} NOT
  NULL, apt_ms {big} NOT NULL, setup_ms {big} NOT NULL, delay_ms {big} NOT NULL, down_ms {big} NOT NULL,
  planned_down_ms {big} NOT NULL, unknown_ms {big} NOT NULL, scheduled_ms {big} NOT NULL, produced {big} NOT NULL,
  good {big} NOT NULL, scrap {big} NOT NULL, rejected {big} NOT NULL, planned_micro {big} NOT NULL, defect_rate
  {double}, availability {double}, availability_excl_setup {double}, performance {double}, effectiveness {double},
  quality {double}, oee {double}, availability_pct {double}, performance_pct {double}, quality_pct {double}, oee_pct
  {double}, achievement_rate {double}, reason TEXT, products {big} NOT NULL, judgments {big} NOT NULL, warnings {big}
  NOT NULL, criticals {big} NOT NULL, alarm_count {big} NOT NULL, breakdown_count {big} NOT NULL, utilisation
  {double}, performance_score {double}, performance_rank {big}, PRIMARY KEY (tenant, site, work_unit, business_date)
){clustered};
CREATE INDEX mv_line_performance_by_date ON mv_line_performance (tenant, business_date);
CREATE TABLE mv_quality_summary (
  tenant TEXT NOT NULL, site TEXT NOT NULL, business_date TEXT NOT NULL, produced {big} NOT NULL, good {big} NOT NULL,
  rejected {big} NOT NULL, scrap {big} NOT NULL, rework {big} NOT NULL, classified {big} NOT NULL, defect_rate
  {double}, defect_rate_pct {double}, measured {big} NOT NULL, passed {big} NOT NULL, failed {big} NOT NULL, untold
  {big} NOT NULL, failed_ratio {double}, PRIMARY KEY (tenant, site, business_date)
){clustered};
CREATE TABLE mv_inventory_coverage (
  tenant TEXT NOT NULL, site TEXT NOT NULL, business_date TEXT NOT NULL, material TEXT NOT NULL, location TEXT NOT
  NULL, quantity_micro {big} NOT NULL, unit TEXT NOT NULL, safety_micro {big}, usage_micro {big}, stock {double},
  safety_stock {double}, avg_daily_usage {double}, coverage_days {double}, reason TEXT, stock_status TEXT,
  needs_reorder {big}, reorder_qty {double}, at {big} NOT NULL, PRIMARY KEY (tenant, site, business_date, material, location)
){clustered};
CREATE TABLE dim_date (
  country TEXT NOT NULL, date TEXT NOT NULL, year {big} NOT NULL, quarter {big} NOT NULL, month {big} NOT NULL,
  iso_year {big} NOT NULL, iso_week {big} NOT NULL, day_of_year {big} NOT NULL, day_of_month {big} NOT NULL,
  day_of_week {big} NOT NULL, is_weekend {big} NOT NULL, is_holiday {big} NOT NULL, holiday_name TEXT NOT NULL,
  fiscal_year {big} NOT NULL, fiscal_quarter {big} NOT NULL, fiscal_month {big} NOT NULL, PRIMARY KEY (country, date)
){clustered};
CREATE TABLE dim_time (
  minute {big} NOT NULL, hour {big} NOT NULL, minute_of_hour {big} NOT NULL, label TEXT NOT NULL, PRIMARY KEY (minute)
);
CREATE TABLE dim_shift (
  tenant TEXT NOT NULL, site TEXT NOT NULL, shift TEXT NOT NULL, starts TEXT NOT NULL, ends TEXT NOT NULL, minutes
  {big} NOT NULL, break_minutes {big} NOT NULL, is_night {big} NOT NULL, position {big} NOT NULL, days TEXT NOT NULL,
  PRIMARY KEY (tenant, site, shift)
);
CREATE TABLE dim_shift_instance (
  tenant TEXT NOT NULL, site TEXT NOT NULL, start_ms {big} NOT NULL, end_ms {big} NOT NULL, business_date TEXT NOT
  NULL, shift TEXT NOT NULL, break_ms {big} NOT NULL, zone TEXT NOT NULL, PRIMARY KEY (tenant, site, start_ms)
){clustered};
CREATE INDEX dim_shift_instance_by_date ON dim_shift_instance (tenant, business_date);
CREATE TABLE dim_site (
  tenant TEXT NOT NULL, site TEXT NOT NULL, name_ko TEXT NOT NULL, name_en TEXT NOT NULL, zone TEXT NOT NULL, country
  TEXT NOT NULL, PRIMARY KEY (tenant, site)
);
CREATE TABLE dim_line (
  tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, area TEXT NOT NULL, work_center TEXT NOT NULL,
  name_ko TEXT NOT NULL, name_en TEXT NOT NULL, position {big} NOT NULL, inferred {big} DEFAULT '0' NOT NULL,
  PRIMARY KEY (tenant, site, work_unit)
);
CREATE TABLE dim_equipment (
  tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, equipment TEXT NOT NULL, gateway TEXT NOT NULL,
  inferred {big} DEFAULT '0' NOT NULL, PRIMARY KEY (tenant, site, work_unit)
);
CREATE TABLE dim_product (
  tenant TEXT NOT NULL, site TEXT NOT NULL, product TEXT NOT NULL, valid_from_ms {big} NOT NULL, valid_to_ms {big},
  version_id TEXT NOT NULL, recorded_ms {big}, name TEXT NOT NULL, ideal_cycle_ms TEXT NOT NULL, inferred {big}
  DEFAULT '0' NOT NULL, PRIMARY KEY (tenant, site, product, valid_from_ms)
);
CREATE INDEX dim_product_by_version ON dim_product (version_id);
CREATE TABLE dim_order (
  tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, job_order TEXT NOT NULL, product TEXT DEFAULT ''
  NOT NULL, lot TEXT, quantity {big}, start {big}, end_at {big}, state TEXT DEFAULT '' NOT NULL, changed_at {big}
  DEFAULT '0' NOT NULL, inferred {big} DEFAULT '0' NOT NULL, PRIMARY KEY (tenant, site, work_unit, job_order)
);
CREATE TABLE dim_lot (
  tenant TEXT NOT NULL, site TEXT NOT NULL, lot TEXT NOT NULL, product TEXT DEFAULT '' NOT NULL, quantity {double},
  unit TEXT, state TEXT DEFAULT '' NOT NULL, job_order TEXT, changed_at {big} DEFAULT '0' NOT NULL, inferred {big}
  DEFAULT '0' NOT NULL, PRIMARY KEY (tenant, site, lot)
);
CREATE TABLE dim_defect_type (
  tenant TEXT NOT NULL, defect TEXT NOT NULL, name_ko TEXT NOT NULL, name_en TEXT NOT NULL, inferred {big} DEFAULT '0'
  NOT NULL, PRIMARY KEY (tenant, defect)
);
CREATE TABLE dim_stop_reason (
  tenant TEXT NOT NULL, reason TEXT NOT NULL, element TEXT NOT NULL, name_ko TEXT NOT NULL, name_en TEXT NOT NULL,
  inferred {big} DEFAULT '0' NOT NULL, PRIMARY KEY (tenant, reason)
);
CREATE TABLE dim_material (
  tenant TEXT NOT NULL, site TEXT NOT NULL, material TEXT NOT NULL, unit TEXT DEFAULT '' NOT NULL, safety_micro {big},
  reorder_micro {big}, inferred {big} DEFAULT '0' NOT NULL, PRIMARY KEY (tenant, site, material)
);
CREATE TABLE dim_ruleset (
  tenant TEXT NOT NULL, ruleset TEXT NOT NULL, version TEXT NOT NULL, first_seen_ms {big} DEFAULT '0' NOT NULL,
  PRIMARY KEY (tenant, ruleset, version)
);
CREATE TABLE dim_model (
  tenant TEXT NOT NULL, model TEXT NOT NULL, first_seen_ms {big} DEFAULT '0' NOT NULL, PRIMARY KEY (tenant, model)
);
CREATE TABLE dim_kpi (
  kpi TEXT NOT NULL, code TEXT NOT NULL, category TEXT NOT NULL, unit TEXT NOT NULL, target {double}, warning
  {double}, critical {double}, higher_is_better {big} NOT NULL, aggregation TEXT NOT NULL, PRIMARY KEY (kpi)
);
CREATE TABLE kpi_target (
  tenant TEXT NOT NULL, site TEXT NOT NULL, work_unit TEXT NOT NULL, kpi TEXT NOT NULL, target {double} NOT NULL,
  warning {double} NOT NULL, critical {double} NOT NULL, set_by TEXT DEFAULT '' NOT NULL, set_ms {big} DEFAULT '0' NOT
  NULL, PRIMARY KEY (tenant, site, work_unit, kpi)
);
CREATE TABLE inventory (
  inc {big} NOT NULL, stream SMALLINT NOT NULL, seq {big} NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL, material
  TEXT NOT NULL, location TEXT NOT NULL, at {big} NOT NULL, quantity {double} NOT NULL, unit TEXT NOT NULL,
  daily_usage {double}, quantity_micro {big}, usage_micro {big}, PRIMARY KEY (inc, stream, seq)
);
CREATE INDEX inventory_by_material ON inventory (tenant, site, material, at);
CREATE INDEX inventory_by_time ON inventory (tenant, site, at);
CREATE TABLE quality_measurement (
  inc {big} NOT NULL, stream SMALLINT NOT NULL, seq {big} NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL,
  work_unit TEXT NOT NULL, at {big} NOT NULL, characteristic TEXT NOT NULL, value {double}, other TEXT, unit TEXT, low
  {double}, high {double}, passed BOOLEAN, sample TEXT NOT NULL, job_order TEXT, product TEXT, lot TEXT, value_micro
  {big}, PRIMARY KEY (inc, stream, seq)
);
CREATE INDEX quality_measurement_by_characteristic ON quality_measurement (tenant, site, work_unit, characteristic, at);
CREATE INDEX quality_measurement_by_lot ON quality_measurement (tenant, lot);
CREATE INDEX quality_measurement_by_time ON quality_measurement (tenant, site, work_unit, at);
CREATE TABLE job_response (
  inc {big} NOT NULL, stream SMALLINT NOT NULL, seq {big} NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL,
  work_unit TEXT NOT NULL, start {big} NOT NULL, at {big} NOT NULL, response TEXT NOT NULL, job_order TEXT, product
  TEXT, lot TEXT, produced {big} NOT NULL, good {big} NOT NULL, scrap {big} NOT NULL, rework {big} NOT NULL, complete
  BOOLEAN NOT NULL, PRIMARY KEY (inc, stream, seq)
);
CREATE INDEX job_response_by_order ON job_response (tenant, site, work_unit, job_order);
CREATE TABLE product_definition (
  inc {big} NOT NULL, stream SMALLINT NOT NULL, seq {big} NOT NULL, tenant TEXT NOT NULL, site TEXT NOT NULL, product
  TEXT NOT NULL, at {big} NOT NULL, name TEXT NOT NULL, ideal_cycle_ms TEXT NOT NULL, recorded_ms {big}, PRIMARY KEY (inc,
  stream, seq)
);
CREATE INDEX product_definition_by_product ON product_definition (tenant, site, product, at);
CREATE INDEX mart_stop_by_date ON mart_stop (tenant, business_date);
CREATE INDEX mart_defect_by_date ON mart_defect (tenant, business_date);
CREATE INDEX mart_hour_by_start ON mart_hour (tenant, start_ms);
CREATE INDEX job_order_by_end ON job_order (tenant, site, work_unit, end_at);
