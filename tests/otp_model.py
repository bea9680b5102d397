"""A model of OTP's supervisor, written from its documentation; it shares no code with Kamou.

It has no clock and no tasks. A supervisor takes one entry of its queue at a time, as an Erlang
process does: the end of a child, or another try after a failed start. A restart stops its members
right to left and starts them left to right. Whatever is queued of a member is dropped then, because
OTP takes the exit message of a child that it stops. Kamou differs by intention in one case: if a
first start fails, the supervisor counts it and tries again, while OTP's would fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs


@attrs.define(eq=False)
class ModelLeaf:
    """A worker. ``bad_starts`` raise; after a good start it ends ``relapses`` more times."""

    name: str
    restart: str = "permanent"
    up: bool = False
    begun: bool = False  # since the last start of its supervisor
    failed_start: bool = False
    bad_starts: int = 0
    relapses: int = 0


@attrs.define(eq=False)
class Queued:
    """An entry of a supervisor's queue."""

    child: ModelLeaf | ModelSupervisor
    ended: bool  # False: another try after a failed start
    crashed: bool = True
    relapse: bool = False


@attrs.define(eq=False)
class ModelSupervisor:
    """A supervisor; it is permanent in the one above it."""

    name: str
    strategy: str
    intensity: int
    period_s: float
    children: Sequence[ModelLeaf | ModelSupervisor]
    starts: list[str]  # names of leaves, shared by the whole tree
    restart: str = "permanent"
    up: bool = False
    begun: bool = False
    failed_start: bool = False
    queue: list[Queued] = attrs.Factory(list)
    restarts: list[float] = attrs.Factory(list)  # times, in s
    left: list[ModelLeaf | ModelSupervisor] = attrs.Factory(
        list
    )  # not started, because a start before theirs failed

    def supervisors(self) -> Iterator[ModelSupervisor]:
        """Yield every supervisor of the tree, those below before those above."""
        for child in self.children:
            if isinstance(child, ModelSupervisor):
                yield from child.supervisors()
        yield self

    def leaves(self) -> Iterator[tuple[ModelSupervisor, ModelLeaf]]:
        """Yield every leaf of the tree with its supervisor, left to right."""
        for child in self.children:
            if isinstance(child, ModelSupervisor):
                yield from child.leaves()
            else:
                yield self, child

    def start(self, now_s: float) -> bool:
        """Start the children; return False if it gave up meanwhile."""
        self.up, self.queue, self.restarts = True, [], []
        for child in self.children:
            child.begun = child.failed_start = False
        self._start_children(list(self.children), now_s)
        while self.up and self.queue and not self.queue[0].relapse:
            self.handle(self.queue.pop(0), now_s)
        return self.up

    def _start_children(self, children: list[ModelLeaf | ModelSupervisor], now_s: float) -> None:
        """Start them left to right, up to the first that fails, which is queued for a try."""
        self.left = []
        for number, child in enumerate(children):
            if child.restart == "temporary" and child.begun:
                continue
            child.begun = True
            if not self._start_one(child, now_s) and child.restart != "temporary":
                child.failed_start = True
                self.queue.append(Queued(child, ended=False))
                self.left = children[number + 1 :]
                return

    def _start_one(self, child: ModelLeaf | ModelSupervisor, now_s: float) -> bool:
        if isinstance(child, ModelSupervisor):
            return child.start(now_s)
        self.starts.append(child.name)
        if child.bad_starts:
            child.bad_starts -= 1
            return False
        child.up = True
        if child.relapses:
            child.relapses -= 1
            self.end(child, crashed=True, relapse=True)
        return True

    def end(self, leaf: ModelLeaf, *, crashed: bool, relapse: bool = False) -> None:
        """Let a leaf end; its supervisor handles that after the entries that are queued now."""
        leaf.up = False
        self.queue.append(Queued(leaf, ended=True, crashed=crashed, relapse=relapse))

    def handle(self, entry: Queued, now_s: float) -> None:
        """Handle the end of a child, or try again to start one."""
        child = entry.child
        if entry.ended and (
            child.restart == "temporary" or (child.restart == "transient" and not entry.crashed)
        ):
            return
        if not entry.ended and not child.failed_start:
            return  # a later restart has started it
        self.restarts = [at_s for at_s in [*self.restarts, now_s] if now_s <= at_s + self.period_s]
        if len(self.restarts) > self.intensity:
            self.stop()
            return
        members = self._members(child)
        for member in reversed(members):
            self._stop_one(member)
        self._start_children(members, now_s)

    def _members(self, child: ModelLeaf | ModelSupervisor) -> list[ModelLeaf | ModelSupervisor]:
        if self.strategy == "one_for_one":
            return [child, *self.left]
        if self.strategy == "one_for_all":
            return list(self.children)
        return list(self.children[self.children.index(child) :])

    def _stop_one(self, child: ModelLeaf | ModelSupervisor) -> None:
        """Stop a child, and take its end from the queue if it has ended already."""
        for entry in self.queue:
            if entry.child is child and entry.relapse and isinstance(child, ModelLeaf):
                child.relapses += 1  # it was stopped before it could crash again
        self.queue = [entry for entry in self.queue if entry.child is not child or not entry.ended]
        child.failed_start = False
        if isinstance(child, ModelSupervisor):
            child.stop()
        child.up = False

    def stop(self) -> None:
        """Stop the children; forget what is queued."""
        for child in reversed(self.children):
            self._stop_one(child)
        self.up, self.queue, self.left = False, [], []


def settle(root: ModelSupervisor, now_s: float, order: Sequence[str] = ()) -> None:
    """Let all supervisors handle their queues; ``order`` names children in the order of ends."""
    above = {
        child.name: each
        for each in root.supervisors()
        for child in each.children
        if isinstance(child, ModelSupervisor)
    }
    while busy := [each for each in root.supervisors() if each.queue]:
        each = min(busy, key=lambda each: each.queue[0].relapse)  # a relapse comes later
        each.handle(each.queue.pop(0), now_s)
        if not each.up and each is not root:
            queue = above[each.name].queue
            queue.append(Queued(each, ended=True))
            queue.sort(key=lambda entry: _rank(entry, order))


def _rank(entry: Queued, order: Sequence[str]) -> tuple[bool, int]:
    """Return the key that sorts a queue: entries not in ``order``, those in it, relapses."""
    name = entry.child.name
    return entry.relapse, 1 + order.index(name) if name in order and not entry.relapse else 0
