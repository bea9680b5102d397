"""Import paths of the core tests' values and the actors' harness."""

from __future__ import annotations

import sys
from pathlib import Path

for room in ("core", "actors"):
    if (folder := str(Path(__file__).parents[1] / room)) not in sys.path:
        sys.path.append(folder)
