"""Children that end as a test says, for the tests of the supervisor."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from kamou.runtime.supervision import (
    ChildExit,
    ChildSpec,
    SupervisorSpec,
)
from kamou.supervisor import Supervisor


class Crash(Exception):
    """Raised by a child on the test's order."""


class ScriptedChildren:
    """Children that end as a test says, and the record of their starts and ends."""

    def __init__(self) -> None:
        self.did: list[str] = []
        self.exits: list[ChildExit] = []
        self.orders: dict[str, trio.Event] = {}
        self.acts: dict[str, BaseException | None] = {}
        self.running: Counter[str] = Counter()

    def child(self, id_: str, *, slow_s: float = 0.0, **more: Any) -> ChildSpec:
        async def start(task_status: trio.TaskStatus[None]) -> None:
            self.running[id_] += 1
            assert self.running[id_] == 1, "two incarnations at once"
            self.orders[id_] = trio.Event()
            try:
                await trio.sleep(slow_s)
                self.did.append(f"+{id_}")
                task_status.started()
                await self.orders[id_].wait()
                if (error := self.acts.pop(id_, None)) is not None:
                    raise error
            finally:
                self.running[id_] -= 1
                self.did.append(f"-{id_}")

        return ChildSpec(id=id_, start=start, **more)

    async def end_child(self, id_: str, error: BaseException | None, settle_s: float = 1.0) -> None:
        """Make the child end, by raising ``error`` or by returning, and let time pass."""
        self.acts[id_] = error
        self.orders[id_].set()
        await trio.sleep(settle_s)

    def took(self) -> str:
        """Return the starts (+) and ends (-) since the last call."""
        text = " ".join(self.did)
        self.did.clear()
        return text


def spec(*children: ChildSpec | SupervisorSpec, **more: Any) -> SupervisorSpec:
    given: dict[str, Any] = {"id": "root", "children": children, "intensity": 5}
    return SupervisorSpec(**(given | more))


@asynccontextmanager
async def supervised(scripted: ScriptedChildren, root: SupervisorSpec) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(root, on_exit=scripted.exits.append)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        yield supervisor
        await supervisor.stop()


def abc(scripted: ScriptedChildren, **more: Any) -> list[ChildSpec]:
    return [scripted.child(id_, **more) for id_ in "abc"]
