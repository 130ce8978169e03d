"""OPC UA: one connection, its monitored items, its security and what else a server offers."""
