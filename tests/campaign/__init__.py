"""Campaigns: faults by the thousand against the real code, and one oracle: produced = stored + waiting + declared.

`python -m tests.campaign --short` runs what belongs to every commit, `--long` what belongs to a release; `docs/reliability.md`
says what each engine does and how to repeat a seed.
"""
