"""The data directory: its files, modes, lock, halt latch and database checks."""
