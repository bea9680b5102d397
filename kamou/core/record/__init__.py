"""Performance statistics, figures and reports of backtests, and the gate's grants."""
