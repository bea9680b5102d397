"""A supervisor whose children crash at drawn times, under any order of tasks.

The machine crashes children while others still restart, several at once, and lets any time pass.
"""

from __future__ import annotations

import trio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kamou.runtime.supervision import Restart, RestartStrategy
from kamou.supervisor import Supervisor
from tests.simulation.example_counts import example_settings
from tests.simulation.stepped_run import SteppedRun, schedules
from tests.test_supervisor_properties import (
    Branch,
    Crash,
    Harness,
    Player,
    branches,
    leaves,
    troubled_leaves,
)

QUIET_S = 180.0
"""Longer than any back-off and every bad start of these trees: twelve bad starts of nested
one_for_all branches, each of which starts slow siblings again, take somewhat over 60 s."""


class Struck(Harness):
    """A harness whose children may crash while the tree still starts."""

    def _check_start(self, player: Player) -> None:
        branch, _ = player.above[-1]
        if branch.strategy is RestartStrategy.ONE_FOR_ONE and player.tasks == 1:
            return  # once struck, such siblings do not wait for each other
        super()._check_start(player)


class SupervisorMachine(RuleBasedStateMachine):
    """Crashes of the leaves of a drawn tree; ``Harness`` records broken rules."""

    harness: Harness
    stepped: SteppedRun | None = None

    @initialize(root=branches(troubled_leaves | leaves), schedule=schedules)
    def begin(self, root: Branch, schedule: list[int]) -> None:
        self.harness = Struck(root)
        self.supervisor = Supervisor(self.harness.spec, on_exit=self.harness.exits.append)
        self.told_to_stop: list[trio.Event] = []
        self.ended_for_good: set[str] = set()

        async def main() -> None:
            stop = trio.Event()
            self.told_to_stop.append(stop)
            async with trio.open_nursery() as nursery:
                await nursery.start(self.supervisor.run)
                self.harness.ready = True
                await stop.wait()
                await self.supervisor.stop()

        self.stepped = SteppedRun(main, schedule)

    def strike(self, players: list[Player], crashes: bool) -> None:
        def cue() -> None:
            for player in players:
                player.crashes = crashes
                player.cue.set()

        assert self.stepped is not None
        self.stepped.do(cue)

    @precondition(lambda self: self.stepped and any(p.listening for p in self.harness.players))
    @rule(data=st.data(), crashes=st.booleans())
    def one_ends(self, data: st.DataObject, crashes: bool) -> None:
        up = [player for player in self.harness.players if player.listening]
        self.strike([data.draw(st.sampled_from(up))], crashes)

    @precondition(lambda self: self.stepped and sum(p.listening for p in self.harness.players) > 1)
    @rule(data=st.data())
    def several_crash_in_the_same_moment(self, data: st.DataObject) -> None:
        up = [player for player in self.harness.players if player.listening]
        picked = data.draw(st.lists(st.sampled_from(range(len(up))), min_size=2, unique=True))
        self.strike([up[number] for number in picked], True)

    @precondition(lambda self: self.stepped is not None)
    @rule(seconds=st.sampled_from([0.0, 0.05, 0.1, 0.3, 0.5, 2.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        assert self.stepped is not None
        self.stepped.pass_time(seconds)

    @invariant()
    def no_promise_is_broken(self) -> None:
        if self.stepped is not None:
            assert self.harness.broken == []
            assert self.stepped.ended is None, "the supervisor ended before it was asked to stop"

    def teardown(self) -> None:
        """Check that every permanent child listens after a quiet time, and the stop order."""
        if self.stepped is None:
            return
        harness = self.harness
        try:
            self.stepped.pass_time(QUIET_S)
            missing = [
                player.name
                for player in harness.players
                if player.leaf.restart is Restart.PERMANENT and not player.listening
            ]
            up = [player.name for player in harness.players if player.listening]
            harness.log.clear()
        finally:
            self.stepped.do(self.told_to_stop[0].set)
            self.stepped.finish()
        assert missing == []
        assert harness.log == up[::-1]
        assert harness.broken == []
        assert not any(player.tasks for player in harness.players)
        errors = [e.error for e in harness.exits if e.error and not isinstance(e.error, Crash)]
        assert errors == []


TestASupervisorUnderAnyScheduleKeepsItsPromises = SupervisorMachine.TestCase
TestASupervisorUnderAnyScheduleKeepsItsPromises.settings = example_settings(examples=100, steps=30)
