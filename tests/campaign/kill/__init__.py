"""Processes killed with SIGKILL: the store alone (`store`), and the whole system (`stack`)."""
