"""A backtest of four days of hourly bars: random prices, and random signals of a test strategy.

``trade_days`` returns its report and the venue's own records.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest

from kamou.core.day import DAY_MS, HOUR_MS, MINUTE_MS
from kamou.core.market.bars import Bars, Series
from kamou.core.record.backtest_document import BacktestReport
from kamou.runs.backtest import ReplayParts, replay
from kamou.settings.config import CycleSettings
from kamou.venue.engine import Engine
from kamou.venue.market.recorded import RecordedMarket
from kamou.venue.state import AuditRecord
from tests.actors import scripted_market
from tests.actors.system_harness import SETTINGS, strategy_files

MIDNIGHT_MS = scripted_market.START_MS // DAY_MS * DAY_MS
DAYS = 4
WARM_UP = 30  # bars before the first traded one
SYMBOLS = ("BTCUSDT", "ETHUSDT", "AAAUSDT", "BBBUSDT")
BARS = WARM_UP + DAYS * 24
HOURLY = CycleSettings(period_s=3600, timeframe_s=3600, shards=2)


@attrs.frozen
class TradedDays:
    """A backtest's report, and the audit log and the market from which tests compute it again."""

    report: BacktestReport
    audit_log: tuple[AuditRecord, ...]
    market: RecordedMarket


def make_market() -> RecordedMarket:
    """Return random hourly bars; funding is settled every eight hours."""
    rng = np.random.default_rng(5)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.008, (BARS, len(SYMBOLS))), axis=0)), 2)
    opened = np.vstack([np.full((1, len(SYMBOLS)), 100.0), close[:-1]])
    spread = np.round(np.abs(rng.normal(0, 0.6, close.shape)), 2)
    first_ms = MIDNIGHT_MS - WARM_UP * HOUR_MS
    drawn = Bars(
        symbols=SYMBOLS,
        period_ms=HOUR_MS,
        open_ms=first_ms + np.arange(BARS, dtype=np.int64) * HOUR_MS,
        open=opened,
        high=np.maximum(opened, close) + spread,
        low=np.minimum(opened, close) - spread,
        close=close,
        volume=np.full(close.shape, 10_000.0),
    )
    settled = MIDNIGHT_MS + np.arange(8, DAYS * 24, 8, dtype=np.int64) * HOUR_MS
    funding = Series(
        symbols=SYMBOLS,
        available_ms=settled,
        values=np.full((len(settled), len(SYMBOLS)), 0.0003),
        period_ms=8 * HOUR_MS,
    )
    return scripted_market.record_market("traded_days", drawn, funding)


def set_signals(patch: pytest.MonkeyPatch) -> None:
    """Let the scripted strategy give random signals at most hours, and hold for 9 hours."""
    patch.setattr(scripted_market, "HOLD_MS", 9 * HOUR_MS)
    rng = np.random.default_rng(6)
    for hour in range(DAYS * 24 + 1):
        minute = (MIDNIGHT_MS + hour * HOUR_MS - scripted_market.START_MS) // MINUTE_MS
        lines = tuple(
            scripted_market.Line(symbol, float(rng.choice([-0.9, 0.9])), stop=1.5, target=3.0)
            for symbol in SYMBOLS
            if rng.random() < 0.4
        )
        patch.setitem(scripted_market.LINES, minute, lines)


def trade_days(journal: Path) -> TradedDays:
    """Run the backtest; its journal stays in the new file."""
    kept: list[AuditRecord] = []

    def keep(engine: Engine) -> None:
        kept.extend(engine.audit_log)

    market = make_market()
    settings = attrs.evolve(SETTINGS, cycle=HOURLY)
    with strategy_files(), pytest.MonkeyPatch.context() as patch:
        set_signals(patch)
        report = replay(
            settings,
            market,
            timerange=(MIDNIGHT_MS, None),
            journal=journal,
            parts=ReplayParts(inspect=keep),
        )
    return TradedDays(report=report, audit_log=tuple(kept), market=market)
