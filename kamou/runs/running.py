"""``running``: supervises a composed tree, stops it, halts on a restart storm."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio

from kamou.app import Tree
from kamou.runs.takeover import halt_on_storm
from kamou.runtime.supervision import ChildExit
from kamou.supervisor import Supervisor


@asynccontextmanager
async def running(
    tree: Tree,
    *,
    on_exit: Callable[[ChildExit], None] | None = None,
    start_by_s: float = math.inf,
) -> AsyncIterator[Supervisor]:
    """Run the tree during the block, and yield its supervisor once it has started.

    The tree is stopped when the block ends, also by an error. A cancellation from outside of the
    block cancels the actors too.

    Args:
        tree: the composed tree. The caller keeps its session open until the block has ended.
        on_exit: called at every exit of an actor, and for an actor that does not stop.
        start_by_s: Trio time at which a start that has not ended is cancelled. The block then runs
            without actors.

    Raises:
        RestartStormError: an actor crashed too often; the error comes in a group, and new entries
            are halted (``takeover.halt_on_storm``). Stops stay at the venue.
    """
    inputs = tree.inputs
    supervisor = Supervisor(tree.spec, on_exit=on_exit)
    with halt_on_storm(inputs.writer, inputs.reader, inputs.clock.now_ms):
        async with trio.open_nursery() as nursery:
            with trio.move_on_at(start_by_s):
                await nursery.start(supervisor.run)
            try:
                yield supervisor
            finally:
                with trio.CancelScope(shield=True):
                    await supervisor.stop()
            nursery.cancel_scope.cancel()
