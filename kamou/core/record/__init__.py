"""What the record says: performance, intervals, the gate."""
