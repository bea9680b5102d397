"""Performance statistics, their confidence intervals, and grants of the gate."""
