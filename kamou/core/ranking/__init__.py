"""The ranking of a cycle, live or of recorded data, and its scan details."""
