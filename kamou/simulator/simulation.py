"""The simulation of one seed, with its market, venue, disk and processes.

Each process is a Trio run with the production tree. A kill ends the process, but not the venue and
the disk. Book and venue must agree at the end of the convergence phase, which has no faults and a
frozen market.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import attrs
import trio

from kamou import app, ids
from kamou.clock import JumpClock, SimulatedClock, floor_ms
from kamou.core.day import HOUR_MS, MINUTE_MS
from kamou.core.kinds import RunEnd
from kamou.data_directory.folder import MEMORY
from kamou.errors import DiskFullError
from kamou.runs.facts import facts_digest
from kamou.runs.running import running
from kamou.runs.session import make_run_started, make_run_stopped
from kamou.runtime.determinism import make_random_stream, seed_scheduler
from kamou.runtime.supervision import ChildExit, RestartStormError
from kamou.settings.config import Settings
from kamou.simulator.account_changes import AccountChanges
from kamou.simulator.backups import Backups
from kamou.simulator.chaos import Chaos, covered_ms
from kamou.simulator.crash_injection import StepCounter, Stuck
from kamou.simulator.faults import (
    ALL_SOURCES,
    BLIND,
    REPORTED_AT_ONCE,
    SIMULATION_STREAM,
    FaultName,
)
from kamou.simulator.faulty_exchange import FaultyExchange, Surroundings
from kamou.simulator.market import MarketSettings, SimulatedMarket
from kamou.simulator.monitor import Monitor
from kamou.simulator.operator import SimulatedOperator
from kamou.simulator.scenario import Scenario
from kamou.simulator.settings import (
    SETTINGS,
    apply_faults,
    reconfigure_settings,
)
from kamou.simulator.shadow_records import make_gate
from kamou.simulator.simulated_model import SimulatedModel
from kamou.simulator.simulated_process import (
    SYNCHRONOUS_FULL,
    CrashSchedule,
    DiskWriter,
    Killed,
    SkewedClock,
    copy_database,
    cut_power,
    image_path,
)
from kamou.simulator.site_faults import SiteFaults
from kamou.simulator.strikes import count_strikes
from kamou.simulator.trace import Trace
from kamou.simulator.venue import Venue
from kamou.store import database
from kamou.store.journal import next_run_number
from kamou.venue.engine import Engine
from kamou.venue.models import VenueModels
from kamou.venue.store import VenueStore

T = TypeVar("T")
NOON_MS = 1_735_732_800_000  # 2025-01-01T12:00Z
HISTORY_MS = 90 * MINUTE_MS  # time of the market before the start
LONG_HISTORY_MS = 74 * HOUR_MS  # before it regimes know no past day, and funding no 3 days
CONVERGENCE_MS = 6 * MINUTE_MS  # convergence phase: six cycles without faults must be enough
MEMORY_FOLDER = "/dev/shm"  # if it exists, the simulated disk is faster
CORE = {"journal", "risk_governor", "exchange", "order_manager", "reconciler"}
ACTORS = frozenset(CORE | {"refiner", "veto", "feed"})
ACTORS |= {f"{name}-{shard}" for name in ("scanner", "order_flow") for shard in (0, 1)}


class Simulation:
    """The simulation of one scenario; its ``monitor`` has violations and coverage."""

    def __init__(self, scenario: Scenario, settings: Settings = SETTINGS) -> None:
        seed = scenario.seed
        self.scenario = scenario
        self.draw = make_random_stream(seed, SIMULATION_STREAM)
        if self.draw.random() < 0.25:  # a venue that takes no attached orders
            exchange = attrs.evolve(settings.exchange, attached_stop=False)
            settings = attrs.evolve(settings, exchange=exchange)
        self.settings = settings = apply_faults(settings, scenario.on, seed)
        self.start_ms = NOON_MS
        if FaultName.DAY_END in scenario.on:  # half-way
            half_ms = floor_ms(round(scenario.hours * HOUR_MS / 2), MINUTE_MS)
            self.start_ms = NOON_MS + 12 * HOUR_MS - half_ms
        whole_ms = self.start_ms + round(scenario.hours * HOUR_MS)
        self.end_ms = whole_ms
        if scenario.until_hours is not None:
            self.end_ms = min(whole_ms, self.start_ms + round(scenario.until_hours * HOUR_MS))
        self.last_ms = self.end_ms + CONVERGENCE_MS
        self.chaos = Chaos(
            seed, scenario.on, start_ms=self.start_ms, end_ms=whole_ms, convergence_ms=self.end_ms
        )
        slow = (ALL_SOURCES | {FaultName.ALL_VETOES}) & scenario.on
        self.market = SimulatedMarket(
            seed=seed,
            first_ms=self.start_ms - (LONG_HISTORY_MS if slow else HISTORY_MS),
            last_ms=whole_ms + CONVERGENCE_MS + MINUTE_MS,
            symbols=scenario.symbols,
            settings=MarketSettings(
                thin_share=0.3 * (FaultName.PARTIAL_FILLS in scenario.on),
                all_sources=bool(ALL_SOURCES & scenario.on),
            ),
            freeze_ms=self.end_ms,
        )
        self.engine = Engine(
            self.market,
            VenueModels.from_settings(settings.exchange, settings.costs),
            VenueStore(MEMORY),
            start_ms=self.start_ms,
            wallet_balance=settings.equity,
        )
        self.venue = Venue(self.engine)
        self.account_changes = AccountChanges(self.venue, self.engine, self.market, self.chaos)
        self.trace = Trace(keep=scenario.keep_trace)
        self.monitor = Monitor(
            engine=self.engine, settings=settings, excused_ms=self._excused_ms, trace=self.trace
        )
        self.gate = make_gate(self.chaos, settings, self.start_ms, self.end_ms)
        self.steps = self.processes = 0
        self.kills = sorted([*self._drawn_kills(), *self.gate.kills])
        self.dead: list[tuple[int, int]] = []  # periods without a running process
        self.synced = True
        self.facts = ""  # the facts digest, if the simulation reached its end

    def _drawn_kills(self) -> list[tuple[int, FaultName]]:
        return sorted(
            (at_ms, kind)
            for kind in (FaultName.PROCESS_KILL, FaultName.POWER_CUT)
            for at_ms in self.chaos.moments(kind)
        )

    # --- the run -------------------------------------------------------------------

    def run(self) -> None:
        """Run to the end of the convergence phase, or until an error escapes a process."""
        self.account_changes.schedule()
        with self._disk() as directory:
            self.backups = Backups(self.chaos, directory)
            now_ms, number = self.start_ms, 0
            while now_ms < self.last_ms:
                path = directory / f"journal-{number}.sqlite3"
                process = SimulatedRun(self, path, now_ms)
                process.run()
                self.steps += process.steps
                self.processes += 1
                if process.escaped:
                    return
                now_ms = max(process.ended_ms, now_ms + 1)
                if now_ms >= self.last_ms:
                    self._judge(path)
                    return
                number += 1
                to = directory / f"journal-{number}.sqlite3"
                self._inherit(path, to, process.crashes.dead)
                restored_ms = self.backups.restore(to, now_ms)
                down_ms = self._down_ms() + restored_ms
                up_ms = min(self.last_ms - CONVERGENCE_MS // 2, now_ms + down_ms)
                up_ms = max(up_ms, now_ms + 1)
                self.dead.append((now_ms, up_ms))
                now_ms = up_ms
                if restored_ms:
                    self.account_changes.mark_all(now_ms)
                self.venue.advance(now_ms)

    def reconfigure(self, chance: float) -> None:
        """Change the settings of the next process."""
        self.settings = reconfigure_settings(self.settings, chance)

    def _down_ms(self) -> int:
        return int(1000 * 10 ** self.draw.uniform(-0.5, 2.0))

    @contextlib.contextmanager
    def _disk(self) -> Iterator[Path]:
        where = MEMORY_FOLDER if Path(MEMORY_FOLDER).is_dir() else None
        with tempfile.TemporaryDirectory(prefix="kamou-simulate-", dir=where) as directory:
            yield Path(directory)

    def _inherit(self, path: Path, to: Path, dead: FaultName | None) -> None:
        """Move the last process's database to the disk of the next one.

        ``dead`` is the kind of the kill, if any. After a power cut unsynced data are lost.
        """
        image = image_path(path)
        copy_database(image if image.exists() else path, to)
        if dead == FaultName.POWER_CUT:
            lost = cut_power(to, self.chaos.draw(FaultName.POWER_CUT).random(), synced=self.synced)
            self.monitor.coverage.update({"bytes lost": lost} if lost else {})
        for old in path.parent.glob(path.name + "*"):
            old.unlink()

    def _judge(self, path: Path) -> None:
        self.venue.advance(self.last_ms)
        with contextlib.closing(database.open_reader(path)) as reader:
            self.monitor.check_end(reader, self.settings.equity, self.last_ms)
            self.monitor.sizes.check_end(self.gate.final_states)
            self.facts = facts_digest(self.engine.audit_log, reader, self.monitor.found)
        count_strikes(self.chaos, self.monitor)

    def _excused_ms(self, symbol: str, since_ms: int, until_ms: int) -> int:
        """Return the ms from ``since_ms`` to ``until_ms`` that count towards no deadline."""
        silent = self.dead + self.monitor.stalls
        # On a full disk no intent can be committed, so no order may be sent. Without the account no
        # reconciliation ends.
        for name in BLIND:
            silent = silent + list(self.chaos.windows(name))
        excused_ms = covered_ms(silent, since_ms, until_ms)
        if self.chaos.on <= REPORTED_AT_ONCE:
            return excused_ms
        touched_ms = self.account_changes.touched.get(symbol, 0)
        # The system sees an external change at the next reconciliation, after one cycle and reads.
        seen_ms = self.settings.cycle.period_s * 1000 + 15_000
        if touched_ms and since_ms - touched_ms <= seen_ms:
            excused_ms += seen_ms
        return excused_ms


class SimulatedRun:
    """One process of ``kamou run`` in the simulation."""

    def __init__(self, simulation: Simulation, path: Path, start_ms: int) -> None:
        self.simulation = simulation
        self.path = path
        self.start_ms = start_ms
        self.ended_ms = start_ms
        self.steps = 0
        self.escaped = False
        self.clock = SimulatedClock(start_ms=start_ms)
        self.skewed = SkewedClock(self.clock, simulation.chaos)
        self.crashes = CrashSchedule(simulation.chaos, self.clock, simulation.kills)

    def run(self) -> None:
        simulation = self.simulation
        if simulation.scenario.seeded:
            seed_scheduler(simulation.scenario.seed * 1_000 + simulation.processes)
        crash = partial(self._crash_now) if FaultName.ACTOR_CRASH in simulation.chaos.on else None
        steps = StepCounter(ACTORS, crash)
        try:
            trio.run(self._main, clock=JumpClock(), instruments=[steps])
        except* Killed:
            simulation.monitor.coverage["kills"] += 1
            simulation.monitor.coverage[f"killed {self.crashes.where}"] += 1
        except* RestartStormError:
            simulation.monitor.coverage["storms"] += 1
        except* Stuck as group:
            simulation.monitor.crashes.report_stuck(group, self.ended_ms)
            self.escaped = True
        except* Exception as group:
            simulation.monitor.crashes.report_escaped(group, self.ended_ms)
            self.escaped = True
        ends = f"{self.ended_ms} process ends {self.crashes.dead or 'orderly'}"
        simulation.monitor.note(f"{ends} after {steps.count} steps {steps.order:08x}")
        self.steps = steps.count

    def _crash_now(self) -> bool:
        struck = self.simulation.chaos.chance(FaultName.ACTOR_CRASH, self.clock.now_ms())
        return struck and not self.crashes.dead

    async def _main(self) -> None:
        simulation, monitor = self.simulation, self.simulation.monitor
        connection = database.open_writer(self.path, durable=True)
        (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
        simulation.synced = synchronous >= SYNCHRONOUS_FULL
        database.set_durable(
            connection, durable=False
        )  # `cut_power` removes what a power cut loses
        reader = database.open_reader(self.path)
        try:
            if simulation.backups.take_restored():
                monitor.restore_journal(connection)
            monitor.check_recovery(connection, self.start_ms)
            writer = DiskWriter(
                connection,
                run_number=next_run_number(connection),
                crashes=self.crashes,
                on_commit=simulation.backups.add_copying(
                    monitor.check_commit, self.path, self.clock
                ),
            )
            settings = simulation.settings
            try:
                started = make_run_started(
                    settings, writer.run_number, self.skewed.now_ms(), simulation.gate.gate.label
                )
                writer.append([started, *simulation.gate.past_events(writer.run_number)])
            except DiskFullError:  # the process does not start; the service manager tries again
                monitor.coverage["did not start"] += 1
                return
            await self._live(writer, reader)
            writer.recover()
            stopped = make_run_stopped(writer.run_number, self.skewed.now_ms(), RunEnd.STOPPED)
            with contextlib.suppress(DiskFullError):  # as a session of Kamou does
                writer.append([stopped])
        finally:
            monitor.halts.forget_command()
            self.ended_ms = self.clock.now_ms()
            if self.crashes.dead:
                copy_database(self.path, image_path(self.path))
            reader.close()
            connection.close()

    async def _live(self, writer: DiskWriter, reader: sqlite3.Connection) -> None:
        simulation, clock = self.simulation, self.clock
        chaos, monitor = simulation.chaos, simulation.monitor
        around = Surroundings(
            venue=simulation.venue, clock=clock, chaos=chaos, monitor=monitor, crashes=self.crashes
        )
        tree = app.compose(
            app.SystemInputs(
                settings=simulation.settings,
                clock=self.skewed,
                port=partial(
                    FaultyExchange,
                    simulation.engine,
                    attached_stop=simulation.settings.exchange.attached_stop,
                    around=around,
                ),
                market=simulation.engine.source,
                writer=writer,
                reader=reader,
                runner=self._runner,
                gate=simulation.gate.gate,
                gate_rules=simulation.gate.rules,
                salt_of=partial(ids.derive_salt, hashlib.sha256(b"kamou-simulate").digest()),
                halted=lambda: False,
                step_ms=simulation.market.step_ms,
                gather_flow=FaultName.FLOW_TROUBLE in chaos.on,
                ask_model=SimulatedModel(chaos=chaos, clock=clock).ask,
            )
        )
        operator = SimulatedOperator(
            chaos=chaos, monitor=monitor, clock=clock, reconfigure=simulation.reconfigure
        )
        site = SiteFaults(chaos=chaos, monitor=monitor, clock=clock)
        ended = trio.Event()
        end_s = trio.current_time() + (simulation.last_ms - self.clock.now_ms()) / 1000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._kill_when_due)
            nursery.start_soon(operator.operate, tree, ended)
            nursery.start_soon(operator.attend, tree, simulation.end_ms)
            nursery.start_soon(simulation.backups.stop_for_restore, self.clock, ended)
            nursery.start_soon(simulation.gate.close_trades, tree, self.clock)
            nursery.start_soon(monitor.windows.watch, tree, clock)
            nursery.start_soon(site.run, tree.journal.cast, self.skewed.now_ms, simulation.last_ms)
            # A start never ends if a child cannot start.
            async with running(tree, on_exit=self._on_exit, start_by_s=end_s):
                with trio.move_on_at(end_s):
                    await ended.wait()
            nursery.cancel_scope.cancel()

    def _on_exit(self, exit_: ChildExit) -> None:
        if not self.crashes.dead:
            self.simulation.monitor.check_exit(exit_, self.clock.now_ms())

    async def _runner(self, work: Callable[..., T], /, *args: object) -> T:
        """Run ``work`` on the disk, sometimes slowly; no cancellation ends a slow call."""
        self.crashes.check()
        if self.simulation.chaos.chance(FaultName.SLOW_FSYNC, self.clock.now_ms()):
            self.simulation.monitor.crashes.disturbed_ms = self.clock.now_ms()
            with trio.CancelScope(shield=True):
                stall_s = 10 ** self.simulation.chaos.draw(FaultName.SLOW_FSYNC).uniform(-2, 0.85)
                now_ms = self.clock.now_ms()
                self.simulation.monitor.stalls.append((now_ms, now_ms + int(1000 * stall_s)))
                await trio.sleep(stall_s)
        return work(*args)

    # --- kills -----------------------------------------------------------------------

    async def _kill_when_due(self) -> None:
        """Kill at the due time or some seconds later, unless a commit or call did before."""
        while (kill := self.crashes.due()) is not None:
            draw = self.simulation.chaos.draw(kill[1])
            patience_s = 0.0 if draw.random() < 0.4 else 40.0
            await trio.sleep(max(0.0, (kill[0] - self.clock.now_ms()) / 1000) + patience_s)
            if self.crashes.due() is kill:
                self.crashes.die(kill[1], "any time")
