"""The fast-forward of a run, and its result.

The days before now are traded in a thread before real time begins. After a replay no real time
follows.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial

import attrs
import trio

from kamou.clock import Clock
from kamou.core.book.run_events import HistoryCaughtUp, HistoryCutShort
from kamou.core.day import DAY_MS
from kamou.core.record.gate import Gate
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.latch import HaltLatch
from kamou.operator.phases import RunPhase
from kamou.runs import demo
from kamou.runs.account_summary import format_minute, summarize_account
from kamou.runs.crash_lines import CrashLines
from kamou.runs.operator_actions import CurrentRun
from kamou.runs.strategy_failures import StrategyFailures
from kamou.runtime.leveled_lines import Progress, warning_line
from kamou.settings.config import Settings
from kamou.store import database, queries
from kamou.venue.market.market import MarketSource


@attrs.frozen(kw_only=True)
class CatchUpResult:
    """The result of a fast-forward that ran, or that the halt latch prevented."""

    since_ms: int  # real time at which the run began
    until_ms: int  # simulated time at which the fast-forward ends, or would have ended
    cut_short: bool  # the halt latch ended or prevented the fast-forward

    def make_event(self, now_ms: int) -> HistoryCaughtUp | HistoryCutShort:
        """Return the event that is journalled at ``now_ms``, when real time begins."""
        if self.cut_short:
            return HistoryCutShort(at_ms=now_ms, since_ms=self.since_ms, until_ms=self.until_ms)
        return HistoryCaughtUp(at_ms=now_ms, since_ms=self.since_ms)


@attrs.frozen(kw_only=True, eq=False)
class History:
    """The fast-forward of one run, through the generated market or through a replay."""

    settings: Settings
    data_dir: DataDirectory
    binding: demo.MarketBinding
    source: MarketSource
    replay: bool
    began_ms: int  # real time at which the run began
    clock: Clock
    gate: Gate
    progress: Progress
    announce: Callable[[str], None]
    crashes: CrashLines
    failures: StrategyFailures

    async def catch_up(self, current_run: CurrentRun) -> CatchUpResult | None:
        """Trade from the last simulated time to the end of the fast-forward.

        Begin, end and missing time are announced, and ``current_run`` gets the phase.
        The fast-forward ends where real time begins, or with the last bar of a replay. The halt
        latch ends the fast-forward at its next cycle, or prevents it, because positions that the
        latch asks to close are closed in real time.

        Returns:
            The result of the fast-forward; None if no time was missing.

        Raises:
            trio.Cancelled: the run stops. The next run continues from the last commit.
            RestartStormError, ConfigurationError, StoreError, InvalidDataError: as
                ``demo.FastForward.run``.
        """
        until_ms = self.source.last_ms if self.replay else self.binding.until_ms
        reached_ms = demo.read_reached_ms(self.data_dir)
        start_ms = reached_ms or self._genesis_ms(until_ms)
        if start_ms >= until_ms:
            return None
        if HaltLatch(self.data_dir.latch).is_set():
            missing = self._describe_missing(start_ms, until_ms)
            self.announce(warning_line(f"no fast-forward, the halt latch is set; {missing}"))
            reached = False
        else:
            current_run.phase = RunPhase.FAST_FORWARD
            kind = "recorded" if self.replay else "simulated"
            span = f"{format_minute(start_ms)} to {format_minute(until_ms)}"
            verb = "begins" if reached_ms is None else "goes on"
            self.announce(f"fast-forward {verb}: {kind} time from {span}")
            reached = await self._run_forward(start_ms, until_ms)
        return CatchUpResult(since_ms=self.began_ms, until_ms=until_ms, cut_short=not reached)

    def _genesis_ms(self, until_ms: int) -> int:
        """Return the time at which trading begins in a new data directory."""
        if not self.replay:
            return self.binding.genesis_ms
        return max(self.source.first_ms, until_ms - self.settings.demo.days * DAY_MS)

    async def _run_forward(self, start_ms: int, until_ms: int) -> bool:
        """Simulate in a thread, and announce the end of the fast-forward.

        Return False if the halt latch ended the fast-forward.

        Raises:
            trio.Cancelled: the run stops; the end of the fast-forward is announced before.
        """
        stop = threading.Event()
        forward = demo.FastForward(
            settings=self.settings,
            data_dir=self.data_dir,
            source=self.source,
            start_ms=start_ms,
            until_ms=until_ms,
            gate=self.gate,
            progress=self.progress,
            announce=self.crashes.announce_exit,
            on_strategy_failed=self.failures.record,
            stop=stop,
            recorded=self.replay,
            began_ms=self.began_ms,
            real_clock=self.clock,
        )
        reached = False
        async with trio.open_nursery() as nursery:
            # Shielded, because the thread stops in order when ``stop`` is set. After ``grace_s`` it
            # is abandoned: the next run simulates again what the thread has not committed.
            with trio.CancelScope(shield=True) as grace:

                async def stop_on_cancel() -> None:
                    try:
                        await trio.sleep_forever()
                    finally:
                        stop.set()
                        grace.deadline = trio.current_time() + self._grace_s

                nursery.start_soon(stop_on_cancel)
                reached = await trio.to_thread.run_sync(forward.run, abandon_on_cancel=True)
            if grace.cancelled_caught:
                self.announce(
                    f"fast-forward did not stop within {self._grace_s:g} s; the next run goes on"
                    " from the last commit"
                )
            with trio.CancelScope(shield=True):  # reads for half a second, also during a stop
                await trio.to_thread.run_sync(
                    partial(self._announce_end, until_ms, reached=reached, stopped=stop.is_set())
                )
            nursery.cancel_scope.cancel()
        await trio.lowlevel.checkpoint_if_cancelled()
        return reached

    def _announce_end(self, until_ms: int, *, reached: bool, stopped: bool) -> None:
        """Announce the end of the fast-forward: its time, its cause and the account."""
        with closing(database.open_reader(self.data_dir.database)) as reader:
            words = summarize_account(reader, self.settings.risk)
            at_ms = queries.head_at_ms(reader)
        cut = f"fast-forward was cut short at {format_minute(at_ms)}"
        if reached:
            line = f"fast-forward ends at {format_minute(at_ms)}: {words}"
        elif stopped:
            until = format_minute(until_ms)
            line = f"{cut}, the next run continues the fast-forward up to {until}: {words}"
        else:
            line = warning_line(
                f"{cut} by the halt latch: {words}; {self._describe_missing(at_ms, until_ms)}"
            )
        self.announce(line)

    def _describe_missing(self, from_ms: int, until_ms: int) -> str:
        """Describe the time that the halt latch leaves untraded, and what happens to it."""
        span = f"the time from {format_minute(from_ms)} to {format_minute(until_ms)}"
        if self.replay:
            return (
                f"{span} is not traded yet; stop this run and remove the latch with `kamou resume`,"
                " then the next run trades this time"
            )
        return (
            f"{span} is skipped, only stops and take-profit orders act in it;"
            " real time follows, without new trades until `kamou resume` allows them"
        )

    @property
    def _grace_s(self) -> float:
        """Return the time in s in which the fast-forward must stop: half of the run's."""
        return self.settings.supervision.grace_s / 2
