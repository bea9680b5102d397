"""Indicators, one file each, as batch functions and incremental states.

A batch function computes all rows of ``[T]`` or ``[T, symbols]``. An indicator with a recursive
definition also has an incremental state, which each closed bar updates.

Conventions are TA-Lib 0.8.2's: NaN before the first valid index (SMA, EMA n-1; ATR, RSI, DI n;
ADX 2n-1), EMA seeded with the mean of the first n, Wilder averages with their simple mean.
Batch functions need valid input; the panel replaces invalid bars by NaN before a state sees them.
"""
