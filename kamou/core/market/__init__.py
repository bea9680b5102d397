"""Bars, their checks and jumps, the panel, checks of symbols and instruments."""
