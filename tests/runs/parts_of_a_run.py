"""Fakes of the parts of a run that the operator's reads and commands need."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import attrs

from kamou.core.book.position_book import PositionBook
from kamou.runs.operator_actions import CurrentRun
from kamou.runtime.mailboxes import Mailbox


class Follower:
    """A follower with a fixed book, which raises its ``trouble`` if there is one."""

    def __init__(self) -> None:
        self.book = PositionBook()
        self.trouble: Exception | None = None

    def catch_up(self) -> PositionBook:
        if self.trouble is not None:
            raise self.trouble
        return self.book


@attrs.define
class Tree:
    """The parts of a tree that the operator's commands need."""

    governor: Mailbox[Any]
    port: Any = None
    gathered: Any = None


@attrs.define
class Supervised:
    state: str = "running"

    def snapshot(self) -> Any:
        return SimpleNamespace(is_running=self.state == "running", as_dict=lambda: {"id": "kamou"})


def tree_of(run: CurrentRun) -> Tree:
    """Return the tree that a fixture gave to a run."""
    tree: Any = run.tree
    assert isinstance(tree, Tree)
    return tree
