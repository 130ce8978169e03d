"""What every implementation of a seam has to keep; each implementation's test calls these over the real thing."""
