-- The facts under the names of the star, with their keys to the dimensions: one row per record, as it stands now.
-- shift_start_ms leads to dim_shift_instance, product_version to dim_product: the version true at the fact's own time.

create view fact_production as
select p.inc, p.stream, p.seq, p.tenant, p.site, p.work_unit, p.start as start_ns, p.at as end_ns, p.counted_ms,
  p.job_order, p.product, p.lot, p.produced, p.good, p.scrap, p.rework, p.ideal_us, p.ideal_good_us, p.energy_wh,
  (select max(i.start_ms) from dim_shift_instance i where i.tenant = p.tenant and i.site = p.site
    and i.start_ms <= p.counted_ms) as shift_start_ms,
  (select v.version_id from dim_product v where v.tenant = p.tenant and v.site = p.site and v.product = p.product
    and v.valid_from_ms <= p.counted_ms and (v.valid_to_ms is null or p.counted_ms < v.valid_to_ms)) as product_version
from production p;

create view fact_defect as
select d.inc, d.stream, d.seq, d.tenant, d.site, d.work_unit, d.counted_ms, d.product, d.defect, d.quantity,
  (select max(i.start_ms) from dim_shift_instance i where i.tenant = d.tenant and i.site = d.site
    and i.start_ms <= d.counted_ms) as shift_start_ms
from production_defect d;

create view fact_state as
select s.inc, s.stream, s.seq, s.tenant, s.site, s.work_unit, s.at / 1000000 as at_ms, s.state, s.reason, s.status,
  s.job_order, s.product, s.lot,
  (select max(i.start_ms) from dim_shift_instance i where i.tenant = s.tenant and i.site = s.site
    and i.start_ms <= s.at / 1000000) as shift_start_ms
from equipment_state s;

create view fact_judgment as
select j.inc, j.stream, j.seq, j.tenant, j.site, j.work_unit, j.verdict_id, j.start as start_ns, j.at as end_ns,
  (j.at - 1) / 1000000 as counted_ms, j.decision, j.severity, j.confidence, j.ruleset, j.ruleset_version, j.model,
  j.needs_human, j.job_order, j.product, j.lot,
  (select max(i.start_ms) from dim_shift_instance i where i.tenant = j.tenant and i.site = j.site
    and i.start_ms <= (j.at - 1) / 1000000) as shift_start_ms
from judgment j;

create view fact_inventory as
select n.inc, n.stream, n.seq, n.tenant, n.site, n.material, n.location, n.at / 1000000 as at_ms, n.quantity, n.unit,
  n.daily_usage,
  (select i.business_date from dim_shift_instance i where i.tenant = n.tenant and i.site = n.site
    and i.start_ms <= n.at / 1000000 order by i.start_ms desc limit 1) as business_date
from inventory n;

create view fact_energy as
select inc, stream, seq, tenant, site, work_unit, start_ns, end_ns, counted_ms, product, energy_wh, shift_start_ms
from fact_production where energy_wh <> 0;

create view fact_quality as
select q.inc, q.stream, q.seq, q.tenant, q.site, q.work_unit, q.at / 1000000 as at_ms, q.characteristic, q.value,
  q.unit, q.low, q.high, q.passed, q.sample, q.job_order, q.product, q.lot,
  (select max(i.start_ms) from dim_shift_instance i where i.tenant = q.tenant and i.site = q.site
    and i.start_ms <= q.at / 1000000) as shift_start_ms
from quality_measurement q;

create view fact_sensor_minute as
select m.tenant, g.site, t.work_unit, t.name as tag, t.unit, m.minute, m.minute * 60000 as start_ms, m.good, m.bad,
  m.total, m.low, m.high
from tag_minute m join tag t on t.id = m.tag join gateway g on g.id = t.gateway;
