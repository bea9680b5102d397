"""The production tree in real time, on a clock that a benchmark moves ahead."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import attrs
import trio
from trio.lowlevel import in_trio_run

from kamou.app import SystemInputs, Tree, compose
from kamou.clock import SimulatedClock
from kamou.core.day import MINUTE_MS
from kamou.core.strategies.evaluation import StrategyFailure
from kamou.data_directory.folder import DataDirectory
from kamou.ids import derive_salt
from kamou.runs import demo
from kamou.runs.assumed_live import AssumedLiveGate
from kamou.runs.cycle_length import fit_cycle
from kamou.runs.running import running
from kamou.runs.session import SessionFiles, open_session, open_session_in_thread
from kamou.runtime.heap import freeze_heap
from kamou.runtime.mailboxes import Mailbox
from kamou.runtime.runners import make_thread_runner
from kamou.runtime.supervision import ChildExit
from kamou.settings.config import Settings, load_settings
from kamou.store import database

MIDNIGHT_MS = 1_767_312_000_000  # 2026-01-02T00:00:00Z: a run may pass it
BEFORE_MS = 29 * MINUTE_MS  # a run begins so long before it, and has 14 minutes to start
STRATEGIES = ("mean_reversion", "oi_momentum")
RESTARTS_MAX = 10_000  # benchmarks crash actors on purpose

T = TypeVar("T")


class MovedClock(trio.abc.Clock):
    """Real time, moved ahead whenever the benchmark has seen enough of the present."""

    def __init__(self) -> None:
        self._ahead_s = -time.monotonic()

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return time.monotonic() + self._ahead_s

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return deadline - self.current_time()

    def move(self, seconds: float) -> None:
        """Everything that was to happen meanwhile is due at once."""
        self._ahead_s += max(0.0, seconds)


def settings_for(symbols: int, bar_s: int, days: int, shards: int) -> Settings:
    """The defaults, with what the crashes and the entries of this benchmark need.

    The strategies are those of the kept figures.
    """
    given = load_settings(None, {"KAMOU__STRATEGIES__ENABLED": ",".join(STRATEGIES)}).settings
    return attrs.evolve(
        given,
        demo=attrs.evolve(given.demo, symbols=symbols, bar_s=bar_s, days=days),
        cycle=attrs.evolve(given.cycle, shards=shards),
        supervision=attrs.evolve(given.supervision, intensity=RESTARTS_MAX, backoff_cap_ms=100),
    )


def open_data_directory(settings: Settings) -> tuple[DataDirectory, demo.MarketBinding]:
    """A data directory with its days of history, as ``kamou run`` would have left it."""
    data_dir = DataDirectory(settings.data_dir)
    data_dir.create()
    database.migrate_journal(data_dir.database)
    now_ms = MIDNIGHT_MS - BEFORE_MS
    binding = demo.resolve_binding(
        settings, data_dir, now_ms=now_ms, fast_forward=True, replay=None
    )
    source = demo.open_source(settings, binding, replay=None, now_ms=now_ms)
    demo.store_binding(data_dir, binding)
    demo.FastForward(
        settings=settings,
        data_dir=data_dir,
        source=source,
        start_ms=binding.genesis_ms,
        until_ms=binding.until_ms,
        gate=AssumedLiveGate(),
        progress=lambda what, done, total: None,
        announce=_report_crash,
        on_strategy_failed=_raise_failure,
        stop=threading.Event(),
    ).run()
    return data_dir, binding


def _report_crash(exit_: ChildExit) -> None:
    if exit_.error is not None:
        sys.stderr.write(f"{exit_.child} crashed: {exit_.error!r}\n")


def _raise_failure(failure: StrategyFailure) -> None:
    raise AssertionError(f"a strategy failed, so nothing is measured: {failure}")


@attrs.frozen(kw_only=True, eq=False)
class Bench:
    """A data directory with history, and the clock of a run on it."""

    settings: Settings
    data_dir: DataDirectory
    binding: demo.MarketBinding
    moved: MovedClock

    def clock(self) -> SimulatedClock:
        """Wall time of a run that begins now. Call it inside ``trio.run``."""
        return SimulatedClock(start_ms=MIDNIGHT_MS - BEFORE_MS, origin_s=trio.current_time())


def run_on(settings: Settings, measure: Callable[[Bench], Awaitable[T]]) -> T:
    """Make a data directory, run ``measure`` on it in real time, and delete it."""
    demo_of = settings.demo
    sys.stderr.write(
        f"{measure.__name__}: {demo_of.symbols} symbols x {demo_of.bar_s} s, "
        f"{settings.cycle.shards} scanners ...\n"
    )
    with tempfile.TemporaryDirectory(prefix="kamou-bench-") as path:
        settings = attrs.evolve(settings, data_dir=Path(path))
        data_dir, binding = open_data_directory(settings)
        moved = MovedClock()
        bench = Bench(settings=settings, data_dir=data_dir, binding=binding, moved=moved)
        return trio.run(measure, bench, clock=moved)


@asynccontextmanager
async def trading(bench: Bench, clock: SimulatedClock, exits: list[Any]) -> AsyncIterator[Tree]:
    """The production tree in real time on a cold market; yields once it is up and agreed."""
    settings, data_dir, binding = bench.settings, bench.data_dir, bench.binding
    await trio.to_thread.run_sync(freeze_heap)
    source = await trio.to_thread.run_sync(
        partial(demo.open_source, settings, binding, replay=None, now_ms=clock.now_ms())
    )
    settings = fit_cycle(settings, source.step_ms)
    begun_ms = clock.now_ms()
    agreed = trio.Event()

    def utc() -> int:
        """Trio's clock is asked by the loop's thread alone; to open takes no time that matters."""
        return clock.now_ms() if in_trio_run() else begun_ms

    opening = partial(
        open_session,
        settings=settings,
        files=SessionFiles(database=data_dir.database, venue=data_dir.exchange),
        source=source,
        clock=utc,
        gate=AssumedLiveGate.label,
    )
    async with open_session_in_thread(opening) as session:
        tree = compose(
            SystemInputs(
                settings=settings,
                clock=clock,
                port=session.port(settings, runner=make_thread_runner()),
                market=source,
                writer=session.writer,
                reader=session.reader,
                runner=make_thread_runner(),
                gate=AssumedLiveGate(),
                salt_of=lambda *parts: derive_salt(b"benchmark", *parts),
                halted=lambda: False,
                step_ms=1_000,
                keep_detail=True,
                on_reconciled=lambda agrees: agreed.set() if agrees else None,
            )
        )
        async with running(tree, on_exit=exits.append):
            await agreed.wait()
            yield tree


async def crash(tree: Tree) -> None:
    """One scanner's crash, and its recovery."""
    inbox = tree.mailboxes.scanners[0]
    cast(Mailbox[Any], inbox).put_nowait("what no scanner understands")
    with trio.fail_after(600):
        while inbox.up:  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.001)
        while not inbox.up:  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.01)
