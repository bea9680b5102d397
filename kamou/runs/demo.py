"""The market of a data directory, and the fast-forward through its past days.

The fast-forward trades days of the generated market before real time begins, or the last days of a
replay.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from kamou import ids
from kamou.app import SystemInputs, compose
from kamou.clock import Clock, JumpClock, SimulatedClock, SystemClock, floor_ms
from kamou.core.book.run_events import HistoryStopped, ReplayEnded, ReplayStarted
from kamou.core.day import DAY_MS
from kamou.core.kinds import MarketEdges
from kamou.core.record.gate import Gate
from kamou.core.record.gate_transitions import GateRules
from kamou.core.strategies.evaluation import StrategyFailure
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.latch import HaltLatch
from kamou.errors import ConfigurationError, DiskFullError
from kamou.runs.cycle_length import fit_cycle
from kamou.runs.running import running
from kamou.runs.scripted_refiner import plan_script
from kamou.runs.session import REPLAYED, SessionFiles, open_session, salt_key
from kamou.runtime.heap import rare_collections
from kamou.runtime.leveled_lines import Progress
from kamou.runtime.runners import run_inline
from kamou.runtime.supervision import ChildExit
from kamou.settings.config import DemoSettings, Settings
from kamou.store import database, queries
from kamou.venue.market.edges import Edge, planted_edges
from kamou.venue.market.generated_day import PathSettings
from kamou.venue.market.generator import GENERATOR_VERSION, GeneratedMarket
from kamou.venue.market.market import MarketSource
from kamou.venue.store import VenueStore

REPLAY, GENERATED = "replay", "generated"
MARKET_KEYS = ("seed", "symbols", "bar_s", "warmup_days")  # settings of a generated market
EDGES_KEY = "edges"  # of the planted edges' names; absent: the market has none


@attrs.frozen(kw_only=True)
class MarketBinding:
    """The market of a data directory, and the starts of trading and of real time.

    The two times are those of the generated market. A replay trades the last ``demo.days`` of its
    data.
    """

    genesis_ms: int  # time at which trading begins
    until_ms: int  # time at which the fast-forward ends and real time begins
    market: str  # parameters of the generated market, or the path of the replayed dataset

    @property
    def replay(self) -> Path | None:
        """Return the path of the replayed dataset; None for the generated market."""
        kind, _, name = self.market.partition(":")
        return Path(name) if kind == REPLAY else None

    def demo(self, given: DemoSettings) -> DemoSettings:
        """Return the demo's settings with the parameters of this generated market.

        Args:
            given: the current settings, which supply each value that the binding lacks, except
                ``edges``: without edges in the binding the market has none.

        Returns:
            The settings; those of ``given`` unchanged if the binding is of a replay.
        """
        kind, _, text = self.market.partition(":")
        if kind != GENERATED:
            return given
        pairs = dict(part.partition("=")[::2] for part in text.split(","))
        known: dict[str, Any] = {
            key: int(pairs[key]) for key in MARKET_KEYS if pairs.get(key, "").isdecimal()
        }
        edges = MarketEdges.BY_SEED if EDGES_KEY in pairs else MarketEdges.NONE
        return attrs.evolve(given, edges=edges, **known)


def resolve_binding(
    settings: Settings,
    data_dir: DataDirectory,
    *,
    now_ms: int,
    fast_forward: bool,
    replay: Path | None,
) -> MarketBinding:
    """Return the binding of the data directory, or a new one that is not stored yet.

    The venue's file is created if it is missing.

    Args:
        settings: the settings.
        data_dir: the data directory.
        now_ms: the time now; the fast-forward of a new binding ends at the cycle of this time.
        fast_forward: True if a new binding begins ``demo.days`` before that cycle.
        replay: the path of the replayed dataset; None: the generated market.

    Raises:
        ConfigurationError: the data directory was begun on another market, or cycles are shorter
            than the bars of the generated market.
        StoreError: the venue's file cannot be opened.
    """
    cycle_at_ms = settings.cycle.period_s * 1000
    if replay is not None:
        market = f"{REPLAY}:{replay.resolve()}"
    else:
        demo = settings.demo
        if settings.cycle.period_s < demo.bar_s:
            raise ConfigurationError(
                f"cycle.period_s = {settings.cycle.period_s} is shorter than demo.bar_s ="
                f" {demo.bar_s}, and between two bars there is nothing new to scan; set"
                f" cycle.period_s to {demo.bar_s} or more, or for a new data directory demo.bar_s"
                " to less (`kamou show-config` shows where each is set)"
            )
        market = (
            f"{GENERATED}:v{GENERATOR_VERSION},seed={demo.seed},symbols={demo.symbols},"
            f"bar_s={demo.bar_s},warmup_days={demo.warmup_days}"
        )
        if edges := find_edges(demo):
            market += f",{EDGES_KEY}={'+'.join(edges)}"
    venue = VenueStore(data_dir.exchange)
    try:
        known = load_binding(venue)
        if known is None:
            until_ms = floor_ms(now_ms, cycle_at_ms)
            days = settings.demo.days if fast_forward else 0
            return MarketBinding(
                genesis_ms=until_ms - days * DAY_MS, until_ms=until_ms, market=market
            )
        if known.market != market:
            raise ConfigurationError(
                f"the data directory {data_dir.path} was begun on the market {known.market}, not "
                f"{market}; choose another data directory with --data-dir, or use the settings, "
                "--replay and version of Kamou with which this one was begun"
            )
        return known
    finally:
        venue.close()


def store_binding(data_dir: DataDirectory, binding: MarketBinding) -> None:
    """Bind the data directory to its market.

    Call this function after the market was opened without an error.

    Raises:
        StoreError: the venue's file cannot be opened or written.
    """
    venue = VenueStore(data_dir.exchange)
    try:
        venue.put_meta("genesis_ms", str(binding.genesis_ms))
        venue.put_meta("until_ms", str(binding.until_ms))
        venue.put_meta("market", binding.market)  # last, because `load_binding` looks for it
    finally:
        venue.close()


def load_binding(venue: VenueStore) -> MarketBinding | None:
    """Return the binding in a venue's file; None before one is stored."""
    market = venue.meta("market")
    if market is None:
        return None
    return MarketBinding(
        genesis_ms=int(venue.meta("genesis_ms") or 0),
        until_ms=int(venue.meta("until_ms") or 0),
        market=market,
    )


def read_reached_ms(data_dir: DataDirectory) -> int | None:
    """Return the time up to which the market was traded, ms since 1970 in UTC.

    A new data directory gives None; a missing venue's file is created. The time is the later one of
    the venue and of the journal. A venue without changes seldom records its market's time, so after
    a kill the journal may be ahead, and the journal must not get the same time twice.

    Raises:
        StoreError: the venue's file or the journal cannot be opened.
    """
    venue = VenueStore(data_dir.exchange)
    try:
        market_ms = venue.market_ms()
    finally:
        venue.close()
    if market_ms is None:
        return None
    with contextlib.closing(database.open_reader(data_dir.database)) as reader:
        return max(market_ms, queries.head_at_ms(reader))


def open_source(
    settings: Settings, binding: MarketBinding, *, replay: Path | None, now_ms: int
) -> MarketSource:
    """Return the market that the embedded exchange trades against.

    Raises:
        InvalidDataError: the replayed dataset does not exist or fails its checks.
    """
    if replay is not None:
        # Imported here, because the Parquet reader takes 30 MB that the demo does not need.
        from kamou.store.importer import ReadOptions, open_market

        return open_market(
            settings.data_dir, str(replay), now_ms=now_ms, options=ReadOptions(limits=settings.data)
        )
    demo = settings.demo
    return GeneratedMarket(
        seed=demo.seed,
        origin_ms=binding.genesis_ms - demo.warmup_days * DAY_MS,
        symbols=demo.symbols,
        step_ms=demo.bar_s * 1000,
        paths=PathSettings(edges=find_edges(demo)),
    )


def find_edges(demo: DemoSettings) -> tuple[Edge, ...]:
    """Return the planted edges of the generated market of these settings."""
    return planted_edges(demo.seed) if demo.edges is MarketEdges.BY_SEED else ()


@attrs.frozen(kw_only=True, eq=False)
class FastForward:
    """A run of the production tree on a simulated clock, up to ``until_ms``.

    The caller starts ``run`` in a thread, because ``run`` blocks. The journal is written
    without fsync meanwhile. A kill loses nothing, and days that a power cut loses can be simulated
    again.
    """

    settings: Settings
    data_dir: DataDirectory
    source: MarketSource
    start_ms: int
    until_ms: int
    gate: Gate
    progress: Progress
    announce: Callable[[ChildExit], None]  # ``on_exit`` of ``running.running``
    on_strategy_failed: Callable[[StrategyFailure], None]
    stop: threading.Event  # the caller sets it to end the trading at the next cycle
    recorded: bool = False  # the market is a replay
    began_ms: int = 0  # real time at which the run began, ms since 1970 in UTC
    real_clock: Clock = attrs.Factory(SystemClock)

    def run(self) -> bool:
        """Trade up to ``until_ms``; return True if that time was reached.

        The halt latch or ``stop`` ends the trading earlier, at the next cycle.

        Raises:
            RestartStormError: an actor crashed too often; the error comes in a group, and new
                entries are halted (``running.running``).
            ConfigurationError: as ``cycle_length.fit_cycle``, or a strategy is not usable.
            StoreError, InvalidDataError: as ``session.open_session`` and ``session.salt_key``.
        """
        with rare_collections():
            reached = trio.run(self._main, clock=JumpClock())
        if reached:
            self._report(self._days)
        return reached

    @property
    def _days(self) -> int:
        return max(1, (self.until_ms - self.start_ms) // DAY_MS)

    def _report(self, days: int) -> None:
        self.progress("fast-forward, days", days, self._days)

    async def _main(self) -> bool:
        settings = fit_cycle(self.settings, self.source.step_ms)
        scripted, ask_script = plan_script(settings, self.source)
        clock = SimulatedClock(start_ms=self.start_ms)
        stop_asked = trio.Event()
        latch = HaltLatch(self.data_dir.latch)

        def on_cycle(cycle_at_ms: int) -> None:
            self._report((cycle_at_ms - self.start_ms) // DAY_MS)
            if self.stop.is_set() or latch.is_set():
                stop_asked.set()

        with open_session(
            settings=settings,
            files=SessionFiles(
                database=self.data_dir.database, venue=self.data_dir.exchange, durable=False
            ),
            source=self.source,
            clock=clock.now_ms,
            gate=self.gate.label,
            is_stopping=self.stop.is_set,
        ) as session:
            if self.recorded:
                began = ReplayStarted(
                    at_ms=clock.now_ms(), first_ms=self.source.first_ms, last_ms=self.until_ms
                )
                session.writer.append([began])
            tree = compose(
                SystemInputs(
                    settings=scripted,
                    clock=clock,
                    port=session.port(settings, adapter=REPLAYED),
                    market=self.source,
                    writer=session.writer,
                    reader=session.reader,
                    runner=run_inline,
                    gate=self.gate,
                    shadow_book=True,
                    gate_rules=GateRules(equity=float(settings.equity)),
                    salt_of=partial(ids.derive_salt, salt_key(self.data_dir.salt_key)),
                    halted=latch.is_set,
                    step_ms=self.source.step_ms,
                    recorded=self.source,  # no order changes a bar of either market
                    on_strategy_failed=self.on_strategy_failed,
                    ask_model=ask_script,
                ),
                on_cycle=on_cycle,
            )
            async with running(tree, on_exit=self.announce):
                with trio.move_on_after((self.until_ms - clock.now_ms()) / 1000):
                    await stop_asked.wait()
            reached = not stop_asked.is_set()
            session.writer.recover()
            if self.recorded and reached:
                session.writer.append([ReplayEnded(at_ms=clock.now_ms())])
            elif not self.recorded and not reached and self.stop.is_set():
                with contextlib.suppress(DiskFullError):
                    session.writer.append([self._make_stopped(clock.now_ms())])
            return reached

    def _make_stopped(self, at_ms: int) -> HistoryStopped:
        until_ms = self.real_clock.now_ms()
        return HistoryStopped(at_ms=at_ms, since_ms=self.began_ms, until_ms=until_ms)
