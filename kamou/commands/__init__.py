"""Verbs of the command line, their texts, and the client of a run's operator API."""
