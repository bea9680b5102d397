"""The supervisor: starts, restarts and stops its children as in OTP.

Children start left to right, each one recovered and listening before the next, and stop right to
left. A child that ends unexpectedly is restarted after its own back-off, alone or with its siblings
as the restart strategy says. Too many restarts in a period end the supervisor with
``RestartStormError``, which is a crash for the supervisor above it.

The tasks of a supervisor run in one Trio nursery: one task per incarnation of a child, and one per
recovery (which stops, waits and starts after a crash). The supervisor decides synchronously when a
child ends, so the back-off of one child delays no other.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
import trio

from kamou.runtime.supervision import (
    ChildExit,
    ChildSpec,
    ChildState,
    ExitKind,
    Restart,
    RestartStormError,
    RestartStrategy,
    StartStatus,
    StartTimeoutError,
    SupervisorSpec,
    unwrap_error,
)

BACKOFF_DOUBLINGS_MAX = 30  # uncapped, 2**n overflows a float after about 1,000 crashes
RESTARTS_KEPT = 2_000  # more than any intensity; bounds the list if ``intensity`` is None


@attrs.define(eq=False)
class _Child:
    """A child's place in the tree; it outlives its incarnations."""

    spec: ChildSpec
    nested: Supervisor | None
    state: ChildState = ChildState.STOPPED
    incarnation: int = 0
    alive: bool = False  # a task of this child exists
    stopping: bool = False  # asked to stop, or cancelled, by the supervisor
    wanted: bool = True  # may be started even if temporary: not started yet, or asked for
    recovery: _Recovery | None = None  # the recovery that will start it
    covered: bool = False  # a decided restart ends this incarnation
    crashes: int = 0  # in a row
    due_s: float = 0.0  # Trio time before which its back-off forbids a start
    started_s: float | None = None  # Trio time at which this incarnation was listening
    last_error: str = ""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    settled: trio.Event = attrs.field(factory=trio.Event)  # listening, or ended before that
    ended: trio.Event = attrs.field(factory=trio.Event)

    def can_be_asked(self) -> bool:
        """Return True if the child can be asked to stop; while it starts, it is cancelled."""
        if self.nested is not None:
            return self.nested._nursery is not None
        return self.state is not ChildState.STARTING


@attrs.frozen(eq=False)
class _Recovery:
    """A restart of its members, which it owns until they run."""

    members: tuple[_Child, ...]
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class Supervisor:
    """A supervisor of the children of ``spec``.

    ``on_exit`` is called at every exit, before any restart, and when a child is stuck. It is called
    inside the event loop and must not raise.
    """

    def __init__(
        self, spec: SupervisorSpec, *, on_exit: Callable[[ChildExit], None] | None = None
    ) -> None:
        ids = [child.id for child in spec.children]
        assert len(set(ids)) == len(ids), f"{spec.id}: child ids are not unique: {ids}"
        self.spec = spec
        self._on_exit = on_exit
        self._children = [self._place(child) for child in spec.children]
        self._nursery: trio.Nursery | None = None
        self._restarts = deque[tuple[float, float]](maxlen=RESTARTS_KEPT)  # time, back-off; in s
        self._finish = trio.Event()
        self._stopped = trio.Event()
        self._closing = False
        self._storm: RestartStormError | None = None
        self._announce: Callable[[], None] | None = None

    def _place(self, spec: ChildSpec | SupervisorSpec) -> _Child:
        if isinstance(spec, ChildSpec):
            return _Child(spec, None)
        nested = Supervisor(spec, on_exit=self._on_exit)
        as_child = ChildSpec(
            id=spec.id,
            start=nested.run,
            restart=spec.restart,
            shutdown_s=spec.shutdown_s,
            start_timeout_s=math.inf,  # its children have their own timeouts, and storms escalate
            stop=nested.ask_to_stop,
        )
        return _Child(as_child, nested)

    # --- the whole ---------------------------------------------------------------

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the children and keep them running until the supervisor must stop.

        It may be run again after that. Reports started when every child has started or has ended
        for good. If cancelled, cancels all children at the same time.

        Raises:
            RestartStormError: more than ``intensity`` restarts in the period; raised after the
                other children have stopped in order.
        """
        assert self._nursery is None, f"{self.spec.id} is already running"
        self._finish, self._stopped = trio.Event(), trio.Event()
        self._restarts.clear()
        self._closing, self._storm, self._announce = False, None, task_status.started
        for child in self._children:
            child.wanted, child.recovery, child.due_s, child.crashes = True, None, 0.0, 0
        try:
            async with trio.open_nursery() as self._nursery:
                self._recover(self._children)
                self._note_change()
                await self._finish.wait()
                await self._close()
                self._nursery.cancel_scope.cancel()
        finally:
            self._nursery = None
            self._stopped.set()
        if self._storm is not None:
            raise self._storm

    def ask_to_stop(self) -> None:
        """Begin an orderly stop, without waiting for it."""
        self._finish.set()

    async def stop(self) -> None:
        """Stop right to left; return when every child has ended or was reported stuck.

        With a stuck child, ``run`` returns when that child ends: Trio cannot abandon its task.
        """
        if self._nursery is not None:
            self.ask_to_stop()
            await self._stopped.wait()

    async def _close(self) -> None:
        self._closing = True
        for child in self._children:
            if child.recovery is not None:
                child.recovery.scope.cancel()
        for child in reversed(self._children):
            await self._stop_child(child)
        self._stopped.set()

    # --- one child ---------------------------------------------------------------

    def _start_child(self, child: _Child) -> None:
        assert self._nursery is not None
        assert not child.alive, f"{child.spec.id} would run twice"
        child.incarnation += 1
        child.alive, child.stopping, child.wanted, child.covered = True, False, False, False
        child.state, child.started_s = ChildState.STARTING, None
        child.settled, child.ended = trio.Event(), trio.Event()
        child.scope = trio.CancelScope(deadline=trio.current_time() + child.spec.start_timeout_s)
        self._nursery.start_soon(self._run_child, child, name=child.spec.id)
        self._note_change()

    async def _run_child(self, child: _Child) -> None:
        error: Exception | None = None
        returned = False
        try:
            with child.scope:
                await trio.lowlevel.checkpoint_if_cancelled()
                await child.spec.start(StartStatus(lambda: self._on_started(child)))
                returned = True
        except* Exception as group:  # a crash, even when it comes mixed with a cancellation
            error = unwrap_error(group)
        finally:
            if child.scope.cancelled_caught and not child.stopping and error is None:
                error = StartTimeoutError(
                    f"{child.spec.id} was not listening after {child.spec.start_timeout_s:g} s; it "
                    "was canceled and counts as crashed"
                )
            self._on_ended(child, error, returned)

    def _on_started(self, child: _Child) -> None:
        assert child.started_s is None, f"{child.spec.id} reported started twice"
        child.started_s = trio.current_time()
        child.scope.deadline = math.inf
        if not child.stopping:
            child.recovery, child.state = None, ChildState.RUNNING
        child.settled.set()
        self._note_change()

    def _on_ended(self, child: _Child, error: Exception | None, returned: bool) -> None:
        for mailbox in child.spec.mailboxes:
            mailbox.mark_down()
        child.alive, child.state = False, ChildState.STOPPED
        child.ended.set()
        child.settled.set()
        if error is not None:
            kind = ExitKind.CRASHED
            child.last_error = f"{type(error).__name__}: {error}"
        else:
            kind = ExitKind.NORMAL if returned and not child.stopping else ExitKind.SHUTDOWN
        self._report(child, kind, error)
        # As in OTP, an end between the decision to restart a child and its start counts once.
        expected = child.covered or child.stopping or self._closing or kind is ExitKind.SHUTDOWN
        if not expected:
            if child.spec.restart is Restart.PERMANENT or (
                child.spec.restart is Restart.TRANSIENT and kind is ExitKind.CRASHED
            ):
                self._on_failed(child, error)
            else:
                child.recovery = None  # it has ended for good
        self._note_change()

    async def _stop_child(self, child: _Child) -> None:
        """Stop the child: ask it, wait, cancel it, wait.

        Return when it has ended. While the supervisor closes, a stuck child is left running.
        """
        if not child.alive:
            return
        ask = child.spec.stop if child.can_be_asked() else None
        # Kept here: during the waits another recovery may start the next incarnation.
        ended, scope = child.ended, child.scope
        child.stopping, child.state = True, ChildState.STOPPING
        self._note_change()
        if ask is not None:
            ask()
            with trio.move_on_after(child.spec.shutdown_s):
                await ended.wait()
        if not ended.is_set():
            scope.cancel()
            with trio.move_on_after(child.spec.shutdown_s):
                await ended.wait()
        if not ended.is_set():
            self._report(child, ExitKind.STUCK, None)
            if not self._closing:  # two incarnations may not overlap, however long the wait
                await ended.wait()

    def _report(self, child: _Child, kind: ExitKind, error: Exception | None) -> None:
        if self._on_exit is not None:
            self._on_exit(
                ChildExit(
                    supervisor=self.spec.id,
                    child=child.spec.id,
                    incarnation=child.incarnation,
                    kind=kind,
                    error=error,
                )
            )

    # --- restarting --------------------------------------------------------------

    def _on_failed(self, child: _Child, error: Exception | None) -> None:
        spec, now_s = self.spec, trio.current_time()
        if child.started_s is not None and now_s - child.started_s >= spec.backoff_reset_s:
            child.crashes = 0
        doublings = min(child.crashes, BACKOFF_DOUBLINGS_MAX)
        wait_s = min(spec.backoff_cap_s, spec.backoff_base_s * 2.0**doublings)
        child.crashes, child.due_s = child.crashes + 1, now_s + wait_s
        self._restarts.append((now_s, wait_s))
        waited_s = sum(
            wait for _, wait in self._restarts
        )  # otherwise a growing back-off hides a storm
        while self._restarts[0][0] < now_s - spec.period_s - waited_s:
            self._restarts.popleft()
        if spec.intensity is None or len(self._restarts) <= spec.intensity:
            self._recover(self._affected(child))
            return
        if self._storm is None:
            last = child.last_error if error is not None else "it returned"
            self._storm = RestartStormError(
                f"{spec.id}: more than {spec.intensity} restarts within {spec.period_s:g} s "
                f"(without the waits before them), last {child.spec.id}: {last}"
            )
            self._storm.__cause__ = error
        self.ask_to_stop()

    def _affected(self, child: _Child) -> list[_Child]:
        match self.spec.strategy:
            case RestartStrategy.ONE_FOR_ONE:
                return [child]
            case RestartStrategy.ONE_FOR_ALL:
                return self._children
            case RestartStrategy.REST_FOR_ONE:
                return self._children[self._children.index(child) :]

    def _recover(self, group: list[_Child]) -> None:
        """Begin to restart ``group``; replace recoveries that own one of its children."""
        assert self._nursery is not None
        replaced = [child.recovery for child in group if child.recovery is not None]
        members = [c for c in self._children if c in group or c.recovery in replaced]
        for recovery in replaced:
            recovery.scope.cancel()
        recovery = _Recovery(tuple(members))
        for child in members:
            child.recovery, child.covered = recovery, child.alive
            if child.alive and not child.can_be_asked():
                child.stopping = True  # now: it must not begin before the siblings that it needs
                child.scope.cancel()
        self._nursery.start_soon(self._carry_out, recovery, name=f"{self.spec.id} recovery")

    async def _carry_out(self, recovery: _Recovery) -> None:
        with recovery.scope:
            for child in reversed(recovery.members):
                await self._stop_child(child)
                await trio.lowlevel.checkpoint_if_cancelled()  # replaced while it waited?
                child.state = ChildState.BACKING_OFF
            for child in recovery.members:
                if child.spec.restart is Restart.TEMPORARY and not child.wanted:
                    child.state, child.recovery = ChildState.STOPPED, None
                    self._note_change()  # the tree may have waited for this child to report started
                    continue
                if child.due_s > trio.current_time():
                    await trio.sleep_until(child.due_s)
                await trio.lowlevel.checkpoint_if_cancelled()
                self._start_child(child)
                await child.settled.wait()

    def _note_change(self) -> None:
        if (
            self._announce is not None
            and not self._closing
            and all(map(_is_settled, self._children))
        ):
            announce, self._announce = self._announce, None
            announce()

    # --- health ------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Return the tree as plain data.

        Keys: id, kind, strategy, state, restarts_recent, children. A child has id, kind, state,
        restart, incarnation, restarts, last_error, started_at_ms, busy_s and mailboxes; a nested
        supervisor has its own keys as well. Times are Trio's, in ms; ``busy_s`` is of all
        incarnations, in s.
        """
        state = ChildState.STOPPED if self._nursery is None else ChildState.RUNNING
        if self._nursery is not None and (self._closing or self._announce is not None):
            state = ChildState.STOPPING if self._closing else ChildState.STARTING
        return {
            "id": self.spec.id,
            "kind": "supervisor",
            "strategy": self.spec.strategy.value,
            "state": state.value,
            "restarts_recent": len(self._restarts),
            "children": [_describe(child) for child in self._children],
        }


def _is_settled(child: _Child) -> bool:
    return child.state is ChildState.RUNNING or (not child.alive and child.recovery is None)


def _describe(child: _Child) -> dict[str, Any]:
    described = {"kind": "worker"} if child.nested is None else child.nested.snapshot()
    mailboxes = [mailbox.statistics() for mailbox in child.spec.mailboxes]
    return described | {
        "id": child.spec.id,
        "state": child.state.value,
        "restart": child.spec.restart.value,
        "incarnation": child.incarnation,
        "restarts": max(0, child.incarnation - 1),
        "last_error": child.last_error,
        "started_at_ms": None if child.started_s is None else round(child.started_s * 1000),
        "busy_s": sum(mailbox.busy_s for mailbox in mailboxes),
        "mailboxes": [attrs.asdict(mailbox) for mailbox in mailboxes],
    }
