"""The tests of a backtest build on the actors' harness."""

from __future__ import annotations

import sys
from pathlib import Path

if (folder := str(Path(__file__).parents[1] / "actors")) not in sys.path:
    sys.path.append(folder)
