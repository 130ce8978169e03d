"""Marts: additive integer measures by shift and hour, recomputed bucket by bucket from the facts that touched them.

Ingest marks the buckets a fact touches in the same transaction that stores it (`ledger`); the refresher recomputes
exactly those (`refresh`), with pure functions (`calendar`, `measure`). Anything may arrive late, and nothing is ever
added to a mart: a bucket is computed anew from base rows, so that repeating it is harmless.
"""
