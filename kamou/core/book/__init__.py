"""Events, the position book that is folded from them, intents and due actions.

The modules of the book's parts (trades, orders, permits, money, reconciliation) are here too.
"""
