"""The embedded venue. It imports nothing of the exchange port, which calls it."""
