"""From facts to figures, and back: what counts, what does not and why, and how anybody can tell.

A fact stays as it came, for ever (`fact`). What it comes to (`production`, `equipment_state`, …) is the projection of
its highest revision (`corrections`), unless that one is held: facts that cannot be true (`rules`, `checks`) are kept,
listed with their reason and stay out of every mart, until a person releases or corrects them (`letters`). So a mart
needs to know nothing of either: what does not count has no row to be summed up.

`intake` does all of this inside the transaction of ingest, `redo` whenever it is decided anew. Both mark the buckets
of the old and of the new revision in that same transaction; a crash can lose neither.

Whether the marts are right is not believed but looked at: the `auditor` recomputes random buckets, `rebuild` all of
them, and `restate` says which figures changed when the past is computed anew. None of them mends silently.
"""
