"""The path of the actors' harness, which the tests of a backtest import."""

from __future__ import annotations

import sys
from pathlib import Path

if (data_dir := str(Path(__file__).parents[1] / "actors")) not in sys.path:
    sys.path.append(data_dir)
