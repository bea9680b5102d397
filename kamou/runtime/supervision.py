"""Types of supervision in OTP's words: specs, restarts, incarnations, exits.

``unwrap_error`` finds the error inside nested groups.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any

import attrs
import trio

from kamou.errors import KamouError, TimedOutError
from kamou.runtime.mailboxes import Mailbox

Start = Callable[[trio.TaskStatus[None]], Awaitable[None]]


class Restart(StrEnum):
    """The restart type: which ends of a child lead to a restart."""

    PERMANENT = "permanent"  # always
    TRANSIENT = "transient"  # only when it crashed
    TEMPORARY = "temporary"  # never, and its siblings are not restarted for it


class RestartStrategy(StrEnum):
    """The restart strategy: which children restart together with one child."""

    ONE_FOR_ONE = "one_for_one"  # that child
    ONE_FOR_ALL = "one_for_all"  # every child
    REST_FOR_ONE = "rest_for_one"  # that child and those started after it


class ChildState(StrEnum):
    """The state of one child in its supervisor."""

    STOPPED = "stopped"
    BACKING_OFF = "backing-off"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class ExitKind(StrEnum):
    """The way in which one incarnation of a child ended."""

    NORMAL = "normal"  # it returned
    SHUTDOWN = "shutdown"  # the supervisor stopped it, or everything is being cancelled
    CRASHED = "crashed"  # it raised, or did not start in time
    STUCK = "stuck"  # still running after its cancellation; reported


START_TIMEOUT_S = (
    30.0  # from the start of a child until it listens; a child may have its own timeout
)


class StartTimeoutError(TimedOutError):
    """A child was not recovered and listening within its start timeout."""


class RestartStormError(KamouError):
    """A supervisor restarted its children more often than its intensity allows.

    The last crash is ``__cause__``; None if the last child returned without an error.
    """


@attrs.frozen(kw_only=True)
class ChildSpec:
    """The specification of a child.

    ``start`` runs the child, and calls ``task_status.started()`` once the child listens. ``stop``
    asks the child to end; it is cancelled if it has not ended after ``shutdown_s``. Without
    ``stop``, or while it starts, it is cancelled at once. Shielded clean-up after the cancellation
    has ``shutdown_s`` too; then the child is reported as stuck.
    """

    id: str
    start: Start
    restart: Restart = Restart.PERMANENT
    shutdown_s: float = 10.0
    start_timeout_s: float = START_TIMEOUT_S
    stop: Callable[[], None] | None = None
    mailboxes: tuple[Mailbox[Any], ...] = ()


@attrs.frozen(kw_only=True)
class SupervisorSpec:
    """The specification of a supervisor and its children, left to right.

    The supervisor may itself be a child. More than ``intensity`` restarts within ``period_s``
    escalate; waiting in back-off does not count as time. The end of a child between the decision to
    restart it and its start is part of that restart. After its n-th crash or unexpected return in a
    row a child waits ``backoff_base_s * 2**(n-1)``, at most ``backoff_cap_s``. If the child has run
    for ``backoff_reset_s``, the count starts again.
    """

    id: str
    children: tuple[ChildSpec | SupervisorSpec, ...]
    strategy: RestartStrategy = RestartStrategy.ONE_FOR_ONE
    restart: Restart = Restart.PERMANENT
    intensity: int | None = 5  # None: never escalates, restarts its children for ever
    period_s: float = 60.0
    backoff_base_s: float = 0.1
    backoff_cap_s: float = 30.0
    backoff_reset_s: float = 300.0

    @property
    def shutdown_s(self) -> float:
        """Return the sum of the children's times for stop and clean-up, in seconds."""
        return sum(2 * child.shutdown_s for child in self.children)


@attrs.define(eq=False)
class Incarnation:
    """One life of a child, from its start to its end."""

    number: int  # from 1
    scope: trio.CancelScope  # of its task; its deadline is the start timeout
    settled: trio.Event = attrs.field(factory=trio.Event)  # listening, or ended before that
    ended: trio.Event = attrs.field(factory=trio.Event)
    started_s: float | None = None  # Trio time at which it was listening
    stopping: bool = False  # asked to stop, or cancelled, by the supervisor
    covered: bool = False  # a decided restart ends it, so its end is not counted

    @property
    def state(self) -> ChildState:
        """Return the state of an incarnation that has not ended."""
        if self.stopping:
            return ChildState.STOPPING
        return ChildState.STARTING if self.started_s is None else ChildState.RUNNING


@attrs.frozen(kw_only=True)
class ChildExit:
    """The end of one incarnation of a child, or the report that it is stuck."""

    supervisor: str
    child: str
    incarnation: int
    kind: ExitKind
    error: Exception | None  # raised by the child, or its start timeout; None: no crash


@attrs.frozen(eq=False)
class StartStatus:
    """The ``task_status`` of one incarnation."""

    report: Callable[[], None]

    def started(self, _value: None = None) -> None:
        """Report that the child is recovered and listens."""
        self.report()


def unwrap_error(error: Exception) -> Exception:
    """Return the error inside nested groups of one error each, or a larger group."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
