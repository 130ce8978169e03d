"""From the wire to committed rows, exactly once.

`flow` listens and answers, `store` is one transaction, `project` is what queries need of each kind of fact.
"""
