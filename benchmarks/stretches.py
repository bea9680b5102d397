"""How long the trading loop works between two checkpoints. Prints JSON.

    python benchmarks/stretches.py [--symbols 220 2000] [--bar-s 300] [--days 2] [--part stretches]

Parts: ``stretches`` (CPU time of the loop's thread in one step of one task, by a Trio instrument,
with the wall time of a step and the lag of a task that only sleeps beside it; at a start, at a bar
close, at a scanner's crash and at midnight), ``shards`` (CPU seconds of a start with 1, 2 and 8
scanners) and ``protection`` (from fill to confirmed stop, with and without a scanner's crash).

A demo is fast-forwarded first, unmeasured. Then the production tree runs in real time on its data
directory, on a clock that is moved from one interesting moment to the next.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from kamou import demo
from kamou.app import Tree, World, compose, cycle_for
from kamou.assumed_live import AssumedLiveGate
from kamou.clock import DAY_MS, HOUR_MS, MINUTE_MS, SimulatedClock
from kamou.config import Settings, load
from kamou.core.events import FillRecorded, StopConfirmed
from kamou.core.model import Candidate, Side
from kamou.folder import DataFolder
from kamou.ids import salt_for
from kamou.messages.signals import RefinedSignal, SignalsRefined
from kamou.runners import on_thread
from kamou.session import opened
from kamou.store import database
from kamou.store.journal import read_events
from kamou.supervision import ChildExit
from kamou.supervisor import Supervisor

MIDNIGHT_MS = 1_767_312_000_000  # 2026-01-02T00:00:00Z: the midnight that is passed
BEFORE_BAR_MS = 17 * MINUTE_MS  # the run begins so long before it, just before a bar closes
LIMITS_MS = {  # on 5-minute bars; more symbols and finer bars are reported without a limit
    220: {"start": 50.0, "steady": 50.0, "crash": 50.0, "midnight": 50.0},
    2000: {"start": 1_000.0, "steady": 250.0, "crash": 250.0, "midnight": 250.0},
}
LAG_PROBE_S = 0.01
SETTLED_S = 6.0  # after a bar closes: all shards ranked, vetoed, journalled
ROUNDS = 20
STAGGER_S = 0.06  # between entries around one crash: one of them fills just before the reload
ENTRIES_PER_ROUND = 4


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


class Stretches(trio.abc.Instrument):
    """The longest steps of any task, by phase."""

    def __init__(self) -> None:
        self.phase = "start"
        self.longest: dict[str, list[tuple[float, float, str]]] = {}
        self.walls: dict[str, float] = {}
        self.lags: dict[str, float] = {}
        self._cpu_ns, self._wall_ns = time.thread_time_ns(), time.perf_counter_ns()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._wall_ns = time.perf_counter_ns()
        self._cpu_ns = time.thread_time_ns()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        cpu_ms = (time.thread_time_ns() - self._cpu_ns) / 1e6
        wall_ms = (time.perf_counter_ns() - self._wall_ns) / 1e6
        rows = self.longest.setdefault(self.phase, [])
        rows.append((cpu_ms, wall_ms, task.name))
        rows.sort(key=lambda row: -row[0])
        del rows[5:]
        self.walls[self.phase] = max(self.walls.get(self.phase, 0.0), wall_ms)

    async def probe(self) -> None:
        """A task that only sleeps: how much later than asked it is woken."""
        while True:
            asked = time.perf_counter() + LAG_PROBE_S
            await trio.sleep(LAG_PROBE_S)
            late_ms = (time.perf_counter() - asked) * 1000
            self.lags[self.phase] = max(self.lags.get(self.phase, 0.0), late_ms)

    def report(self, limits: dict[str, float]) -> dict[str, Any]:
        return {
            phase: {
                "longest_cpu_ms": round(rows[0][0], 1),
                "limit_cpu_ms": limits.get(phase),
                "longest_wall_ms": round(self.walls[phase], 1),
                "longest_lag_ms": round(self.lags.get(phase, 0.0), 1),
                "longest_tasks": [
                    {"task": name.rsplit(".", 1)[-1], "cpu_ms": round(cpu, 1)}
                    for cpu, _, name in rows
                ],
            }
            for phase, rows in self.longest.items()
        }


def settings_for(folder: Path, symbols: int, bar_s: int, days: int, shards: int) -> Settings:
    """The defaults, with what the crashes and the entries of this benchmark need."""
    given = load(None, {}).settings
    return attrs.evolve(
        given,
        data_dir=folder,
        demo=attrs.evolve(given.demo, symbols=symbols, bar_s=bar_s, days=days),
        cycle=attrs.evolve(given.cycle, shards=shards),
        supervision=attrs.evolve(given.supervision, intensity=100 * ROUNDS, backoff_cap_ms=100),
    )


def entering(settings: Settings) -> Settings:
    """Room for many small entries: they are what is timed, not what is traded."""
    return attrs.evolve(
        settings,
        risk=attrs.evolve(
            settings.risk,
            risk_per_trade=Decimal("0.0002"),
            entries_per_strategy_hour=1_000,
            reentries_per_symbol_day=1_000,
            budget_share_min=Decimal("0.01"),
        ),
    )


def open_folder(settings: Settings) -> tuple[DataFolder, demo.Track]:
    """A data directory with its days of history, as ``kamou run`` would have left it."""
    folder = DataFolder(settings.data_dir)
    folder.create()
    database.migrate(folder.database)
    now_ms = MIDNIGHT_MS - BEFORE_BAR_MS
    track = demo.open_track(settings, folder, now_ms=now_ms, fast_forward=True, replay=None)
    source = demo.open_source(settings, track, replay=None, now_ms=now_ms)
    demo.keep_track(folder, track)
    demo.FastForward(
        settings=settings,
        folder=folder,
        source=source,
        start_ms=track.genesis_ms,
        until_ms=track.until_ms,
        progress=lambda what, done, total: None,
        announce=_report_crash,
        stop=threading.Event(),
    ).run()
    return folder, track


def _report_crash(exit_: ChildExit) -> None:
    if exit_.error is not None:
        sys.stderr.write(f"{exit_.child} crashed: {exit_.error!r}\n")


@asynccontextmanager
async def running(
    settings: Settings,
    folder: DataFolder,
    track: demo.Track,
    clock: SimulatedClock,
    exits: list[Any],
) -> AsyncIterator[Tree]:
    """The production tree in real time on a cold market; yields once it is up and agreed."""
    source = await trio.to_thread.run_sync(
        partial(demo.open_source, settings, track, replay=None, now_ms=clock.now_ms())
    )
    settings = cycle_for(settings, source.step_ms)
    with opened(
        settings=settings,
        database_path=folder.database,
        venue_path=folder.exchange,
        source=source,
        start_ms=clock.now_ms(),
        clock=clock.now_ms,
    ) as session:
        tree = compose(
            World(
                settings=settings,
                clock=clock,
                engine=session.engine,
                writer=session.writer,
                reader=session.reader,
                runner=on_thread(),
                market_runner=on_thread(),
                gate=AssumedLiveGate(),
                salt_of=lambda *parts: salt_for(b"benchmark", *parts),
                halted=lambda: False,
                step_ms=1_000,
                keep_detail=True,
            )
        )
        supervisor = Supervisor(tree.spec, on_exit=exits.append)
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            while not tree.health.agreed:  # noqa: ASYNC110 - nothing tells of it
                await trio.sleep(0.02)
            yield tree
            await supervisor.stop()
            nursery.cancel_scope.cancel()


async def crash(tree: Tree) -> None:
    """One scanner's crash, and its recovery."""
    inbox = tree.mailboxes["scanner-0"]
    inbox.put_nowait("what no scanner understands")
    with trio.fail_after(600):
        while inbox.up:  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.001)
        while not inbox.up:  # noqa: ASYNC110 - nothing tells of it
            await trio.sleep(0.01)


async def measure(
    moved: MovedClock, settings: Settings, folder: DataFolder, track: demo.Track
) -> dict[str, Any]:
    """All phases of one run."""
    seen = Stretches()
    trio.lowlevel.add_instrument(seen)
    clock, exits = (
        SimulatedClock(start_ms=MIDNIGHT_MS - BEFORE_BAR_MS, origin_s=trio.current_time()),
        [],
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seen.probe)
        async with running(settings, folder, track, clock, exits) as tree:
            await trio.sleep(1.0)
            for phase, at_ms in (
                ("steady", MIDNIGHT_MS - 15 * MINUTE_MS),
                ("midnight", MIDNIGHT_MS),
            ):
                moved.move((at_ms - 2_000 - clock.now_ms()) / 1000)
                await trio.sleep(1.0)
                seen.phase = phase
                await clock.sleep_until(at_ms)
                await trio.sleep(SETTLED_S)
                if phase == "steady":
                    seen.phase = "crash"
                    await crash(tree)
                    await trio.sleep(1.0)
                    seen.phase = "between"
            seen.phase = "stop"
        nursery.cancel_scope.cancel()
    trio.lowlevel.remove_instrument(seen)
    limits = LIMITS_MS.get(settings.demo.symbols, {}) if settings.demo.bar_s == 300 else {}
    report = {
        phase: row for phase, row in seen.report(limits).items() if phase not in ("between", "stop")
    }
    held = [
        phase
        for phase, row in report.items()
        if row["longest_cpu_ms"] > (row["limit_cpu_ms"] or 9e9)
    ]
    return {
        "phases": report,
        "over_limit": held,
        "crashes": [str(e.child) for e in exits if e.error],
    }


async def start_cpu_s(
    moved: MovedClock, settings: Settings, folder: DataFolder, track: demo.Track
) -> float:
    """CPU seconds of the whole process until all scanners are up."""
    began_s = time.process_time()
    clock = SimulatedClock(start_ms=MIDNIGHT_MS - BEFORE_BAR_MS, origin_s=trio.current_time())
    async with running(settings, folder, track, clock, []):
        return time.process_time() - began_s


# --- from fill to stop ---------------------------------------------------------------------------


def candidate(tree: Tree, symbol: str, number: int, price: float, now_ms: int) -> RefinedSignal:
    """An entry as the refiner would hand it to the order manager."""
    return RefinedSignal(
        candidate=Candidate(
            signal_id=f"benchmark.{number}",
            strategy="mean_reversion",
            symbol=symbol,
            side=Side.LONG if number % 2 else Side.SHORT,
            score=0.9,
            close=price,
            stop_distance=0.03 * price,
            target_distance=0.09 * price,
            hold_ms=DAY_MS,
            bar_open_ms=now_ms - HOUR_MS,
            bar_close_ms=now_ms,
        ),
        size_multiplier=Decimal(1),
    )


async def enter(tree: Tree, symbols: list[str], clock: SimulatedClock, numbers: Any) -> None:
    for _ in range(ENTRIES_PER_ROUND):
        symbol, now_ms = symbols.pop(), clock.now_ms()
        quotes = await tree.port.quotes((symbol,))
        number = next(numbers)
        tree.mailboxes["order_manager"].put_nowait(
            SignalsRefined(
                cause_id="benchmark",
                expires_ms=now_ms + 60_000,
                cycle_ms=now_ms,
                signals=(candidate(tree, symbol, number, float(quotes[symbol].mark), now_ms),),
            )
        )
        await trio.sleep(STAGGER_S)


async def protect(
    moved: MovedClock, settings: Settings, folder: DataFolder, track: demo.Track
) -> dict[str, Any]:
    """The longest unprotected period of idle rounds, and of rounds with a scanner's crash."""
    clock, exits = (
        SimulatedClock(start_ms=MIDNIGHT_MS - BEFORE_BAR_MS, origin_s=trio.current_time()),
        [],
    )
    rounds: list[tuple[str, int, int]] = []  # kind, from, until
    async with running(settings, folder, track, clock, exits) as tree:
        held = {p.symbol for p in await tree.port.positions()}
        symbols = [s for s in tree.port.engine.source.symbols if s not in held]
        numbers = iter(range(1_000_000))
        for kind in ("idle", "crash") * ROUNDS:
            began_ms = clock.now_ms()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(enter, tree, symbols, clock, numbers)
                await trio.sleep(STAGGER_S)
                if kind == "crash":
                    await crash(tree)
            await trio.sleep(1.5)
            rounds.append((kind, began_ms, clock.now_ms()))
        await trio.sleep(2.0)
    periods = unprotected_ms(folder, since_ms=rounds[0][1])
    by_kind: dict[str, list[int]] = {"idle": [], "crash": []}
    for filled_ms, period_ms in periods:
        for kind, began_ms, ended_ms in rounds:
            if began_ms <= filled_ms <= ended_ms:
                by_kind[kind].append(period_ms)
    idle, crashed = max(by_kind["idle"], default=0), max(by_kind["crash"], default=0)
    return {
        "rounds_each": ROUNDS,
        "fills": {kind: len(found) for kind, found in by_kind.items()},
        "longest_idle_ms": idle,
        "longest_with_crash_ms": crashed,
        "median_ms": {k: sorted(v)[len(v) // 2] if v else None for k, v in by_kind.items()},
        "ratio": round(crashed / idle, 2) if idle else None,
        "limits": {"ratio": 1.2, "longest_with_crash_ms": 10_000},
        "crashes": len([e for e in exits if e.error]),
    }


def unprotected_ms(folder: DataFolder, *, since_ms: int) -> list[tuple[int, int]]:
    """Per symbol: when it was first filled, and how long until its stop was confirmed."""
    filled: dict[str, int] = {}
    found = []
    reader = database.open_reader(folder.database)
    for committed in read_events(reader, 0):
        event = committed.event
        if isinstance(event, FillRecorded) and event.fill.at_ms >= since_ms:
            filled.setdefault(event.fill.symbol, event.fill.at_ms)
        elif isinstance(event, StopConfirmed) and event.symbol in filled:
            found.append((filled[event.symbol], event.at_ms - filled.pop(event.symbol)))
            filled[event.symbol] = 2**62  # later fills of it are no entries
    reader.close()
    return [row for row in found if row[0] < 2**62]


# --- all -----------------------------------------------------------------------------------------

PARTS = ("stretches", "shards", "protection")


def one_size(symbols: int, bar_s: int, days: int, parts: list[str]) -> dict[str, Any]:
    report: dict[str, Any] = {}

    def fresh(part: str, shards: int, change: Callable[[Settings], Settings], run: Any) -> Any:
        sys.stderr.write(f"{symbols} symbols x {bar_s} s: {part}, {shards} shards ...\n")
        with tempfile.TemporaryDirectory(prefix="kamou-bench-") as path:
            settings = change(settings_for(Path(path), symbols, bar_s, days, shards))
            folder, track = open_folder(settings)
            moved = MovedClock()
            return trio.run(run, moved, settings, folder, track, clock=moved)

    if "stretches" in parts:
        report["stretches"] = fresh("stretches", 2, lambda s: s, measure)
    if "shards" in parts:
        report["start_cpu_s_by_shards"] = {
            str(n): round(fresh("start", n, lambda s: s, start_cpu_s), 2) for n in (1, 2, 8)
        }
    if "protection" in parts:
        report["protection"] = fresh("protection", 2, entering, protect)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, nargs="+", default=[220, 2000])
    parser.add_argument("--bar-s", type=int, default=300)
    parser.add_argument("--days", type=int, default=2)
    parser.add_argument("--part", choices=PARTS, nargs="+", default=list(PARTS))
    given = parser.parse_args()
    report: dict[str, Any] = {
        "benchmark": "stretches",
        "bar_s": given.bar_s,
        "sizes": {str(n): one_size(n, given.bar_s, given.days, given.part) for n in given.symbols},
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
