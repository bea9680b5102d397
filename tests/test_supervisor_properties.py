"""Random trees with random crashes: the rules of the supervisor hold in each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator

import attrs
import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kamou.clock import JumpClock
from kamou.runtime.determinism import seed_scheduler
from kamou.runtime.supervision import (
    ChildExit,
    ChildSpec,
    ChildState,
    Restart,
    RestartStrategy,
    SupervisorSpec,
)
from kamou.supervisor import Supervisor

QUIET_S = 50.0  # longer than any back-off and any start in these trees


class Crash(Exception):
    """Raised by a leaf when the script ends it."""


@attrs.frozen
class Leaf:
    restart: Restart
    slow_s: float  # to start
    bad_starts: int  # that raise, before the first good one


@attrs.frozen
class Branch:
    strategy: RestartStrategy
    children: tuple[Leaf | Branch, ...]


@attrs.frozen
class Blow:
    """After ``wait_s``, the leaf with this number (modulo their count) ends, if it runs."""

    wait_s: float
    leaf: int
    crashes: bool


@attrs.define(eq=False)
class Player:
    """One leaf in the running tree, and what the model expects of it."""

    name: str
    leaf: Leaf
    above: tuple[tuple[Branch, int], ...]  # from the root: branch and position in it
    tasks: int = 0
    starts: int = 0
    listening: bool = False
    cue: trio.Event = attrs.field(factory=trio.Event)
    crashes: bool = False
    up: bool = True  # expected
    expected: int = 0  # starts


leaves = st.builds(
    Leaf,
    restart=st.sampled_from(
        [Restart.PERMANENT, Restart.PERMANENT, Restart.TRANSIENT, Restart.TEMPORARY]
    ),
    slow_s=st.sampled_from([0.0, 0.0, 0.3, 2.0]),
    bad_starts=st.just(0),
)
troubled_leaves = st.builds(
    Leaf,
    restart=st.just(Restart.PERMANENT),
    slow_s=st.sampled_from([0.0, 0.3, 2.0]),
    bad_starts=st.sampled_from([0, 0, 1, 3]),
)
blows = st.lists(
    st.builds(
        Blow,
        wait_s=st.sampled_from([0.0, 0.0, 0.05, 0.1, 0.5, 3.0]),
        leaf=st.integers(0, 11),
        crashes=st.booleans(),
    ),
    max_size=12,
)


def branches(of: st.SearchStrategy[Leaf]) -> st.SearchStrategy[Branch]:
    def branch(children: st.SearchStrategy[Leaf | Branch]) -> st.SearchStrategy[Branch]:
        some = st.lists(children, min_size=1, max_size=4).map(tuple)
        return st.builds(Branch, strategy=st.sampled_from(list(RestartStrategy)), children=some)

    return branch(st.one_of(of, branch(of)))


class Harness:
    """Builds the tree's specs and checks the supervisor's rules while it runs."""

    def __init__(self, root: Branch) -> None:
        self.players: list[Player] = []
        self.exits: list[ChildExit] = []
        self.log: list[str] = []
        self.broken: list[str] = []
        self.root = root
        self.ready = False
        self.spec = self._build(root, "root", ())

    def _build(
        self, branch: Branch, name: str, above: tuple[tuple[Branch, int], ...]
    ) -> SupervisorSpec:
        built: list[ChildSpec | SupervisorSpec] = []
        for number, child in enumerate(branch.children):
            name_of_child, path = f"{name}.{number}", (*above, (branch, number))
            if isinstance(child, Branch):
                built.append(self._build(child, name_of_child, path))
            else:
                player = Player(name_of_child, child, path)
                self.players.append(player)
                built.append(
                    ChildSpec(id=name_of_child, start=self._part(player), restart=child.restart)
                )
        return SupervisorSpec(
            id=name,
            strategy=branch.strategy,
            children=tuple(built),
            intensity=10**6,
            backoff_cap_s=2.0,
        )

    def _part(self, player: Player) -> Callable[[trio.TaskStatus[None]], Awaitable[None]]:
        async def start(task_status: trio.TaskStatus[None]) -> None:
            player.tasks += 1
            player.starts += 1
            player.cue = trio.Event()
            self._check_start(player)
            try:
                await trio.sleep(player.leaf.slow_s)
                if player.starts <= player.leaf.bad_starts:
                    raise Crash
                player.listening = True
                task_status.started()
                await player.cue.wait()
                if player.crashes:
                    raise Crash
            finally:
                player.listening = False
                player.tasks -= 1
                self.log.append(player.name)

        return start

    def _check_start(self, player: Player) -> None:
        if player.tasks != 1:
            self.broken.append(f"{player.name} runs twice")
        branch, _ = player.above[-1]
        if self.ready and branch.strategy is RestartStrategy.ONE_FOR_ONE:
            return
        for other in self.players[: self.players.index(player)]:
            same = other.above[:-1] == player.above[:-1] and other.above[-1][0] is branch
            if same and other.leaf.restart is Restart.PERMANENT and not other.listening:
                self.broken.append(f"{player.name} started before {other.name} listened")

    def affected(self, player: Player) -> Iterator[Player]:
        branch, number = player.above[-1]
        depth = len(player.above) - 1
        for other in self.players:
            if len(other.above) <= depth or other.above[depth][0] is not branch:
                continue
            after = (
                other.above[depth][1] >= number and branch.strategy is RestartStrategy.REST_FOR_ONE
            )
            if other is player or after or branch.strategy is RestartStrategy.ONE_FOR_ALL:
                yield other

    def expect(self, player: Player, crashes: bool) -> None:
        """Apply the effect of one crash or return on a quiet tree to the model."""
        restart = player.leaf.restart
        if restart is Restart.TEMPORARY or (restart is Restart.TRANSIENT and not crashes):
            player.up = False
            return
        for other in self.affected(player):
            nested_deeper = len(other.above) > len(player.above)
            other.up = other.leaf.restart is not Restart.TEMPORARY or nested_deeper
            other.expected += other.up

    async def play(
        self, script: list[Blow], settle_s: float, backoff_reset_s: float = QUIET_S
    ) -> None:
        supervisor = Supervisor(self.spec, on_exit=self.exits.append)
        async with trio.open_nursery() as nursery:
            await nursery.start(supervisor.run)
            self.ready = True
            for player in self.players:
                player.expected = player.starts
            for blow in script:
                await trio.sleep(blow.wait_s)
                player = self.players[blow.leaf % len(self.players)]
                if player.listening:
                    if settle_s:
                        self.expect(player, blow.crashes)
                    player.crashes = blow.crashes
                    player.cue.set()
                await trio.sleep(settle_s)
            await trio.sleep(backoff_reset_s)
            up = [player.name for player in self.players if player.listening]
            for player in self.players:
                if player.leaf.restart is Restart.PERMANENT and not player.listening:
                    self.broken.append(f"{player.name} was never restarted")
            self.log.clear()
            await supervisor.stop()
            if self.log != up[::-1]:
                self.broken.append(f"stopped in the order {self.log}, not {up[::-1]}")
        for exit_ in self.exits:
            if exit_.error is not None and not isinstance(exit_.error, Crash):
                self.broken.append(f"{exit_.child} raised {exit_.error!r}")
        if any(player.tasks for player in self.players):
            self.broken.append("a child outlived its supervisor")


@given(branches(troubled_leaves | leaves), blows)
@settings(max_examples=100)
def test_after_random_crashes_every_permanent_child_runs_once_and_children_stop_in_order(
    root: Branch, script: list[Blow]
) -> None:
    harness = Harness(root)
    trio.run(harness.play, script, 0.0, clock=JumpClock())
    assert harness.broken == []


@given(branches(leaves), blows)
@settings(max_examples=100)
@example(
    Branch(
        RestartStrategy.REST_FOR_ONE,
        (
            Leaf(Restart.PERMANENT, 0.0, 0),
            Branch(RestartStrategy.ONE_FOR_ONE, (Leaf(Restart.TEMPORARY, 0.0, 0),)),
        ),
    ),
    [Blow(0.0, 1, True), Blow(0.0, 0, True)],
)
def test_each_crash_or_return_restarts_exactly_the_children_that_the_strategy_names(
    root: Branch, script: list[Blow]
) -> None:
    harness = Harness(root)
    trio.run(harness.play, script, QUIET_S, clock=JumpClock())
    assert harness.broken == []
    assert [player.starts for player in harness.players] == [
        player.expected for player in harness.players
    ]


PLAIN = Leaf(Restart.PERMANENT, 0.0, 0)


def test_a_child_never_starts_while_a_sibling_ends_in_the_same_moment() -> None:
    """The second child's back-off ends at 0.6 s, when the first child is asked to end."""
    root = Branch(RestartStrategy.ONE_FOR_ALL, (PLAIN, PLAIN))
    script = [Blow(0.5, 1, False), Blow(0.1, 0, False)]
    for seed in range(64):  # some of these task orders would show an overlap
        harness = Harness(root)
        seed_scheduler(seed)
        trio.run(harness.play, script, 0.0, 5.0, clock=JumpClock())
        assert harness.broken == [], f"with scheduler seed {seed}"


@pytest.mark.parametrize("steps", range(6))
def test_a_nested_supervisor_that_is_just_starting_can_be_stopped_and_restarted(steps: int) -> None:
    """The supervisor's left sibling returns ``steps`` scheduler steps after a start."""
    ends = iter([True, False])

    async def hasty(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        if next(ends):
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            return
        await trio.sleep_forever()

    async def main() -> None:
        harness = Harness(Branch(RestartStrategy.ONE_FOR_ONE, (PLAIN,)))
        supervisor = Supervisor(
            SupervisorSpec(
                id="above",
                strategy=RestartStrategy.ONE_FOR_ALL,
                children=(ChildSpec(id="hasty", start=hasty), harness.spec),
            )
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run)
            await trio.sleep(1)
            states = [child.state for child in supervisor.snapshot().children]
            assert states == [ChildState.RUNNING] * 2, "no child had to be waited for"
            await supervisor.stop()

    for seed in range(16):
        ends = iter([True, False])
        seed_scheduler(seed)
        trio.run(main, clock=JumpClock())
