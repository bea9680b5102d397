"""The vocabulary of supervision: child specs, restart types, strategies, exits. OTP's words."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import Any

import attrs
import trio

from kamou.errors import KamouError, TimedOutError
from kamou.runtime.mailboxes import Mailbox

Start = Callable[[trio.TaskStatus[None]], Awaitable[None]]


class Restart(Enum):
    """When a child that has ended is started again."""

    PERMANENT = "permanent"  # always
    TRANSIENT = "transient"  # only when it crashed
    TEMPORARY = "temporary"  # never; nor do its siblings restart for it


class RestartStrategy(Enum):
    """Who is restarted when one child is."""

    ONE_FOR_ONE = "one_for_one"  # that child
    ONE_FOR_ALL = "one_for_all"  # every child
    REST_FOR_ONE = "rest_for_one"  # that child and those started after it


class ChildState(Enum):
    STOPPED = "stopped"
    BACKING_OFF = "backing-off"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class ExitKind(Enum):
    NORMAL = "normal"  # it returned
    SHUTDOWN = "shutdown"  # we stopped it, or all is being cancelled
    CRASHED = "crashed"  # it raised, or did not start in time
    STUCK = "stuck"  # asked, then cancelled, and still running: reported, then left behind


START_TIMEOUT_S = 30.0  # to be listening; a child that recovers longer is given its own


class StartTimeoutError(TimedOutError):
    """A child was not recovered and listening in time."""


class RestartStormError(KamouError):
    """More restarts than the intensity allows; the last crash is the cause."""


@attrs.frozen(kw_only=True)
class ChildSpec:
    """A child: ``start`` runs it, and calls ``task_status.started()`` once it is listening.

    ``stop`` asks it to end in its own time; without it, stopping cancels at once. Either way it
    has ``shutdown_s`` before it is cancelled, and as long again for shielded clean-up.
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
    """A supervisor and its children, left to right. It may itself be a child.

    More than ``intensity`` restarts within ``period_s`` escalate, the back-off's waiting not
    counted; none do where ``intensity`` is None. What ends between the decision to restart it and
    its new start is part of that restart. A child's n-th crash in a row waits
    ``backoff_base_s * 2**(n-1)``, at most ``backoff_cap_s``; ``backoff_reset_s`` of running without
    a crash starts that count again.
    """

    id: str
    children: tuple[ChildSpec | SupervisorSpec, ...]
    strategy: RestartStrategy = RestartStrategy.ONE_FOR_ONE
    restart: Restart = Restart.PERMANENT
    intensity: int | None = 5  # None: never escalates; its children are started for ever
    period_s: float = 60.0
    backoff_base_s: float = 0.1
    backoff_cap_s: float = 30.0
    backoff_reset_s: float = 300.0

    @property
    def shutdown_s(self) -> float:
        """Long enough for every child to use up its own grace, and its clean-up after it."""
        return sum(2 * child.shutdown_s for child in self.children)


@attrs.frozen(kw_only=True)
class ChildExit:
    """One incarnation of one child has ended (or is stuck). ``error`` is None unless it raised."""

    supervisor: str
    child: str
    incarnation: int
    kind: ExitKind
    error: Exception | None


@attrs.frozen(eq=False)
class StartStatus:
    """The ``task_status`` of one incarnation."""

    report: Callable[[], None]

    def started(self, value: None = None) -> None:
        self.report()


def innermost(error: Exception) -> Exception:
    """Return the one error that groups of one are about, else the group."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
