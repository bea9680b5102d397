"""The data directory: its files, modes, lock, halt latch, and checks of its databases."""
