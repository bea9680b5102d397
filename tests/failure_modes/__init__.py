"""One test per failure mode, each with a naive implementation that fails it.

A test runs a case with the product and finds no error. Then it runs the same case with one piece
replaced by the behavior of other bots, and finds errors. The second half proves that the first
can fail. ``docs/failure-modes.md`` lists all tests; the tests share ``harness.py``.
"""
