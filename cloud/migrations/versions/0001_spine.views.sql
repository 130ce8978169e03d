-- Figures by their usual names, for people who ask with SQL. Sums of the shift grain; ratios of sums; no data is null.

create view mv_oee_daily as
select tenant, site, work_unit, business_date, shift,
  busy_ms, apt_ms, setup_ms, delay_ms, down_ms, planned_down_ms, unknown_ms, produced, good, scrap,
  cast(apt_ms as double precision) / nullif(busy_ms, 0) as availability,
  case when unrated = 0 then cast(ideal_us as double precision) / nullif(apt_ms * 1000, 0) end as effectiveness,
  case when unrated = 0 then cast(ideal_good_us as double precision) / nullif(ideal_us, 0) end as quality_ratio,
  case when unrated = 0 and unknown_ms < busy_ms
    then cast(ideal_good_us as double precision) / nullif(busy_ms * 1000, 0) end as oee
from (
  select tenant, site, work_unit, business_date, shift,
    sum(apt_ms + setup_ms + delay_ms + down_ms + unknown_ms) as busy_ms,
    sum(apt_ms) as apt_ms, sum(setup_ms) as setup_ms, sum(delay_ms) as delay_ms, sum(down_ms) as down_ms,
    sum(planned_down_ms) as planned_down_ms, sum(unknown_ms) as unknown_ms,
    sum(produced) as produced, sum(good) as good, sum(scrap) as scrap, sum(unrated) as unrated,
    sum(ideal_us) as ideal_us, sum(ideal_good_us) as ideal_good_us
  from mart_shift group by tenant, site, work_unit, business_date, shift
) sums;

create view mv_line_performance as
select tenant, site, work_unit, business_date,
  busy_ms, apt_ms, down_ms, produced, good, scrap, products, judgments, warnings, criticals,
  cast(apt_ms as double precision) / nullif(busy_ms, 0) as availability,
  case when unrated = 0 and unknown_ms < busy_ms
    then cast(ideal_good_us as double precision) / nullif(busy_ms * 1000, 0) end as oee,
  cast(produced - good as double precision) / nullif(produced, 0) as defect_rate
from (
  select tenant, site, work_unit, business_date,
    sum(apt_ms + setup_ms + delay_ms + down_ms + unknown_ms) as busy_ms,
    sum(apt_ms) as apt_ms, sum(down_ms) as down_ms, sum(unknown_ms) as unknown_ms,
    sum(produced) as produced, sum(good) as good, sum(scrap) as scrap, sum(unrated) as unrated,
    sum(ideal_good_us) as ideal_good_us,
    count(distinct case when produced > 0 then product end) as products,
    sum(judgments) as judgments, sum(warnings) as warnings, sum(criticals) as criticals
  from mart_shift group by tenant, site, work_unit, business_date
) sums;

-- Production and defects are each brought to one row per shift and product before they meet: no total is multiplied.
create view mv_defect_trend as
select m.tenant, m.site, m.work_unit, m.business_date, m.shift, m.product,
  sum(m.produced) as produced, sum(m.produced - m.good) as rejected, coalesce(sum(d.quantity), 0) as classified,
  cast(sum(m.produced - m.good) as double precision) / nullif(sum(m.produced), 0) as defect_rate
from mart_shift m
left join (
  select tenant, site, work_unit, start_ms, product, sum(quantity) as quantity
  from mart_defect group by tenant, site, work_unit, start_ms, product
) d on d.tenant = m.tenant and d.site = m.site and d.work_unit = m.work_unit and d.start_ms = m.start_ms
  and d.product = m.product
group by m.tenant, m.site, m.work_unit, m.business_date, m.shift, m.product;
