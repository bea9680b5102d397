"""The tests of this folder build on the values of the core's tests and on the actors' harness."""

from __future__ import annotations

import sys
from pathlib import Path

for room in ("core", "actors"):
    if (folder := str(Path(__file__).parents[1] / room)) not in sys.path:
        sys.path.append(folder)
