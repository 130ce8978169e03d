"""The demo: a simulated bottling hall and everything Triflow around it, started by one command.

model    plant → plant_line → plant_signals, plant_orders, plant_stops; data in plant_spec (one seed, one trace)
faces    opcua_server, modbus_server (laid out by the tag books in books/), mes over mes_store; plant_process runs them
network  broker, and link, which can be cut
past     history: weeks of facts through the line's own pipeline into each gateway's store
run      parts (the processes, as data), processes (starts, watches, stops them), site_files (what they read)
proof    headless cuts, kills and heals; ledger counts every record in the files and trusts no total

Everything imports downwards; nothing outside imports the demo.
"""
