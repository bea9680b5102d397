"""Frozen, validated settings: table of all, TOML and environment, origin of each value."""
