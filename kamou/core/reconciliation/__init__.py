"""Reconciliation of the book with the venue, and protection of positions."""
