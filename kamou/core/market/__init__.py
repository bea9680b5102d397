"""Bars, their checks, the panel, symbols and instruments."""
