"""The deterministic simulator, which runs Kamou under faults on a simulated clock.

The venue, the market, the disk, the public site's processes and the operator are simulated. The
actors are the production code.
"""
