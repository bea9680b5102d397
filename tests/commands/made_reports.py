"""``make_report``: a whole report of a backtest of two hours without trades."""

from __future__ import annotations

from functools import cache
from typing import Any

import attrs

from kamou.core.record.backtest_document import BacktestReport
from kamou.runs.backtest import replay
from tests.actors.system_harness import SETTINGS
from tests.runs.traded_days import HOURLY, MIDNIGHT_MS, make_market


@cache
def _run() -> BacktestReport:
    chosen = attrs.evolve(SETTINGS.strategies, enabled=("mean_reversion",))
    settings = attrs.evolve(SETTINGS, cycle=HOURLY, strategies=chosen)
    span = (MIDNIGHT_MS, MIDNIGHT_MS + 2 * 3_600_000)
    return replay(settings, make_market(), timerange=span)


def make_report(**changes: Any) -> dict[str, Any]:
    """Return the report as plain data, with other values for some of its keys."""
    return {**_run(), **changes}
