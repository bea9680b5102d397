"""The ranking of a cycle, and its scan details for each symbol."""
