"""One test per failure mode, each with a naive implementation that fails it.

A test plays a case with the product and finds nothing wrong, then plays the same case with one
piece replaced by what other bots do, or did, and finds the damage. The second half proves that
the first can fail. ``docs/failure-modes.md`` is the table; ``harness.py`` is what the tests share.
"""

from __future__ import annotations

import sys
from pathlib import Path

for room in ("core", "actors"):
    if (folder := str(Path(__file__).parents[1] / room)) not in sys.path:
        sys.path.append(folder)
