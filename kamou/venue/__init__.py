"""The embedded exchange, below the port and knowing nothing of it."""
