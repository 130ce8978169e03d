"""Modbus: registers polled in as few requests as a device allows, over TCP, serial lines and TLS."""
