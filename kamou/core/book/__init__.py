"""Events, and the position book, trades and orders that are folded from events."""
