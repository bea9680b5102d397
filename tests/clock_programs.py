"""Random programs of waiting tasks, whose recorded steps must be equal under equal clocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio
from hypothesis import strategies as st

from kamou.runtime.determinism import seed_scheduler

END_S = 50.0  # of simulated time, for tasks that would wait for ever
EVENTS, CHANNELS = 3, 2
WAITS = ("wait", "send", "receive", "forever")

Operation = tuple[Any, ...]
Body = Sequence[Operation]
Program = Sequence[Body]  # a body for each task

# A few values, so that deadlines of tasks coincide, and any others, so that sums are rounded.
seconds = st.sampled_from((0.0, 0.1, 0.2, 0.3, 1 / 3, 0.5, 1.0, 2.0)) | st.floats(0.0, 10.0)
limits = seconds | seconds | seconds | st.none()  # of a wait that may have no end
events = st.integers(0, EVENTS - 1)
channels = st.integers(0, CHANNELS - 1)
pauses: st.SearchStrategy[Operation] = st.tuples(
    st.sampled_from(("sleep", "sleep_until", "deadline")), seconds
)
waits: st.SearchStrategy[Operation] = st.one_of(
    st.tuples(st.just("wait"), limits, events),
    st.tuples(st.sampled_from(("send", "receive")), limits, channels),
    st.tuples(st.just("forever"), limits),
)
others: st.SearchStrategy[Operation] = st.one_of(
    st.tuples(st.just("set"), events),
    st.tuples(st.just("send_nowait"), channels),
    st.tuples(st.sampled_from(("checkpoint", "cancel"))),
)
operations: st.SearchStrategy[Operation] = st.recursive(
    st.one_of(pauses, pauses, waits, others),
    lambda inner: st.one_of(
        st.tuples(
            st.sampled_from(("within", "until", "or_too_slow", "shielded")),
            seconds,
            st.lists(inner, max_size=4),
        ),
        st.tuples(st.just("nursery"), st.lists(st.lists(inner, max_size=3), max_size=3)),
    ),
    max_leaves=6,
)
programs: st.SearchStrategy[Program] = st.lists(
    st.lists(operations, min_size=1, max_size=8), min_size=1, max_size=6
)


@attrs.define(eq=False)
class Notes(trio.abc.Instrument):
    """A record of each scheduler step and each operation's end, with times to the last bit."""

    lines: list[str] = attrs.field(factory=list)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.note(f"step {task.name}")

    def note(self, what: str) -> None:
        self.lines.append(f"{trio.current_time().hex()} {what}")


@attrs.define(eq=False)
class Player:
    """Runs one program. The tasks share its events and channels."""

    notes: Notes
    events: list[trio.Event] = attrs.field(init=False)
    channels: list[Any] = attrs.field(init=False)

    async def main(self, program: Program) -> None:
        self.events = [trio.Event() for _ in range(EVENTS)]
        self.channels = [trio.open_memory_channel[None](2 * size) for size in range(CHANNELS)]
        with trio.move_on_after(END_S) as scope:
            async with trio.open_nursery() as nursery:
                for number, body in enumerate(program):
                    nursery.start_soon(self.play, body, f"task {number}", scope, name=str(number))
        self.notes.note(f"the end, cut short: {scope.cancelled_caught}")

    async def play(self, body: Body, where: str, scope: trio.CancelScope) -> None:
        for number, (what, *arguments) in enumerate(body):
            here = f"{where}.{number} {what}"
            try:
                if arguments and isinstance(arguments[-1], list):
                    await self.enter(what, arguments, here, scope)
                elif what in WAITS:
                    limit, *given = arguments
                    with trio.move_on_after(END_S if limit is None else limit):
                        await self.wait(what, given)
                else:
                    await self.do(what, arguments, scope)
            except trio.Cancelled:
                self.notes.note(f"{here} cancelled")
                raise
            self.notes.note(here)

    async def enter(self, what: str, given: list[Any], here: str, scope: trio.CancelScope) -> None:
        """Run an operation that contains others."""
        inner: trio.CancelScope
        match what:
            case "nursery":
                async with trio.open_nursery() as nursery:
                    for number, body in enumerate(given[0]):
                        name = f"{here}/{number}"
                        nursery.start_soon(self.play, body, name, scope, name=name)
                return
            case "within":
                inner = trio.move_on_after(given[0])
            case "until":
                inner = trio.move_on_at(given[0])
            case "shielded":
                inner = trio.move_on_after(given[0], shield=True)
            case _:
                try:
                    with trio.fail_after(given[0]) as inner:
                        await self.play(given[1], here, inner)
                except trio.TooSlowError:
                    self.notes.note(f"{here} too slow")
                return
        with inner:
            await self.play(given[1], here, inner)
        self.notes.note(f"{here} caught: {inner.cancelled_caught}")

    async def do(self, what: str, given: list[Any], scope: trio.CancelScope) -> None:
        match what:
            case "sleep":
                await trio.sleep(given[0])
            case "sleep_until":
                await trio.sleep_until(given[0])
            case "deadline":  # moves the deadline of the scope that contains it
                scope.deadline = min(END_S, trio.current_time() + given[0])
            case "cancel":
                scope.cancel()
            case "set":
                self.events[given[0]].set()
            case "send_nowait":
                try:
                    self.channels[given[0]][0].send_nowait(None)
                except trio.WouldBlock:
                    self.notes.note("no room")
            case _:
                assert what == "checkpoint"
                await trio.lowlevel.checkpoint()

    async def wait(self, what: str, given: list[Any]) -> None:
        match what:
            case "wait":
                await self.events[given[0]].wait()
            case "send":
                await self.channels[given[0]][0].send(None)
            case "receive":
                await self.channels[given[0]][1].receive()
            case _:
                await trio.sleep_forever()


def noted(program: Program, seed: int, clock: Callable[[], trio.abc.Clock]) -> list[str]:
    """Return the notes of the program under a clock and the scheduler's seed."""
    notes = Notes()
    seed_scheduler(seed)
    trio.run(Player(notes).main, program, clock=clock(), instruments=[notes])
    return notes.lines
