"""Settings: table, sources and validation; the operator's strategy files."""
