"""The demo's market and its fast-forward: simulated days first, then real time, one track."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
import trio

from kamou import ids
from kamou.app import SystemInputs, compose, cycle_for
from kamou.clock import Clock, JumpClock, SimulatedClock, SystemClock, floor_ms
from kamou.core.book.run_events import HistoryStopped, ReplayEnded, ReplayStarted
from kamou.core.day import DAY_MS
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.latch import HaltLatch
from kamou.errors import ConfigurationError, DiskFullError
from kamou.runs.assumed_live import AssumedLiveGate
from kamou.runs.session import open_session, salt_key
from kamou.runs.takeover import halted_by_storm
from kamou.runtime.leveled_lines import Progress
from kamou.runtime.runners import run_inline
from kamou.runtime.supervision import ChildExit
from kamou.settings.config import DemoSettings, Settings
from kamou.store import database, queries
from kamou.supervisor import Supervisor
from kamou.venue.market.generator import GENERATOR_VERSION, GeneratedMarket
from kamou.venue.market.market import MarketSource
from kamou.venue.store import VenueStore

REPLAY, GENERATED = "replay", "generated"
MARKET_KEYS = ("seed", "symbols", "bar_s", "warmup_days")  # what decides a generated market


@attrs.frozen(kw_only=True)
class Track:
    """A data directory's one track: where it began, and from when on it runs in real time."""

    genesis_ms: int  # trading starts here
    until_ms: int  # simulated up to here
    market: str  # what it trades: a generated market's parameters, or the replayed folder

    @property
    def replay(self) -> Path | None:
        """The recorded set that this track trades, if it is not the generated market."""
        kind, _, name = self.market.partition(":")
        return Path(name) if kind == REPLAY else None

    def demo(self, given: DemoSettings) -> DemoSettings:
        """Return the settings of the generated market that this track was begun with.

        Args:
            given: the settings in force; what the track does not say is taken from them.
        """
        kind, _, text = self.market.partition(":")
        if kind != GENERATED:
            return given
        pairs = dict(part.partition("=")[::2] for part in text.split(","))
        known = {key: int(pairs[key]) for key in MARKET_KEYS if pairs.get(key, "").isdecimal()}
        return attrs.evolve(given, **known)


def open_track(
    settings: Settings,
    folder: DataDirectory,
    *,
    now_ms: int,
    fast_forward: bool,
    replay: Path | None,
) -> Track:
    """The folder's track; of a new folder, one that begins now and is kept by ``keep_track``.

    Raises:
        ConfigurationError: the folder was begun on another market, or cycles are shorter than the
            bars of the generated market.
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
                " to less (`kamou show-config` tells where each is set)"
            )
        market = (
            f"{GENERATED}:v{GENERATOR_VERSION},seed={demo.seed},symbols={demo.symbols},"
            f"bar_s={demo.bar_s},warmup_days={demo.warmup_days}"
        )
    venue = VenueStore(folder.exchange)
    try:
        known = stored_track(venue)
        if known is None:
            until_ms = floor_ms(now_ms, cycle_at_ms)
            days = settings.demo.days if fast_forward else 0
            return Track(genesis_ms=until_ms - days * DAY_MS, until_ms=until_ms, market=market)
        if known.market != market:
            raise ConfigurationError(
                f"the data directory {folder.path} was begun on the market {known.market}, not "
                f"{market}; choose another with --data-dir, or the settings (and the "
                "Kamou) it was begun with"
            )
        return known
    finally:
        venue.close()


def keep_track(folder: DataDirectory, track: Track) -> None:
    """The folder is this track's from now on: once its market could be opened, not before."""
    venue = VenueStore(folder.exchange)
    try:
        venue.put_meta("genesis_ms", str(track.genesis_ms))
        venue.put_meta("until_ms", str(track.until_ms))
        venue.put_meta("market", track.market)  # last: with it the track is known
    finally:
        venue.close()


def stored_track(venue: VenueStore) -> Track | None:
    """The track that a venue's file was begun with; None when it is new."""
    market = venue.meta("market")
    if market is None:
        return None
    return Track(
        genesis_ms=int(venue.meta("genesis_ms") or 0),
        until_ms=int(venue.meta("until_ms") or 0),
        market=market,
    )


def reached_ms(folder: DataDirectory) -> int | None:
    """How far the track has come, by the venue and by the journal; None when it is new.

    A quiet venue notes its market's time once an hour: after a kill the journal knows better,
    and must not hear of an hour twice.
    """
    venue = VenueStore(folder.exchange)
    try:
        market_ms = venue.market_ms()
    finally:
        venue.close()
    if market_ms is None:
        return None
    with contextlib.closing(database.open_reader(folder.database)) as reader:
        return max(market_ms, queries.head_at_ms(reader))


def open_source(
    settings: Settings, track: Track, *, replay: Path | None, now_ms: int
) -> MarketSource:
    """The market that the embedded exchange trades against."""
    if replay is not None:
        # Only a replay reads files: the demo does without thirty megabytes of Parquet reader.
        from kamou.store.importer import open_market

        return open_market(settings.data_dir, str(replay), now_ms=now_ms, limits=settings.data)
    demo = settings.demo
    return GeneratedMarket(
        seed=demo.seed,
        origin_ms=track.genesis_ms - demo.warmup_days * DAY_MS,
        symbols=demo.symbols,
        step_ms=demo.bar_s * 1000,
    )


@attrs.frozen(kw_only=True, eq=False)
class FastForward:
    """The production tree on a simulated clock, in a thread of its own, up to ``until_ms``.

    The journal runs without fsync meanwhile: a kill loses nothing, and what a power cut could
    lose can be generated again.
    """

    settings: Settings
    folder: DataDirectory
    source: MarketSource
    start_ms: int
    until_ms: int
    progress: Progress
    announce: Callable[[ChildExit], None]
    stop: threading.Event
    recorded: bool = False  # the market is a replay
    began_ms: int = 0  # real time: when the run began
    real_clock: Clock = attrs.Factory(SystemClock)

    def run(self) -> bool:
        """Trade up to ``until_ms``; False when the halt latch or ``stop`` ended it before.

        Raises:
            RestartStormError: in a group; new risk is halted.
        """
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
        settings = cycle_for(self.settings, self.source.step_ms)
        clock = SimulatedClock(start_ms=self.start_ms)
        asked = trio.Event()
        latch = HaltLatch(self.folder.latch)

        def on_cycle(cycle_at_ms: int) -> None:
            self._report((cycle_at_ms - self.start_ms) // DAY_MS)
            if self.stop.is_set() or latch.is_set():
                asked.set()

        with open_session(
            settings=settings,
            database_path=self.folder.database,
            venue_path=self.folder.exchange,
            source=self.source,
            start_ms=self.start_ms,
            clock=clock.now_ms,
            gate=AssumedLiveGate.label,
            durable=False,
            told_to_stop=self.stop.is_set,
        ) as session:
            if self.recorded:
                began = ReplayStarted(
                    at_ms=clock.now_ms(), first_ms=self.source.first_ms, last_ms=self.until_ms
                )
                session.writer.append([began])
            tree = compose(
                SystemInputs(
                    settings=settings,
                    clock=clock,
                    port=session.port(settings),
                    market=self.source,
                    writer=session.writer,
                    reader=session.reader,
                    runner=run_inline,
                    gate=AssumedLiveGate(),
                    salt_of=partial(ids.salt_for, salt_key(self.folder.salt_key)),
                    halted=latch.is_set,
                    step_ms=self.source.step_ms,
                ),
                on_cycle=on_cycle,
            )
            supervisor = Supervisor(tree.spec, on_exit=self.announce)
            with halted_by_storm(session.writer, session.reader, clock.now_ms):
                async with trio.open_nursery() as nursery:
                    await nursery.start(supervisor.run)
                    with trio.move_on_after((self.until_ms - clock.now_ms()) / 1000):
                        await asked.wait()
                    await supervisor.stop()
                    nursery.cancel_scope.cancel()
            reached = not asked.is_set()
            session.writer.recover()
            if self.recorded and reached:
                session.writer.append([ReplayEnded(at_ms=clock.now_ms())])
            elif not self.recorded and not reached and self.stop.is_set():
                with contextlib.suppress(DiskFullError):
                    session.writer.append([self._stopped(clock.now_ms())])
            return reached

    def _stopped(self, at_ms: int) -> HistoryStopped:
        until_ms = self.real_clock.now_ms()
        return HistoryStopped(at_ms=at_ms, since_ms=self.began_ms, until_ms=until_ms)
