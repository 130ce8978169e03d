"""Engine 1: a deterministic simulation of gateways, broker and cloud; a seed is a world, and the same one every time.

The gateways run the product's `Outbox` and `Cursor`, the cloud its `Door` and `Ingest`, each over a real SQLite in
memory; frames are sealed and opened as on the wire. Clock, chance, wires and machines are the simulation's.
"""
