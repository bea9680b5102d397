"""``kamou run``: ``Service``, its site, operator API, fast-forward and trading.

A run first trades the days that a fast-forward or a replay lacks, unless the halt latch is set.
Then it trades in real time; after a replay it only serves the results.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import IO

import attrs
import trio

from kamou import ids
from kamou.app import SystemInputs, compose
from kamou.clock import Clock, SystemClock
from kamou.core.record.gate import EarnedGate, Gate
from kamou.core.record.gate_transitions import GateRules
from kamou.data_directory.folder import Announce, DataDirectory, RunRecord
from kamou.data_directory.latch import HaltLatch
from kamou.errors import find_error_to_show
from kamou.http.addresses import literal
from kamou.operator.app import Operations
from kamou.operator.listeners import OperatorListeners, bind_listeners
from kamou.operator.phases import RunPhase
from kamou.runs import demo, flatten
from kamou.runs.account_summary import describe_carry_over, describe_ready
from kamou.runs.backup import check_usable
from kamou.runs.crash_lines import CrashLines
from kamou.runs.cycle_length import fit_cycle
from kamou.runs.history import CatchUpResult, History
from kamou.runs.last_line import LastLine
from kamou.runs.operator_actions import CurrentRun
from kamou.runs.refiner_model import open_model
from kamou.runs.running import running
from kamou.runs.scripted_refiner import plan_script
from kamou.runs.session import Session, SessionFiles, open_session, open_session_in_thread, salt_key
from kamou.runs.strategy_failures import StrategyFailures
from kamou.runs.takeover import take_over
from kamou.runtime.heap import freeze_heap
from kamou.runtime.leveled_lines import Progress, make_warning_sink
from kamou.runtime.loop_lag import LoopLag
from kamou.runtime.runners import make_thread_runner
from kamou.runtime.stop_signals import list_stop_signals
from kamou.runtime.watchdog import StopDeadline, Watchdog
from kamou.settings.config import Resolved, Settings
from kamou.site.child import public_site
from kamou.store import database
from kamou.supervisor import Supervisor
from kamou.venue.market.market import MarketSource

MARKET_TICK_MS = 1_000  # between two steps of the embedded venue's market in real time


@attrs.frozen(kw_only=True, eq=False)
class Service:
    """One run on one data directory.

    The caller holds the directory's lock.
    """

    settings: Settings
    fast_forward: bool
    replay: Path | None
    progress: Progress
    announce: Announce
    clock: Clock
    gate: Gate = attrs.Factory(EarnedGate)
    crashes: CrashLines = attrs.field(init=False)

    @crashes.default
    def _make_crash_lines(self) -> CrashLines:
        return CrashLines(self.announce)

    @property
    def data_dir(self) -> DataDirectory:
        return DataDirectory(self.settings.data_dir)

    async def main(self) -> None:
        """Serve until SIGINT, SIGTERM or SIGHUP; then stop in order.

        A SIGHUP that the process ignores, as under ``nohup``, does not stop the run. Errors come in
        exception groups.

        Raises:
            ListenError, StoreError, ConfigurationError, InvalidDataError: the run cannot start.
            RestartStormError: an actor crashed too often; new entries are halted, and stops stay
                at the exchange.
        """
        farewell = LastLine(self.announce, self.data_dir)
        with StopDeadline(grace_s=self.settings.supervision.grace_s, stream=_stderr()) as deadline:
            try:
                await self._run(deadline, farewell)
            except BaseException as error:
                farewell.announce_end(error)
                raise
            farewell.announce_end(None)

    async def _run(self, deadline: StopDeadline, farewell: LastLine) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(_wait_for_signal, nursery.cancel_scope, deadline, farewell)
            self.data_dir.create()
            await trio.to_thread.run_sync(check_usable, self.data_dir, abandon_on_cancel=True)
            database.migrate_journal(self.data_dir.database)
            now_ms = self.clock.now_ms()
            binding = demo.resolve_binding(
                self.settings,
                self.data_dir,
                now_ms=now_ms,
                fast_forward=self.fast_forward,
                replay=self.replay,
            )
            current_run = CurrentRun(
                currency=self.settings.currency,
                latch=HaltLatch(self.data_dir.latch),
                clock=self.clock,
                failures=StrategyFailures(self.announce),
            )
            try:
                async with self._operator(current_run) as operator, self._site(current_run) as port:
                    current_run.listens = self._announce_addresses(port, operator)
                    farewell.start()
                    left = await trio.to_thread.run_sync(
                        partial(describe_carry_over, self.data_dir, self.settings.risk),
                        abandon_on_cancel=True,  # it only reads, and may fold a whole journal
                    )
                    self.announce(left or "the data directory is new: nothing is carried over")
                    await self._open_and_serve(current_run, binding, now_ms)
            finally:
                database.checkpoint_database(self.data_dir.database)
            nursery.cancel_scope.cancel()

    async def _open_and_serve(
        self, current_run: CurrentRun, binding: demo.MarketBinding, now_ms: int
    ) -> None:
        source = await trio.to_thread.run_sync(
            partial(demo.open_source, self.settings, binding, replay=self.replay, now_ms=now_ms),
            abandon_on_cancel=True,  # it only reads, and there may be many files
        )
        fit_cycle(self.settings, source.step_ms)  # fails before the binding is stored
        demo.store_binding(self.data_dir, binding)
        history = History(
            settings=self.settings,
            data_dir=self.data_dir,
            binding=binding,
            source=source,
            replay=self.replay is not None,
            began_ms=now_ms,
            clock=self.clock,
            gate=self.gate,
            progress=self.progress,
            announce=self.announce,
            crashes=self.crashes,
            failures=current_run.failures,
        )
        await self._serve(current_run, source, await history.catch_up(current_run))

    async def _serve(
        self, current_run: CurrentRun, source: MarketSource, past: CatchUpResult | None
    ) -> None:
        """Trade in real time; after a replay, serve its results until a stop."""
        if self.replay is None:
            await self._trade(current_run, source, past)
        else:
            current_run.phase = RunPhase.REPLAYED
            ended = "has ended" if past is None or not past.cut_short else "was cut short"
            self.announce(f"the replay {ended}; the site shows its results until you stop the run")
            await trio.sleep_forever()

    # --- the site ----------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _site(self, current_run: CurrentRun) -> AsyncIterator[int]:
        """Run the public site's process under its own supervisor, and yield its TCP port.

        ``current_run`` gets the site.
        """
        async with public_site(
            self.settings,
            self.data_dir,
            gate=self.gate.label,
            announce=make_warning_sink(self.announce),
            record=current_run.record_event,
            clock=self.clock,
        ) as current_run.site:
            yield current_run.site.port

    # --- the operator ------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _operator(self, current_run: CurrentRun) -> AsyncIterator[OperatorListeners]:
        """Serve the operator's Unix socket and TCP listener under their own supervisor.

        One of the two may be missing. Yield both; ``current_run`` gets their supervisor and
        traffic.
        """
        operations = Operations(
            snapshot=current_run.snapshot,
            status=current_run.status,
            not_ready=current_run.not_ready,
            degraded=current_run.degraded,
            refresh=current_run.refresh_marks,
            halt=current_run.halt,
            resume=current_run.resume,
            flatten=current_run.flatten,
        )
        warn = make_warning_sink(self.announce)
        with bind_listeners(self.data_dir, self.settings.web, operations, warn) as bound:
            current_run.traffic = bound.traffic
            supervisor = current_run.operators = Supervisor(
                bound.spec, on_exit=self.crashes.announce_exit
            )
            async with trio.open_nursery() as nursery:
                await nursery.start(supervisor.run)
                try:
                    yield bound
                finally:
                    with trio.CancelScope(shield=True):
                        await supervisor.stop()
                nursery.cancel_scope.cancel()

    def _announce_addresses(self, port: int, operator: OperatorListeners) -> RunRecord:
        """Write the record of this run, for the other verbs, and announce its addresses."""
        web = self.settings.web
        record = RunRecord(
            pid=os.getpid(),
            mode=self.settings.mode,
            host=web.host,
            port=port,
            operator_host=web.operator_host,
            operator_port=operator.tcp_port,
            operator_socket=operator.socket_path is not None,
            started_at_ms=self.clock.now_ms(),
        )
        record.write(self.data_dir)
        self.announce(f"results: http://{literal(web.host)}:{port}/results")
        self.announce(f"operator: {self._operator_address(operator)}")
        return record

    def _operator_address(self, operator: OperatorListeners) -> str:
        if operator.tcp_port is None:
            return str(operator.socket_path)
        return f"http://{literal(self.settings.web.operator_host)}:{operator.tcp_port}/healthz"

    async def _announce_ready(self, current_run: CurrentRun) -> None:
        """Announce that the run trades once a reconciliation has agreed with the venue.

        The addresses come from the record in memory, because its file may have been deleted.
        """
        await current_run.wait_for_agreement()
        if current_run.listens is not None:
            state = current_run.status()["state"]
            self.announce(describe_ready(current_run.listens, self.data_dir, state))

    # --- trading -----------------------------------------------------------------

    async def _trade(
        self, current_run: CurrentRun, source: MarketSource, past: CatchUpResult | None
    ) -> None:
        """Trade in real time until cancelled.

        ``past`` is the result of the fast-forward; None: no time was missing.
        """
        settings, clock = fit_cycle(self.settings, source.step_ms), self.clock
        await trio.to_thread.run_sync(freeze_heap)
        opening = partial(
            open_session,
            settings=settings,
            files=SessionFiles(database=self.data_dir.database, venue=self.data_dir.exchange),
            source=source,
            clock=clock.now_ms,
            gate=self.gate.label,
        )
        async with (
            open_session_in_thread(opening) as session,
            open_model(settings.refiner, os.environ) as ask_model,
        ):
            latch = HaltLatch(self.data_dir.latch)
            self._take_over(session, latch, past)
            scripted, ask_script = plan_script(settings, source)
            tree = compose(
                SystemInputs(
                    settings=scripted,
                    clock=clock,
                    port=session.port(settings, runner=make_thread_runner()),
                    market=source,
                    writer=session.writer,
                    reader=session.reader,
                    runner=make_thread_runner(),
                    gate=self.gate,
                    shadow_book=True,
                    gather_flow=True,
                    gate_rules=GateRules(equity=float(settings.equity)),
                    salt_of=partial(ids.derive_salt, salt_key(self.data_dir.salt_key)),
                    halted=lambda: current_run.entries_held or latch.is_set(),
                    on_disk_full=partial(current_run.set_disk_full, self.announce),
                    on_reconciled=current_run.set_reconciled,
                    on_strategy_failed=current_run.failures.record,
                    step_ms=MARKET_TICK_MS,
                    ask_model=ask_model or ask_script,
                    keep_detail=True,
                )
            )
            current_run.lag = LoopLag()
            async with trio.open_nursery() as nursery:
                await nursery.start(self._make_watchdog(current_run.lag).run)
                nursery.start_soon(current_run.lag.run)
                async with running(tree, on_exit=self.crashes.announce_exit) as supervisor:
                    await current_run.show_tree(tree, supervisor, self.announce)
                    nursery.start_soon(current_run.follow)
                    nursery.start_soon(self._announce_ready, current_run)
                    try:
                        await trio.sleep_forever()
                    finally:
                        current_run.phase = RunPhase.STOPPING

    def _make_watchdog(self, lag: LoopLag) -> Watchdog:
        return Watchdog(
            heartbeat_s=self.settings.supervision.heartbeat_s,
            stream=_stderr(),
            describe_lag=lag.describe,
        )

    def _take_over(self, session: Session, latch: HaltLatch, past: CatchUpResult | None) -> None:
        """Journal the fast-forward's end, and the operator's actions before this start."""
        now_ms = self.clock.now_ms()
        if past is not None:
            session.writer.append([past.make_event(now_ms)])
        take_over(
            session.writer,
            session.reader,
            flatten.read_logged_intents(self.data_dir),
            latched=latch.is_set(),
            latch_log=latch.log(),
            now_ms=now_ms,
        )


async def _wait_for_signal(
    scope: trio.CancelScope,
    deadline: StopDeadline,
    farewell: LastLine,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(*list_stop_signals()) as signals:
        task_status.started()
        async for signal in signals:
            deadline.start()
            farewell.announce_signal(signal)
            scope.cancel()
            return


def _stderr() -> IO[str]:
    """Return the standard error of the process's start, because it has a descriptor."""
    return sys.__stderr__ or sys.stderr


def run(
    resolved: Resolved,
    *,
    fast_forward: bool,
    replay: Path | None,
    progress: Progress,
    announce: Announce = lambda _line: None,
    clock: Clock | None = None,
) -> int:
    """Run until a signal asks for a stop, and return 0 after an orderly stop.

    Args:
        resolved: the settings.
        fast_forward: simulate the days before now in a new data directory.
        replay: the path of a dataset to replay; None: the generated market.
        progress: takes a label, the number of simulated days done, and their total.
        announce: takes each line for the terminal.
        clock: the clock; None: that of the system.

    Raises:
        ListenError, StoreError, ConfigurationError, InvalidDataError: the run cannot start.
        RestartStormError: an actor crashed too often.
    """
    service = Service(
        settings=resolved.settings,
        fast_forward=fast_forward,
        replay=replay,
        progress=progress,
        announce=announce,
        clock=clock or SystemClock(),
    )
    try:
        trio.run(service.main)
    except BaseExceptionGroup as group:
        raise find_error_to_show(group) from group.__cause__
    return 0
