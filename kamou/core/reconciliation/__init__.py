"""Reconciliation of the position book with the venue, and protection of positions."""
