"""Tests of the exchange port; they import the venue's test markets and orders."""

from __future__ import annotations

import sys
from pathlib import Path

if (folder := str(Path(__file__).parents[1] / "venue")) not in sys.path:
    sys.path.append(folder)
