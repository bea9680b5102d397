"""The days before now, made at speed in a thread before a run trades in real time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing

import attrs
import trio

from kamou.clock import Clock
from kamou.core.book.run_events import HistoryCaughtUp, HistoryCutShort
from kamou.core.day import DAY_MS
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.latch import HaltLatch
from kamou.runs import demo
from kamou.runs.account_words import account_words, say_time
from kamou.runs.crash_lines import CrashLines
from kamou.runs.operator_actions import Running
from kamou.runtime.leveled_lines import Progress, warning_line
from kamou.settings.config import Settings
from kamou.store import database, queries
from kamou.venue.market.market import MarketSource


@attrs.frozen(kw_only=True)
class Past:
    """What was made of the days before now."""

    since_ms: int  # real time: since when this run has made them
    until_ms: int  # simulated time at which they end
    cut_short: bool  # by the halt latch

    def event(self, now_ms: int) -> HistoryCaughtUp | HistoryCutShort:
        """Return what the journal keeps of it, once real time begins."""
        if self.cut_short:
            return HistoryCutShort(at_ms=now_ms, since_ms=self.since_ms, until_ms=self.until_ms)
        return HistoryCaughtUp(at_ms=now_ms, since_ms=self.since_ms)


@attrs.frozen(kw_only=True, eq=False)
class History:
    """The demo's fast-forward, or a replay, of one run."""

    settings: Settings
    folder: DataDirectory
    track: demo.Track
    source: MarketSource
    replay: bool
    began_ms: int  # real time: when the run began
    clock: Clock
    progress: Progress
    announce: Callable[[str], None]
    crashes: CrashLines

    async def catch_up(self, running: Running) -> Past | None:
        """Make the simulated time from where the track stands to ``until_ms``.

        The halt latch ends it at once: what it wants closed is closed in real time.

        Returns:
            What was made; None if nothing was missing.

        Raises:
            trio.Cancelled: the run was told to stop. The next one goes on from there.
        """
        until_ms = self.source.last_ms if self.replay else self.track.until_ms
        reached_ms = demo.reached_ms(self.folder)
        start_ms = reached_ms or self._first_ms(until_ms)
        if start_ms >= until_ms:
            return None
        if HaltLatch(self.folder.latch).is_set():
            without = self._without(start_ms, until_ms)
            self.announce(warning_line(f"no fast-forward, the halt latch is set; {without}"))
            reached = False
        else:
            running.phase = "fast-forward"
            kind = "recorded" if self.replay else "simulated"
            span = f"{say_time(start_ms)} to {say_time(until_ms)}"
            verb = "begins" if reached_ms is None else "goes on"
            self.announce(f"fast-forward {verb}: {kind} time from {span}")
            reached = await self._forward(start_ms, until_ms)
        return Past(since_ms=self.began_ms, until_ms=until_ms, cut_short=not reached)

    def _first_ms(self, until_ms: int) -> int:
        if not self.replay:
            return self.track.genesis_ms
        return max(self.source.first_ms, until_ms - self.settings.demo.days * DAY_MS)

    async def _forward(self, start_ms: int, until_ms: int) -> bool:
        """Return whether it reached ``until_ms``; the halt latch was set if it did not."""
        stop = threading.Event()
        forward = demo.FastForward(
            settings=self.settings,
            folder=self.folder,
            source=self.source,
            start_ms=start_ms,
            until_ms=until_ms,
            progress=self.progress,
            announce=self.crashes.hear,
            stop=stop,
            recorded=self.replay,
            began_ms=self.began_ms,
            real_clock=self.clock,
        )
        reached = False
        async with trio.open_nursery() as nursery:
            # Shielded: the thread ends itself, in order, when it is asked to. Not for ever: what it
            # has not committed by then can be made again.
            with trio.CancelScope(shield=True) as patience:

                async def tell() -> None:
                    try:
                        await trio.sleep_forever()
                    finally:
                        stop.set()
                        patience.deadline = trio.current_time() + self._grace_s

                nursery.start_soon(tell)
                reached = await trio.to_thread.run_sync(forward.run, abandon_on_cancel=True)
            if patience.cancelled_caught:
                self.announce("history did not stop in time; the next run takes up its last commit")
            with trio.CancelScope(shield=True):  # half a second of reading, also when it stops
                await trio.to_thread.run_sync(self._say_ended, until_ms, reached, stop.is_set())
            nursery.cancel_scope.cancel()
        await trio.lowlevel.checkpoint_if_cancelled()
        return reached

    def _say_ended(self, until_ms: int, reached: bool, stopped: bool) -> None:
        with closing(database.open_reader(self.folder.database)) as reader:
            words = account_words(reader, self.settings.risk)
            at_ms = queries.head_at_ms(reader)
        cut = f"fast-forward was cut short at {say_time(at_ms)}"
        if reached:
            line = f"fast-forward ends at {say_time(at_ms)}: {words}"
        elif stopped:
            line = f"{cut}, the next run goes on with it up to {say_time(until_ms)}: {words}"
        else:
            line = warning_line(
                f"{cut} by the halt latch: {words}; {self._without(at_ms, until_ms)}"
            )
        self.announce(line)

    def _without(self, from_ms: int, until_ms: int) -> str:
        """Say what follows where the halt latch leaves days out."""
        span = f"the time from {say_time(from_ms)} to {say_time(until_ms)}"
        if self.replay:
            return f"{span} waits: stop this, `kamou resume`, and the next run goes on with it"
        return (
            f"{span} is skipped, only stops and targets act in it;"
            " real time follows, without new trades until `kamou resume` allows them"
        )

    @property
    def _grace_s(self) -> float:
        """How long history may take to stop, within the grace of the whole run."""
        return self.settings.supervision.grace_s / 2
