"""The gateway's own face: a small page and API that work with the network cut."""
