"""``kamou run``: the site first, then history at speed, then trading in real time until stopped."""

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
from kamou.app import SystemInputs, compose, cycle_for
from kamou.clock import Clock, SystemClock
from kamou.data_directory.folder import Announce, DataDirectory, RunRecord
from kamou.data_directory.latch import HaltLatch
from kamou.errors import innermost_error
from kamou.http.addresses import literal
from kamou.operator.app import Operations
from kamou.operator.listeners import OperatorListeners, bound_listeners
from kamou.runs import demo, flatten
from kamou.runs.account_words import carried_over, ready_words
from kamou.runs.assumed_live import AssumedLiveGate
from kamou.runs.backup import refuse_unusable
from kamou.runs.crash_lines import CrashLines
from kamou.runs.history import History, Past
from kamou.runs.last_line import LastLine
from kamou.runs.operator_actions import Running
from kamou.runs.session import Session, open_session_in_thread, salt_key
from kamou.runs.takeover import halted_by_storm, take_over
from kamou.runtime.heap import freeze_heap
from kamou.runtime.leveled_lines import Progress, warn_by
from kamou.runtime.loop_lag import LoopLag
from kamou.runtime.runners import run_on_thread
from kamou.runtime.stop_signals import open_stop_signals
from kamou.runtime.watchdog import StopDeadline, Watchdog
from kamou.settings.config import Resolved, Settings
from kamou.site.child import public_site
from kamou.store import database
from kamou.supervisor import Supervisor
from kamou.venue.market.market import MarketSource

MARKET_TICK_MS = 1_000  # how often the embedded venue's market moves in real time


@attrs.frozen(kw_only=True, eq=False)
class Service:
    """One run of one data directory. The caller holds its lock."""

    settings: Settings
    fast_forward: bool
    replay: Path | None
    progress: Progress
    announce: Announce
    clock: Clock
    crashes: CrashLines = attrs.field(init=False)

    @crashes.default
    def _announced_crashes(self) -> CrashLines:
        return CrashLines(self.announce)

    @property
    def folder(self) -> DataDirectory:
        return DataDirectory(self.settings.data_dir)

    async def main(self) -> None:
        """Serve until SIGINT, SIGTERM or SIGHUP; then stop in order.

        Raises:
            ListenError, StoreError, ConfigurationError: it cannot start, and why.
            RestartStormError: it gave up; new risk is halted and stops are on the exchange.
        """
        farewell = LastLine(self.announce, self.folder, self.clock)
        with StopDeadline(grace_s=self.settings.supervision.grace_s, stream=_stderr()) as deadline:
            try:
                await self._main(deadline, farewell)
            except BaseException as error:
                farewell.say(error)
                raise
            farewell.say(None)

    async def _main(self, deadline: StopDeadline, farewell: LastLine) -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(_until_signal, nursery.cancel_scope, deadline, farewell)
            self.folder.create()
            await trio.to_thread.run_sync(refuse_unusable, self.folder, abandon_on_cancel=True)
            database.migrate_journal(self.folder.database)
            now_ms = self.clock.now_ms()
            track = demo.open_track(
                self.settings,
                self.folder,
                now_ms=now_ms,
                fast_forward=self.fast_forward,
                replay=self.replay,
            )
            running = Running(latch=HaltLatch(self.folder.latch), clock=self.clock)
            try:
                async with self._operator(running) as operator, self._site(running) as port:
                    running.listens = self._listening(port, operator)
                    farewell.listens()
                    left = await trio.to_thread.run_sync(
                        partial(carried_over, self.folder, self.settings.risk),
                        abandon_on_cancel=True,  # it only reads, and may fold a whole journal
                    )
                    self.announce(left or "the data directory is new: nothing is carried over")
                    await self._open_and_serve(running, track, now_ms)
            finally:
                database.settle(self.folder.database)
            nursery.cancel_scope.cancel()

    async def _open_and_serve(self, running: Running, track: demo.Track, now_ms: int) -> None:
        source = await trio.to_thread.run_sync(
            partial(demo.open_source, self.settings, track, replay=self.replay, now_ms=now_ms),
            abandon_on_cancel=True,  # it only reads, and files may be many
        )
        cycle_for(self.settings, source.step_ms)  # refused before anything of this is kept
        demo.keep_track(self.folder, track)
        history = History(
            settings=self.settings,
            folder=self.folder,
            track=track,
            source=source,
            replay=self.replay is not None,
            began_ms=now_ms,
            clock=self.clock,
            progress=self.progress,
            announce=self.announce,
            crashes=self.crashes,
        )
        await self._serve(running, source, await history.catch_up(running))

    async def _serve(self, running: Running, source: MarketSource, past: Past | None) -> None:
        """Trade in real time; a replay has no real time, its results stay up."""
        if self.replay is None:
            await self._trade(running, source, past)
        else:
            running.phase = "replayed"
            ended = "has ended" if past is None or not past.cut_short else "was cut short"
            self.announce(f"the replay {ended}; the results stay up until you stop this")
            await trio.sleep_forever()

    # --- the site ----------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _site(self, running: Running) -> AsyncIterator[int]:
        """The public site's process, under a supervisor of its own; yields its port."""
        async with public_site(
            self.settings,
            self.folder,
            gate=AssumedLiveGate.label,
            announce=warn_by(self.announce),
            record=running.record,
            clock=self.clock,
        ) as running.site:
            yield running.site.port

    # --- the operator ------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _operator(self, running: Running) -> AsyncIterator[OperatorListeners]:
        """The operator's Unix socket and TCP listener, under a supervisor of their own."""
        operations = Operations(
            snapshot=running.snapshot,
            status=running.status,
            not_ready=running.not_ready,
            degraded=running.degraded,
            refresh=running.refresh_marks,
            halt=running.halt,
            resume=running.resume,
            flatten=running.flatten,
        )
        warn = warn_by(self.announce)
        with bound_listeners(self.folder, self.settings.web, operations, warn) as bound:
            running.traffic = bound.traffic
            supervisor = running.operators = Supervisor(bound.spec, on_exit=self.crashes.hear)
            async with trio.open_nursery() as nursery:
                await nursery.start(supervisor.run)
                try:
                    yield bound
                finally:
                    with trio.CancelScope(shield=True):
                        await supervisor.stop()
                nursery.cancel_scope.cancel()

    def _listening(self, port: int, operator: OperatorListeners) -> RunRecord:
        """Write where this run listens, for the other verbs, and announce it."""
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
        record.write(self.folder)
        self.announce(f"results: http://{literal(web.host)}:{port}/results")
        self.announce(f"operator: {self._operator_address(operator)}")
        return record

    def _operator_address(self, operator: OperatorListeners) -> str:
        if operator.tcp_port is None:
            return str(operator.socket_path)
        host = literal(self.settings.web.operator_host)
        return f"http://{host}:{operator.tcp_port}/healthz"

    async def _say_ready(self, running: Running) -> None:
        """Announce once that it trades: when this run has agreed with the venue.

        Its own record says where it listens: the file may be gone, and trading goes on without it.
        """
        await running.agrees()
        if running.listens is not None:
            state = running.status()["state"]
            self.announce(ready_words(running.listens, self.folder, state))

    # --- trading -----------------------------------------------------------------

    async def _trade(self, running: Running, source: MarketSource, past: Past | None) -> None:
        """Trade in real time. ``past``: the days before now, if some were missing at the start."""
        settings, clock = cycle_for(self.settings, source.step_ms), self.clock
        await trio.to_thread.run_sync(freeze_heap)
        async with open_session_in_thread(
            settings=settings,
            database_path=self.folder.database,
            venue_path=self.folder.exchange,
            source=source,
            start_ms=clock.now_ms(),
            clock=clock.now_ms,
            gate=AssumedLiveGate.label,
        ) as session:
            latch = HaltLatch(self.folder.latch)
            self._take_over(session, latch, past)
            tree = compose(
                SystemInputs(
                    settings=settings,
                    clock=clock,
                    port=session.port(settings, runner=run_on_thread()),
                    market=source,
                    writer=session.writer,
                    reader=session.reader,
                    runner=run_on_thread(),
                    gate=AssumedLiveGate(),
                    salt_of=partial(ids.salt_for, salt_key(self.folder.salt_key)),
                    halted=lambda: running.held or latch.is_set(),
                    on_disk_full=partial(running.hear_disk, self.announce),
                    step_ms=MARKET_TICK_MS,
                    keep_detail=True,
                )
            )
            supervisor = Supervisor(tree.spec, on_exit=self.crashes.hear)
            running.lag = LoopLag()
            watchdog = Watchdog(
                heartbeat_s=settings.supervision.heartbeat_s,
                stream=_stderr(),
                describe_lag=running.lag.describe,
            )
            with halted_by_storm(session.writer, session.reader, clock.now_ms):
                async with trio.open_nursery() as nursery:
                    await nursery.start(watchdog.run)
                    nursery.start_soon(running.lag.run)
                    await nursery.start(supervisor.run)
                    await running.take(tree, supervisor, self.announce)
                    nursery.start_soon(running.follow)
                    nursery.start_soon(self._say_ready, running)
                    try:
                        await trio.sleep_forever()
                    finally:
                        running.phase = "stopping"
                        with trio.CancelScope(shield=True):
                            await supervisor.stop()

    def _take_over(self, session: Session, latch: HaltLatch, past: Past | None) -> None:
        """Journal what happened before real time began, here and while nothing ran."""
        now_ms = self.clock.now_ms()
        if past is not None:
            session.writer.append([past.event(now_ms)])
        take_over(
            session.writer,
            session.reader,
            flatten.imported(self.folder),
            latched=latch.is_set(),
            latch_log=latch.log(),
            now_ms=now_ms,
        )


async def _until_signal(
    scope: trio.CancelScope,
    deadline: StopDeadline,
    farewell: LastLine,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    with trio.open_signal_receiver(*open_stop_signals()) as signals:
        task_status.started()
        async for signal in signals:
            deadline.start()
            farewell.hear(signal)
            scope.cancel()
            return


def _stderr() -> IO[str]:
    """The process's own standard error, a real file, whatever stands in its place."""
    return sys.__stderr__ or sys.stderr


def run(
    resolved: Resolved,
    *,
    days: int,
    fast_forward: bool,
    replay: Path | None,
    live: bool,
    progress: Progress,
    announce: Announce = lambda line: None,
    clock: Clock | None = None,
) -> int:
    """Run until told to stop; 0 after an orderly stop. Raises: as ``Service.main``."""
    assert not live, "refused at the command line in this release"
    settings = attrs.evolve(resolved.settings, demo=attrs.evolve(resolved.settings.demo, days=days))
    service = Service(
        settings=settings,
        fast_forward=fast_forward,
        replay=replay,
        progress=progress,
        announce=announce,
        clock=clock or SystemClock(),
    )
    try:
        trio.run(service.main)
    except BaseExceptionGroup as group:
        raise innermost_error(group) from group.__cause__
    return 0
