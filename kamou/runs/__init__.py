"""Runs, backtests, the kill switch and backups, which the command line starts."""
