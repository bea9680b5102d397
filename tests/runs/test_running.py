"""``running``: the tree runs during the block, stops after it, and a restart storm halts it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from kamou.app import Tree
from kamou.core.book.events import StateChanged
from kamou.core.codes import StateReason
from kamou.core.model import TradingState
from kamou.runs.running import running
from kamou.runtime.supervision import ChildState, RestartStormError
from tests.actors.system_harness import open_tree, strategy_files
from tests.scripted_children import Crash, ScriptedChildren, spec


@pytest.fixture
def scripted() -> ScriptedChildren:
    return ScriptedChildren()


@pytest.fixture
async def tree(scripted: ScriptedChildren, tmp_path: Path) -> AsyncIterator[Tree]:
    """Yield the composed system, with two scripted children in place of its actors."""
    children = (scripted.child("a"), scripted.child("b", slow_s=5))
    with strategy_files(), open_tree(tmp_path) as (composed, _):
        yield attrs.evolve(composed, spec=spec(*children, intensity=1, period_s=60))


def states(tree: Tree) -> list[tuple[TradingState, str]]:
    """Return the journalled changes of the trading state, as (after, reason)."""
    committed = (each.event for each in tree.inputs.writer.read(0))
    return [(each.after, each.reason) for each in committed if isinstance(each, StateChanged)]


async def test_the_block_begins_with_a_started_tree_and_ends_with_a_stopped_one(
    tree: Tree, scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    async with running(tree) as supervisor:
        assert scripted.took() == "+a +b"
        assert {child.state for child in supervisor.snapshot().children} == {ChildState.RUNNING}
    assert scripted.took() == "-b -a"


async def test_an_error_of_the_block_stops_the_tree_in_order_before_it_is_raised(
    tree: Tree, scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="of the block")):
        async with running(tree):
            scripted.took()
            raise ValueError("of the block")
    assert scripted.took() == "-b -a"
    assert states(tree) == []


async def test_a_cancellation_from_outside_cancels_the_actors_too(
    tree: Tree, scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    with trio.move_on_after(60) as scope:
        async with running(tree):
            scripted.took()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert sorted(scripted.took().split()) == ["-a", "-b"]


async def test_a_start_that_has_not_ended_in_time_leaves_a_block_without_actors(
    tree: Tree, scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    async with running(tree, start_by_s=trio.current_time() + 2):
        assert trio.current_time() == pytest.approx(2)
        assert scripted.took() == "+a -b -a"
    assert scripted.took() == ""


async def test_the_crash_of_an_actor_is_passed_to_on_exit(
    tree: Tree, scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    async with running(tree, on_exit=scripted.exits.append, start_by_s=math.inf):
        await scripted.end_child("a", Crash())
        crashed = list(scripted.exits)
    assert [each.child for each in crashed] == ["a"]


async def test_a_restart_storm_is_journalled_as_a_halt_of_entries_and_raised(
    tree: Tree, scripted: ScriptedChildren, autojump_clock: MockClock
) -> None:
    with pytest.RaisesGroup(RestartStormError, flatten_subgroups=True):
        async with running(tree):
            for _ in range(2):
                await scripted.end_child("a", Crash())
            await trio.sleep_forever()
    assert states(tree) == [(TradingState.REDUCE_ONLY, StateReason.RESTART_STORM)]
