"""Kamou: a perpetual-futures trading system whose performance is verifiable."""

__version__ = "0.1.0"
