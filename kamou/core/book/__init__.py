"""Events and their fold: orders, intents, trades, holdings, recent activity, the book."""
