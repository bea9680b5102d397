"""Performance, drawdowns, reports of backtests, the gate's decisions and grants."""
