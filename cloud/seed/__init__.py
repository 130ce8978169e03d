"""A made-up past that could have happened: facts of a quarter of a year, sent in through the real ingest.

`catalogue` says what the lines make and what goes wrong there, `shift` lives through one shift (pure, and the same
for the same seed), `stock` counts what lies in the stores, `tell` and `past` say it all as a gateway would, `send` stores it
chunk by chunk and has the marts computed, and `identities` checks afterwards what must hold of every real plant.
"""
