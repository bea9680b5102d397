"""One test per failure mode, each with a naive implementation that fails it.

A test runs a case with the product and finds no error. Then it runs the same case with one piece
replaced by the behaviour of other bots, and finds the damage. The second half proves that the first
can fail. ``docs/failure-modes.md`` is the table; the tests share ``harness.py``.
"""
