"""What the verbs start: a run and its parts, the demo, a backtest, the kill switch, a backup."""
