"""Snapshots of a supervision tree as typed values and as plain data for JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TypedDict

import attrs

from kamou.runtime.mailboxes import MailboxStatistics
from kamou.runtime.supervision import ChildState, Restart, RestartStrategy


class NodeKind(StrEnum):
    """The kind of a node of a supervision tree."""

    SUPERVISOR = "supervisor"
    WORKER = "worker"


class TreeNode(TypedDict, total=False):
    """A supervisor or a worker as plain data; a key that does not apply is missing."""

    id: str
    kind: NodeKind
    state: str
    strategy: str
    restart: str
    incarnation: int
    restarts: int
    restarts_recent: int
    last_error: str
    started_at_ms: int | None
    busy_s: float
    mailboxes: Sequence[Mapping[str, str | int | float]]
    children: Sequence[TreeNode]


@attrs.frozen(kw_only=True)
class ChildSnapshot:
    """One child of a supervisor at one instant.

    * ``id`` is unique among the children of one supervisor.
    * ``state`` is its state in the supervisor, such as running or backing-off.
    * ``restart`` is its restart type.
    * ``incarnation`` is the number of its newest incarnation; 0 before its first start.
    * ``last_error`` is the newest crash as text; empty if there was none.
    * ``started_at_ms`` is the Trio time in ms at which the newest incarnation listened; None if it
      has not listened yet.
    * ``mailboxes`` are the counts of its mailboxes, over all incarnations.
    * ``nested`` is the tree below a child that is a supervisor; None for a worker.
    """

    id: str
    state: ChildState
    restart: Restart
    incarnation: int
    last_error: str
    started_at_ms: int | None
    mailboxes: tuple[MailboxStatistics, ...]
    nested: SupervisorSnapshot | None

    @property
    def restarts(self) -> int:
        """Return the number of incarnations after the first."""
        return max(0, self.incarnation - 1)

    @property
    def busy_s(self) -> float:
        """Return the time that handlers took in all incarnations, in s; supervisors: 0."""
        return sum(mailbox.busy_s for mailbox in self.mailboxes)

    def as_dict(self) -> TreeNode:
        """Return the snapshot as plain data for JSON."""
        described: TreeNode = {"kind": NodeKind.WORKER}
        if self.nested is not None:
            described = self.nested.as_dict()
        return {
            **described,
            "id": self.id,
            "state": self.state,
            "restart": self.restart,
            "incarnation": self.incarnation,
            "restarts": self.restarts,
            "last_error": self.last_error,
            "started_at_ms": self.started_at_ms,
            "busy_s": self.busy_s,
            "mailboxes": [attrs.asdict(mailbox) for mailbox in self.mailboxes],
        }


@attrs.frozen(kw_only=True)
class SupervisorSnapshot:
    """A supervisor and the tree below it at one instant.

    * ``id`` is that of its specification.
    * ``strategy`` is its restart strategy.
    * ``state`` is starting until every child has started or has ended for good, then running until
      a stop begins.
    * ``restarts_recent`` is the number of restarts in the period up to the newest restart.
    * ``children`` are left to right, in the order of their start.
    """

    id: str
    strategy: RestartStrategy
    state: ChildState
    restarts_recent: int
    children: tuple[ChildSnapshot, ...]

    @property
    def is_running(self) -> bool:
        """Return True once every child has started or ended for good, until a stop.

        Some children may be restarting.
        """
        return self.state is ChildState.RUNNING

    def as_dict(self) -> TreeNode:
        """Return the snapshot as plain data for JSON.

        A nested supervisor has the keys of a supervisor and those of a child; its ``state`` is the
        one that the supervisor above it sees.
        """
        return {
            "id": self.id,
            "kind": NodeKind.SUPERVISOR,
            "strategy": self.strategy,
            "state": self.state,
            "restarts_recent": self.restarts_recent,
            "children": [child.as_dict() for child in self.children],
        }
