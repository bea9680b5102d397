"""Histories that the system trades on a random market, with the venue's file."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from functools import partial
from pathlib import Path

import attrs
import numpy as np
import trio

from kamou import ids
from kamou.app import SystemInputs, compose
from kamou.clock import JumpClock, SimulatedClock
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.kinds import RunMode
from kamou.core.market.bars import Bars, Dataset, Series, empty_series
from kamou.messages.governor import Flatten, Halt, Resume
from kamou.runs.assumed_live import AssumedLiveGate
from kamou.runs.running import running
from kamou.runs.session import SessionFiles, open_session
from kamou.runtime.determinism import seed_scheduler
from kamou.runtime.runners import run_inline
from kamou.settings.config import CycleSettings, Settings
from kamou.simulator.market import instrument
from kamou.simulator.settings import SETTINGS as SIMULATED
from kamou.venue.engine import Engine
from kamou.venue.market.recorded import RecordedMarket
from kamou.venue.models import VenueModels
from kamou.venue.store import VenueStore

D = Decimal
Command = Halt | Resume | Flatten
Moves = list[tuple[float, int]]
VENUE = "exchange.sqlite3"
MIDNIGHT_MS = 1_735_689_600_000  # 2025-01-01T00:00Z
STEP_MS = 900_000
WARMUP = 60  # bars before the first day
SYMBOLS = 6
LOWER_LIMITS = attrs.evolve(
    SIMULATED.risk, entries_per_strategy_hour=20, reentries_per_symbol_day=1
)
SETTINGS = Settings(
    mode=RunMode.DEMO,
    cycle=CycleSettings(period_s=900, timeframe_s=900, shards=1),
    risk=SIMULATED.risk,
    veto=SIMULATED.veto,
    strategies=SIMULATED.strategies,
)


@attrs.frozen(kw_only=True)
class History:
    """Runs, transfers and commands of a history, in hours from its first midnight."""

    name: str
    seed: int
    runs: tuple[tuple[float, float], ...]  # start and end of each run
    moves: tuple[tuple[float, int], ...] = ()  # hours and amounts of deposits and withdrawals
    commands: tuple[tuple[float, Command], ...] = ()  # the operator's, with their hours
    lowered: bool = False  # the last run has lower limits than those before
    killed: bool = False  # each run but the last ends as by SIGKILL

    def at_ms(self, hour: float) -> int:
        return MIDNIGHT_MS + int(hour * HOUR_MS)

    def settings(self, until_h: float) -> Settings:
        """Return the settings of the run that ends at that hour."""
        if not self.lowered or until_h != self.runs[-1][1]:
            return SETTINGS
        return attrs.evolve(SETTINGS, risk=LOWER_LIMITS, change_reason="fewer entries a day")

    @property
    def days(self) -> int:
        return int(self.runs[-1][1] // 24) + 1


def market(history: History) -> RecordedMarket:
    """Return a market of correlated random walks, with funding every 8 hours.

    Each bar opens at another price than the close before, as real bars do. At 00:00 the open is
    that close, because the marks of a midnight are closes.
    """
    chance = np.random.default_rng(history.seed)
    bars = WARMUP + history.days * DAY_MS // STEP_MS
    moves = chance.normal(0, 0.002, (bars, 1)) + chance.normal(0, 0.002, (bars, SYMBOLS))
    close = 100.0 * np.exp(np.cumsum(moves, axis=0))
    open_ = np.vstack([np.full(SYMBOLS, 100.0), close[:-1]])
    gaps = np.random.default_rng((history.seed, 1)).normal(0, 0.001, (bars, SYMBOLS))
    gaps[WARMUP % (DAY_MS // STEP_MS) :: DAY_MS // STEP_MS] = 0.0
    open_ *= np.exp(gaps)
    spread = np.abs(chance.normal(0, 0.002, (2, bars, SYMBOLS)))
    names = tuple(instrument(index).symbol for index in range(SYMBOLS))
    drawn = Bars(
        symbols=names,
        period_ms=STEP_MS,
        open_ms=MIDNIGHT_MS + np.arange(-WARMUP, bars - WARMUP, dtype=np.int64) * STEP_MS,
        open=open_,
        high=np.maximum(open_, close) * (1 + spread[0]),
        low=np.minimum(open_, close) * (1 - spread[1]),
        close=close,
        volume=np.full((bars, SYMBOLS), 50_000.0),
    )
    settled = MIDNIGHT_MS + np.arange(0, history.days * 3 + 1, dtype=np.int64) * 8 * HOUR_MS
    funding = Series(
        symbols=names,
        available_ms=settled,
        values=chance.normal(0.0001, 0.0002, (len(settled), SYMBOLS)),
        period_ms=8 * HOUR_MS,
    )
    data = Dataset(
        name="drawn", bars=drawn, funding=funding, open_interest=empty_series(names, DAY_MS)
    )
    return RecordedMarket(
        data,
        instruments=tuple(instrument(index) for index in range(SYMBOLS)),
        half_spread=np.full(SYMBOLS, 1.0),
    )


def _transfer(engine: Engine, history: History, moves: Moves) -> None:
    """Transfer money as the operator, at a time that only the test knows."""
    hour, amount = moves.pop(0)
    engine.catch_up(history.at_ms(hour), lambda: False)
    engine.transfer(D(amount))


def _transfer_while_stopped(
    drawn: RecordedMarket, folder: Path, history: History, from_h: float, moves: Moves
) -> None:
    """Transfer money while Kamou does not run, if the venue's file exists."""
    if not (moves and moves[0][0] < from_h and (folder / VENUE).exists()):
        return
    with closing(VenueStore(folder / VENUE, durable=False)) as store:
        models = VenueModels.from_settings(SETTINGS.exchange, SETTINGS.costs)
        engine = Engine(drawn, models, store, start_ms=0, wallet_balance=D(0))
        while moves and moves[0][0] < from_h:
            _transfer(engine, history, moves)
        engine.close()


async def _transfer_in_time(
    engine: Engine, history: History, until_h: float, moves: Moves, clock: SimulatedClock
) -> None:
    while moves and moves[0][0] < until_h:
        await clock.sleep_until(history.at_ms(moves[0][0]))
        _transfer(engine, history, moves)


def trade(history: History, folder: Path) -> RecordedMarket:
    """Trade the history into ``kamou.sqlite3`` and ``exchange.sqlite3`` of ``folder``."""
    drawn = market(history)
    moves = list(history.moves)
    for from_h, until_h in history.runs:
        seed_scheduler(history.seed)
        _transfer_while_stopped(drawn, folder, history, from_h, moves)
        clock = SimulatedClock(start_ms=history.at_ms(from_h))
        kept = history.killed and (from_h, until_h) != history.runs[-1]
        run = partial(_run, drawn, folder, history, until_h, moves, clock, kept)
        trio.run(run, clock=JumpClock())
        for copy in folder.glob("*.kept"):
            for left in folder.glob(f"{copy.stem}*-[sw][ha][ml]"):
                left.unlink()
            copy.replace(copy.with_suffix(""))
    return drawn


async def _run(
    drawn: RecordedMarket,
    folder: Path,
    history: History,
    until_h: float,
    moves: Moves,
    clock: SimulatedClock,
    keep: bool,
) -> None:
    """Trade one run. With ``keep``, copy the files as a kill at its end leaves them."""
    journal, venue = folder / "kamou.sqlite3", folder / VENUE
    end_ms = history.at_ms(until_h)
    settings = history.settings(until_h)
    with open_session(
        settings=settings,
        files=SessionFiles(
            database=journal,
            venue=venue,
            durable=False,
        ),
        source=drawn,
        clock=clock.now_ms,
        gate=AssumedLiveGate().label,
    ) as session:
        tree = compose(
            SystemInputs(
                settings=settings,
                clock=clock,
                port=session.port(settings),
                market=drawn,
                writer=session.writer,
                reader=session.reader,
                runner=run_inline,
                gate=AssumedLiveGate(),
                salt_of=partial(ids.derive_salt, b"s" * 32),
                halted=lambda: False,
                step_ms=drawn.step_ms,
            )
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_transfer_in_time, session.engine, history, until_h, moves, clock)
            async with running(tree):
                for hour, command in history.commands:
                    if clock.now_ms() < history.at_ms(hour) < end_ms:
                        await clock.sleep_until(history.at_ms(hour))
                        assert tree.governor.put_priority(command)
                await clock.sleep_until(end_ms)
                if keep:
                    for path in (journal, venue):
                        _copy(path, path.with_name(path.name + ".kept"))
            nursery.cancel_scope.cancel()


def _copy(path: Path, copy: Path) -> None:
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
