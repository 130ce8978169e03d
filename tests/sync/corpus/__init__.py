"""What every released version wrote, kept for ever: frames, chunks and facts. `make.py` wrote it, once for each version."""
