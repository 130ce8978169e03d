"""The semantic layer: one definition of every figure, one typed plan for every question, one compiler for every asker.

API, page, chart, report and alert alike hand in a `Plan` (`plan`); its metrics and dimensions are looked up in the
catalogue (`metrics`, `dimensions`), compiled to SQL over the marts (`compile`) within the asker's `Scope` (`scope`),
run behind walls (`walls`) and given back as a `Table` (`table`) of numerators and denominators: a ratio is made last,
of sums, in one place, so that no average of ratios can happen on the way.
"""
