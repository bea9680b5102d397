"""A Trio run that a test drives step by step, with its schedule as an input.

Trio runs in guest mode on a ``MockClock`` that moves only when the test moves it.
A list of numbers decides which of several ready tasks goes first. If Hypothesis draws the list, it
shrinks the list to the fewest reorderings that still fail.
"""

from __future__ import annotations

import queue
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import outcome
import trio
import trio.testing
from hypothesis import strategies as st
from trio._core import _run

WITHIN_S = 20.0  # real time for a step, which takes microseconds
STEPS_MAX = 10_000  # deadlines within one ``pass_time``; after more the tasks never wait

schedules = st.lists(st.integers(0, 23), max_size=60)


class Schedule:
    """A replacement of the scheduler's generator; without a number it keeps the order."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = iter(numbers)

    def shuffle(self, batch: list[Any]) -> None:
        if len(batch) < 2:
            return
        batch.reverse()  # tasks are taken from the end
        number = next(self._numbers, 0)
        for last in range(len(batch) - 1, 0, -1):
            number, step = divmod(number, last + 1)
            batch[last], batch[last - step] = batch[last - step], batch[last]


class SteppedRun(trio.abc.Instrument):
    """A run of ``main`` in steps; all tasks wait between steps. ``finish`` ends it."""

    def __init__(self, main: Callable[[], Awaitable[None]], schedule: Sequence[int]) -> None:
        self._kept = _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING
        _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING = Schedule(schedule), True  # type: ignore[misc,assignment]  # Trio declares the flag Final
        self.clock = trio.testing.MockClock()
        self.ended: outcome.Outcome[None] | None = None
        self._scope = trio.CancelScope()
        self._idle = False
        self._token: trio.lowlevel.TrioToken | None = None
        self._calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()

        async def noting_its_token() -> None:
            self._token = trio.lowlevel.current_trio_token()
            with self._scope:
                await main()

        trio.lowlevel.start_guest_run(
            noting_its_token,
            run_sync_soon_threadsafe=self._calls.put,
            done_callback=self._done,
            host_uses_signal_set_wakeup_fd=True,
            clock=self.clock,
            instruments=[self],
        )
        while self._token is None:
            self._step()
        self.do(lambda: None)

    def before_io_wait(self, timeout: float) -> None:
        self._idle = timeout > 0

    def _done(self, ended: outcome.Outcome[None]) -> None:
        self.ended = ended

    def _step(self) -> None:
        self._calls.get(timeout=WITHIN_S)()

    def do(self, work: Callable[[], object]) -> None:
        """Call ``work`` inside the run, then let every task go on until all of them wait."""
        assert self._token is not None
        done: list[object] = []
        self._idle = False
        self._token.run_sync_soon(lambda: done.append(work()))
        while self.ended is None and not (done and self._idle and self._calls.empty()):
            self._step()

    def pass_time(self, seconds: float) -> None:
        """Move the clock from deadline to deadline; all tasks run until they wait again."""
        until = self.clock.current_time() + seconds
        waits: list[float] = []

        def look() -> None:
            waits.append(trio.lowlevel.current_statistics().seconds_to_next_deadline)

        for _ in range(STEPS_MAX):
            self.do(lambda: None)  # tasks that are due run before ``look``
            self.do(look)
            left = until - self.clock.current_time()
            if self.ended is not None or waits[-1] > left:
                break
            self.clock.jump(max(waits[-1], 1e-9))
        else:
            raise AssertionError(f"tasks still run after {STEPS_MAX} deadlines of one pass_time")
        self.clock.jump(max(0.0, until - self.clock.current_time()))
        if self.ended is None:
            self.do(lambda: None)

    def finish(self, within_s: int = 600) -> None:
        """Run the rest of ``main``, which was asked to end, and raise its error."""
        try:
            for _ in range(within_s):
                if self.ended is not None:
                    break
                self.clock.jump(1.0)
                self.do(lambda: None)
            in_time = self.ended is not None
            while self.ended is None:  # or the next run could not begin
                self.do(self._scope.cancel)
                self.clock.jump(1.0)
            self.ended.unwrap()
            assert in_time, f"main did not end within {within_s} s after it was asked to"
        finally:
            _run._r, _run._ALLOW_DETERMINISTIC_SCHEDULING = self._kept  # type: ignore[misc]  # as above
