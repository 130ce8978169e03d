"""`python -m bench bi_long`: a year of ten lines at 0.1, 1 and 10 million production facts; about sixteen minutes."""

from __future__ import annotations

from bench import bi
from bench.table import Row

SIZES = (100_000, 1_000_000, 10_000_000)
DAYS = 365


def run() -> list[Row]:
    return bi.run(SIZES, DAYS)
