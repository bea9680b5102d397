"""Shadow trades: their plan and entry, and their exit from closed bars."""
