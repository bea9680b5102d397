"""Bars and their checks, the panel, and checks of symbols and instruments."""
