"""Settings: the table of all, their sources (TOML, environment, options), and validation."""
