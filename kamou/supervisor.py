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

import attrs
import trio

from kamou.runtime.supervision import (
    ChildExit,
    ChildSpec,
    ChildState,
    ExitKind,
    Incarnation,
    Restart,
    RestartStormError,
    RestartStrategy,
    StartStatus,
    StartTimeoutError,
    SupervisorSpec,
    unwrap_error,
)
from kamou.runtime.supervision_snapshots import ChildSnapshot, SupervisorSnapshot

BACKOFF_DOUBLINGS_MAX = 30  # uncapped, 2**n overflows a float after about 1,000 crashes
RESTARTS_KEPT = 2_000  # more than any intensity; bounds the list if ``intensity`` is None


@attrs.define(eq=False)
class _Child:
    """A child's place in the tree, which outlives its incarnations."""

    spec: ChildSpec
    nested: Supervisor | None
    newest: Incarnation | None = None  # it may have ended
    wanted: bool = True  # may be started even if temporary: not started yet in this run
    recovery: _Recovery | None = None  # the recovery that will start it
    crashes: int = 0  # in a row, unexpected returns included
    due_s: float = 0.0  # Trio time before which its back-off forbids a start
    last_error: str = ""

    @property
    def current(self) -> Incarnation | None:
        """Return the incarnation whose task exists, or None."""
        return None if self.newest is None or self.newest.ended.is_set() else self.newest

    @property
    def state(self) -> ChildState:
        """Return the state of the incarnation; without one, BACKING_OFF or STOPPED."""
        if (incarnation := self.current) is not None:
            return incarnation.state
        return ChildState.STOPPED if self.recovery is None else ChildState.BACKING_OFF

    def can_be_asked(self, incarnation: Incarnation) -> bool:
        """Return True if the child can be asked to stop; a starting worker is cancelled."""
        if self.nested is not None:
            return self.nested.is_open
        return incarnation.started_s is not None

    def describe(self) -> ChildSnapshot:
        """Return the child's part of a snapshot."""
        newest = self.newest
        started_s = None if newest is None else newest.started_s
        return ChildSnapshot(
            id=self.spec.id,
            state=self.state,
            restart=self.spec.restart,
            incarnation=0 if newest is None else newest.number,
            last_error=self.last_error,
            started_at_ms=None if started_s is None else round(started_s * 1000),
            mailboxes=tuple(mailbox.statistics() for mailbox in self.spec.mailboxes),
            nested=None if self.nested is None else self.nested.snapshot(),
        )


@attrs.frozen(eq=False)
class _Recovery:
    """A start or restart of children, each of which belongs to one recovery at a time."""

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

        It may be run again after that. It reports started when every child has started or has ended
        for good. If it is cancelled, all children are cancelled at the same time.

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

    @property
    def is_open(self) -> bool:
        """Return True from the start of ``run`` until its last child has ended."""
        return self._nursery is not None

    async def stop(self) -> None:
        """Stop right to left; return when every child has ended or was reported stuck.

        With a stuck child, ``run`` returns when that child ends, because Trio cannot abandon its
        task.
        """
        if self._nursery is not None:
            self.ask_to_stop()
            await self._stopped.wait()

    async def _close(self) -> None:
        self._closing = True
        for child in self._children:
            if child.recovery is not None:
                child.recovery.scope.cancel()
                child.recovery = None
        for child in reversed(self._children):
            await self._stop_child(child)
        self._stopped.set()

    # --- one child ---------------------------------------------------------------

    def _start_child(self, child: _Child) -> Incarnation:
        assert self._nursery is not None
        assert child.current is None, f"{child.spec.id} would run twice"
        incarnation = Incarnation(
            number=1 if child.newest is None else child.newest.number + 1,
            scope=trio.CancelScope(deadline=trio.current_time() + child.spec.start_timeout_s),
        )
        child.newest, child.wanted = incarnation, False
        self._nursery.start_soon(self._run_child, child, incarnation, name=child.spec.id)
        self._note_change()
        return incarnation

    async def _run_child(self, child: _Child, incarnation: Incarnation) -> None:
        error: Exception | None = None
        returned = False
        status = StartStatus(lambda: self._on_started(child, incarnation))
        try:
            with incarnation.scope:
                await trio.lowlevel.checkpoint_if_cancelled()
                await child.spec.start(status)
                returned = True
        except* Exception as group:  # a crash, even when it comes mixed with a cancellation
            error = unwrap_error(group)
        finally:
            if incarnation.scope.cancelled_caught and not incarnation.stopping and error is None:
                error = StartTimeoutError(
                    f"{child.spec.id} was not listening after {child.spec.start_timeout_s:g} s; it "
                    "was canceled and counts as crashed"
                )
            self._on_ended(child, incarnation, error, returned=returned)

    def _on_started(self, child: _Child, incarnation: Incarnation) -> None:
        assert incarnation.started_s is None, f"{child.spec.id} reported started twice"
        incarnation.started_s = trio.current_time()
        incarnation.scope.deadline = math.inf
        if not incarnation.stopping:
            child.recovery = None
        incarnation.settled.set()
        self._note_change()

    def _on_ended(
        self, child: _Child, incarnation: Incarnation, error: Exception | None, *, returned: bool
    ) -> None:
        for mailbox in child.spec.mailboxes:
            mailbox.mark_down()
        incarnation.ended.set()
        incarnation.settled.set()
        if error is not None:
            kind = ExitKind.CRASHED
            child.last_error = f"{type(error).__name__}: {error}"
        else:
            kind = ExitKind.NORMAL if returned and not incarnation.stopping else ExitKind.SHUTDOWN
        self._report(child, incarnation, kind, error)
        # As in OTP, an end between the decision to restart a child and its start counts once.
        expected = incarnation.covered or self._closing or kind is ExitKind.SHUTDOWN
        if not expected:
            if child.spec.restart is Restart.PERMANENT or (
                child.spec.restart is Restart.TRANSIENT and kind is ExitKind.CRASHED
            ):
                self._on_failed(child, incarnation, error)
            else:
                child.recovery = None  # it has ended for good
        self._note_change()

    async def _stop_child(self, child: _Child) -> None:
        """Stop the child: ask it if it can be asked, wait, cancel it, wait.

        Return when it has ended. A stuck child is reported; while the supervisor closes, it is left
        running.
        """
        incarnation = child.current
        if incarnation is None:
            return
        ask = child.spec.stop if child.can_be_asked(incarnation) else None
        incarnation.stopping = True
        self._note_change()
        if ask is not None:
            ask()
            with trio.move_on_after(child.spec.shutdown_s):
                await incarnation.ended.wait()
        if not incarnation.ended.is_set():
            incarnation.scope.cancel()
            with trio.move_on_after(child.spec.shutdown_s):
                await incarnation.ended.wait()
        if not incarnation.ended.is_set():
            self._report(child, incarnation, ExitKind.STUCK, None)
            if not self._closing:  # two incarnations may not overlap, however long the wait
                await incarnation.ended.wait()

    def _report(
        self, child: _Child, incarnation: Incarnation, kind: ExitKind, error: Exception | None
    ) -> None:
        if self._on_exit is not None:
            self._on_exit(
                ChildExit(
                    supervisor=self.spec.id,
                    child=child.spec.id,
                    incarnation=incarnation.number,
                    kind=kind,
                    error=error,
                )
            )

    # --- restarting --------------------------------------------------------------

    def _on_failed(self, child: _Child, incarnation: Incarnation, error: Exception | None) -> None:
        spec, now_s, started_s = self.spec, trio.current_time(), incarnation.started_s
        if started_s is not None and now_s - started_s >= spec.backoff_reset_s:
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
                f"{spec.id} stops after more than {spec.intensity} restarts in {spec.period_s:g} s "
                f"(back-off not counted), the last of {child.spec.id}: {last}"
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
        """Begin to restart ``group`` and the members of the recoveries that it replaces.

        A recovery that owns a child of the group is replaced.
        """
        assert self._nursery is not None
        replaced = [child.recovery for child in group if child.recovery is not None]
        members = [c for c in self._children if c in group or c.recovery in replaced]
        for recovery in replaced:
            recovery.scope.cancel()
        recovery = _Recovery(tuple(members))
        for child in members:
            child.recovery = recovery
            if (incarnation := child.current) is not None:
                incarnation.covered = True
                if not child.can_be_asked(incarnation):
                    incarnation.stopping = True  # it must not begin before siblings that it needs
                    incarnation.scope.cancel()
        self._nursery.start_soon(self._carry_out, recovery, name=f"{self.spec.id} recovery")

    async def _carry_out(self, recovery: _Recovery) -> None:
        with recovery.scope:
            for child in reversed(recovery.members):
                await self._stop_child(child)
                await trio.lowlevel.checkpoint_if_cancelled()  # it may have been replaced
            for child in recovery.members:
                if child.spec.restart is Restart.TEMPORARY and not child.wanted:
                    child.recovery = None
                    self._note_change()  # the tree may have waited for this child to report started
                    continue
                if child.due_s > trio.current_time():
                    await trio.sleep_until(child.due_s)
                await trio.lowlevel.checkpoint_if_cancelled()
                await self._start_child(child).settled.wait()

    def _note_change(self) -> None:
        if (
            self._announce is not None
            and not self._closing
            and all(map(_is_settled, self._children))
        ):
            announce, self._announce = self._announce, None
            announce()

    # --- health ------------------------------------------------------------------

    def snapshot(self) -> SupervisorSnapshot:
        """Return the supervisor and the tree below it as they are now."""
        state = ChildState.STOPPED if self._nursery is None else ChildState.RUNNING
        if self._nursery is not None and (self._closing or self._announce is not None):
            state = ChildState.STOPPING if self._closing else ChildState.STARTING
        return SupervisorSnapshot(
            id=self.spec.id,
            strategy=self.spec.strategy,
            state=state,
            restarts_recent=len(self._restarts),
            children=tuple(child.describe() for child in self._children),
        )


def _is_settled(child: _Child) -> bool:
    return child.state in (ChildState.RUNNING, ChildState.STOPPED)
