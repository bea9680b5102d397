"""Production backtests on drawn markets with late and failing account reads.

``make budget`` runs ``RUNS`` of them. Prices jump together, so that stops fill in one bar and a
day's loss comes to its limit. A run takes about 30 s of CPU time, in proportion to its entries. A
judge reads only the venue's records, and checks that every entry kept the limits at its time, and
that a day's loss beyond its limit was at most what its stops lost beyond their prices. A short
backtest runs in the tests.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sqlite3
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import attrs
import numpy as np
import trio

from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.kinds import RunMode
from kamou.core.market.bars import Bars, Dataset, Series, empty_series
from kamou.core.model import ZERO, Account, Instrument, OrderType
from kamou.errors import UnreachableError
from kamou.exchange.base import PortChecks
from kamou.exchange.embedded import SimulatedExchange
from kamou.runs.backtest import ReplayParts, replay
from kamou.settings.config import CycleSettings, Settings
from kamou.simulator.invariants.venue_records import leverage_of
from kamou.simulator.market import instrument
from kamou.simulator.settings import SETTINGS as SIMULATED
from kamou.venue.checker import Checker, CheckLimits
from kamou.venue.engine import Engine
from kamou.venue.limit_checker import LimitChecker, PortfolioLimits
from kamou.venue.market.recorded import RecordedMarket
from kamou.venue.state import AuditRecord, FillAudit, MoneyAudit, MoneyKind

D = Decimal
START_MS = 1_735_689_600_000  # 2025-01-01T00:00Z
STEP_MS = 300_000
WARMUP = 60  # bars before the first day, enough for the warm-up of the strategies
FAILING, LATE = 0.05, 0.20  # shares of the account reads that fail, and that are late
LATE_S = (1.0, 20.0)  # smallest and largest delay of a late read
JUMPS_PER_DAY, JUMP = 3.0, (0.084, 0.09)  # of the whole market; JUMP is a log return
COMMON, OWN = 0.003, 0.0012  # deviations per bar: what all symbols share, and what is their own
REACH_MIN = 50  # backtests that must come to REDUCE_ONLY: else nothing was tested
RUNS = 200
CENT = D("0.01")

SETTINGS = Settings(
    mode=RunMode.BACKTEST,
    cycle=CycleSettings(period_s=300, timeframe_s=300, shards=1),
    # The product's limits, except those that would keep it from trading often enough.
    risk=attrs.evolve(
        Settings().risk,
        shock_move=D("0.06"),  # less than a jump: a full net position loses more than a day may
        entries_per_strategy_hour=1_000,
        reentries_per_symbol_day=1_000,
        cooldown_after_stop_s=60,
    ),
    veto=SIMULATED.veto,
    strategies=SIMULATED.strategies,
)


def market(seed: int, *, symbols: int, days: int) -> RecordedMarket:
    """Return a market whose prices have a common part, own noise and common jumps."""
    chance = np.random.default_rng([seed, 0x627564])
    bars = WARMUP + days * DAY_MS // STEP_MS
    common = chance.normal(0, COMMON, bars)
    struck = chance.random(bars) < JUMPS_PER_DAY / 288
    # A jump has the direction of the last hour, against a strategy that expects a reversal.
    hour = np.convolve(common, np.ones(12))[:bars]
    sizes = chance.uniform(*JUMP, bars) * np.sign(hour)
    gap = np.where(struck, sizes, 0.0)  # between two bars: through stops
    own = chance.normal(0, OWN, (bars, symbols))
    beta = chance.uniform(0.95, 1.05, symbols)
    logs = np.cumsum((common + gap)[:, None] * beta + own, axis=0)
    close = 100.0 * np.exp(logs)
    open_ = np.vstack([np.full(symbols, 100.0), close[:-1]]) * np.exp(gap[:, None] * beta)
    spread = np.abs(chance.normal(0, 0.0012, (2, bars, symbols)))
    high = np.maximum(open_, close) * (1 + spread[0])
    low = np.minimum(open_, close) * (1 - spread[1])
    instruments = tuple(_instrument(index) for index in range(symbols))
    names = tuple(each.symbol for each in instruments)
    first_ms = START_MS - WARMUP * STEP_MS
    drawn = Bars(
        symbols=names,
        period_ms=STEP_MS,
        open_ms=first_ms + np.arange(bars, dtype=np.int64) * STEP_MS,
        open=open_,
        high=high,
        low=low,
        close=close,
        volume=np.full((bars, symbols), 50_000.0),
    )
    settled = START_MS + np.arange(0, days * 3 + 1, dtype=np.int64) * 8 * HOUR_MS
    funding = Series(
        symbols=names,
        available_ms=settled,
        values=chance.normal(0.0001, 0.0002, (len(settled), symbols)),
        period_ms=8 * HOUR_MS,
    )
    data = Dataset(
        name="drawn", bars=drawn, funding=funding, open_interest=empty_series(names, DAY_MS)
    )
    return RecordedMarket(
        data,
        instruments=instruments,
        half_spread=np.full(symbols, 1.0),
    )


def _instrument(index: int) -> Instrument:
    """Return a symbol of the simulations with sizes that fit prices near 100."""
    step = D("0.001")
    return attrs.evolve(instrument(index), tick=step, lot=step, contract_size=D(1), qty_min=step)


class Unsteady(SimulatedExchange):
    """An exchange of which some account reads fail and others come late."""

    def __init__(self, engine: Engine, checks: PortChecks, *, chance: Random, **more: Any) -> None:
        super().__init__(engine, checks, **more)
        self._chance = chance

    async def account(self) -> Account:
        drawn = self._chance.random()
        if drawn < FAILING:
            raise UnreachableError("account: no answer")
        account = await super().account()
        if drawn < FAILING + LATE:
            await trio.sleep(self._chance.uniform(*LATE_S))
        return account


@attrs.define
class Day:
    """One UTC day, from the venue's records."""

    equity: Decimal  # at 00:00
    limit: Decimal  # of the day's loss, USDT
    worst: Decimal = ZERO  # the most that was lost at any instant
    slipped: Decimal = ZERO  # sum over its stops of (fill - stop price) x quantity, against us

    @property
    def unexplained(self) -> Decimal:
        """Loss less the limit and the slippage of stops; negative if below."""
        return self.worst - self.limit - self.slipped


class Judge:
    """A judge of the venue's audit log alone, without journal, book and governor."""

    def __init__(self, drawn: RecordedMarket, engine: Engine) -> None:
        risk = SETTINGS.risk
        self.broken: list[str] = []
        self.days: list[Day] = []
        self._market = drawn
        self._instant: int | None = None  # of the newest record
        self._checker = Checker(CheckLimits())
        self._columns = {symbol: n for n, symbol in enumerate(drawn.symbols)}
        self.limits = LimitChecker(
            limits=PortfolioLimits(
                daily_loss=risk.daily_loss_max,
                open_risk=risk.open_risk_max,
                cluster=risk.cluster_risk_max,
                shock_move=risk.shock_move,
                notional=risk.notional_total_max,
                margin=risk.margin_total_max,
                entries_per_hour=risk.entries_per_strategy_hour,
                reentries_per_day=risk.reentries_per_symbol_day,
                tolerance=D("0.005"),
            ),
            mark_at=self._mark_at,
            leverage_of=partial(leverage_of, engine),
            strategy_of=lambda name: "",
            on_violation=lambda rule, at_ms, symbol, detail: self.broken.append(
                f"{rule} {at_ms} {symbol} {detail}"
            ),
        )
        self._checker.portfolio = self.limits

    def _mark_at(self, symbol: str, at_ms: int) -> Decimal:
        return D(repr(float(self._market.prices(at_ms)[self._columns[symbol]])))

    def take(self, noted: AuditRecord) -> None:
        """Check the next record of the audit log."""
        if self._instant is not None and noted.at_ms > self._instant:
            self._worst(self._instant)  # after all records of one time
        self._instant = noted.at_ms
        self._until(noted.at_ms)
        if isinstance(noted, MoneyAudit) and noted.kind is MoneyKind.OPENING:
            self._open(noted.amount)
        if isinstance(noted, FillAudit) and noted.type is OrderType.STOP_MARKET:
            assert noted.trigger_price is not None
            beyond = (noted.trigger_price - noted.price) * -noted.side.sign
            self.days[-1].slipped += max(ZERO, beyond) * noted.quantity * noted.contract_size
        self._checker.take(noted)

    def _open(self, equity: Decimal) -> None:
        self._day_ms = START_MS
        self.days.append(Day(equity, equity * SETTINGS.risk.daily_loss_max))

    def _until(self, at_ms: int) -> None:
        """Close the days that ended before the next record, each at the marks of its end."""
        while self.days and at_ms >= self._day_ms + DAY_MS:
            self._day_ms += DAY_MS
            equity = self._worst(self._day_ms)
            self.days.append(Day(equity, equity * SETTINGS.risk.daily_loss_max))

    def _worst(self, at_ms: int) -> Decimal:
        equity = self.limits.equity(self._checker, at_ms)
        day = self.days[-1]
        day.worst = max(day.worst, day.equity - equity)
        return equity

    def end(self, at_ms: int) -> None:
        self._checker.check_until(at_ms)
        self._until(at_ms)
        self._worst(at_ms)
        self.broken += [f"{v.rule} {v.at_ms} {v.symbol} {v.detail}" for v in self._checker.found]
        for number, day in enumerate(self.days):
            if day.unexplained > CENT:
                self.broken.append(
                    f"DAY {number}: lost {day.worst:.2f} of {day.limit:.2f},"
                    f" of which stops slipped {day.slipped:.2f}"
                )

    @property
    def entries(self) -> int:
        return self._checker.entries


def backtest(
    seed: int, *, symbols: int = 20, days: int = 10, settings: Settings = SETTINGS
) -> dict[str, Any]:
    """Run one backtest, and return the broken rules and the figures of its judge."""
    began_s = time.process_time()
    drawn = market(seed, symbols=symbols, days=days)
    judges: list[Judge] = []

    def judge_venue(engine: Engine) -> None:
        judge = Judge(drawn, engine)
        for noted in engine.audit_log:
            judge.take(noted)
        judge.end(engine.market_ms)
        judges.append(judge)

    with tempfile.TemporaryDirectory(prefix="kamou-budget-") as folder:
        journal = Path(folder) / "journal.sqlite3"
        replay(
            settings,
            drawn,
            timerange=(START_MS, None),
            journal=journal,
            parts=ReplayParts(adapter=partial(Unsteady, chance=Random(seed)), inspect=judge_venue),
        )
        connection = sqlite3.connect(journal)
        rows = connection.execute('SELECT "after", reason FROM state ORDER BY seq')
        states = [f"{after} {reason}" for after, reason in rows]
        connection.close()
    (judge,) = judges
    return {
        "seed": seed,
        "broken": judge.broken,
        "entries": judge.entries,
        "states": states,
        "worst_day": max(float(day.worst / day.equity) for day in judge.days),
        "closest": {rule: round(float(share), 4) for rule, share in judge.limits.closest.items()},
        "cpu_s": round(time.process_time() - began_s, 1),
    }


def halts(result: dict[str, Any]) -> int:
    """Return how often a run reached reduce_only because of a day's loss."""
    return sum(state.startswith("reduce_only DAY_LOSS") for state in result["states"])


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--symbols", type=int, default=20)
    parser.add_argument("--json", type=Path, help="write every run's figures here")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.runs)
    run = partial(backtest, symbols=options.symbols, days=options.days)
    results = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, mp_context=context) as pool:
        for result in pool.map(run, seeds):
            results.append(result)
            sys.stderr.write(
                f"seed {result['seed']}: {result['entries']} entries,"
                f" {halts(result)} halts, worst day {result['worst_day']:.2%},"
                f" {len(result['broken'])} broken limits"
                f" ({result['cpu_s']} s)\n"
            )
            for line in result["broken"][:3]:
                sys.stderr.write(f"  {line}\n")
    halted = sum(halts(result) > 0 for result in results)
    broken = sum(bool(r["broken"]) for r in results)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    entries = sum(r["entries"] for r in results)
    needed = min(REACH_MIN, options.runs // 4)
    sys.stdout.write(
        f"{len(results)} backtests, {entries} entries, {halted} reached REDUCE_ONLY"
        f" (at least {needed} must), {broken} broke a limit\n"
    )
    return 1 if broken or halted < needed else 0


if __name__ == "__main__":
    sys.exit(main())
