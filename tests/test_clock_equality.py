"""``JumpClock`` and Trio's ``MockClock`` give the same steps at the same times.

The comparison itself is tested with clocks that are wrong in one respect each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from kamou.clock import JumpClock
from kamou.runtime.determinism import seed_scheduler
from kamou.simulator import simulation
from kamou.simulator.crash_injection import StepCounter
from kamou.simulator.faults import FAULT_NAMES, parse_faults
from kamou.simulator.scenario import Scenario
from kamou.simulator.swarm import Result, simulate_seed
from tests.clock_programs import Program, noted, programs

MakesClock = Callable[[], trio.abc.Clock]


def mock_clock() -> trio.abc.Clock:
    return MockClock(autojump_threshold=0)


class LateClock(JumpClock):
    """A clock that jumps 0.25 s past the next deadline, so two deadlines may pass at once."""

    LATE_S = 0.25

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return super().deadline_to_sleep_time(deadline + self.LATE_S)


class ReorderingClock(JumpClock):
    """A clock that changes the order of tasks that become ready together."""

    def deadline_to_sleep_time(self, deadline: float) -> float:
        seed_scheduler(round(deadline * 1000) if deadline < 1e9 else 0)
        return super().deadline_to_sleep_time(deadline)


class ExactClock(JumpClock):
    """A clock that jumps to the deadline itself, not to the time plus the difference."""

    def deadline_to_sleep_time(self, deadline: float) -> float:
        if deadline < float("inf"):
            self._now = max(self._now, deadline)
        return super().deadline_to_sleep_time(deadline)


# --- random programs -------------------------------------------------------------------------


@settings(max_examples=200)
@given(program=programs, seed=st.integers(0, 2**32))
def test_a_program_takes_the_same_steps_at_the_same_times_under_both_clocks(
    program: Program, seed: int
) -> None:
    assert noted(program, seed, JumpClock) == noted(program, seed, mock_clock)


TWO_DEADLINES: Program = [[("sleep", 0.1)], [("sleep", 0.2)]]
ONE_DEADLINE: Program = [[("sleep", 0.1)]] * 6
# The first time plus the distance to the second is a float next to the second, not equal to it.
ROUNDED: Program = [
    [("sleep_until", 1.2706049243553568), ("sleep_until", 7.203415022235366), ("sleep", 0.0)]
]


@pytest.mark.parametrize(
    ("program", "wrong"),
    [(TWO_DEADLINES, LateClock), (ONE_DEADLINE, ReorderingClock), (ROUNDED, ExactClock)],
)
def test_the_notes_of_a_program_differ_under_a_late_reordering_or_differently_rounding_clock(
    program: Program, wrong: MakesClock
) -> None:
    expected = noted(program, 5, mock_clock)
    assert noted(program, 5, JumpClock) == expected
    assert noted(program, 5, wrong) != expected


# --- simulations -----------------------------------------------------------------------------

KILLS = parse_faults("process_kill,power_cut,slow_fsync")
WORLDS = (
    *(Scenario(seed=seed, hours=0.2) for seed in (3, 17, 1030, 50057)),  # as the seed draws them
    Scenario(seed=1, hours=0.3, faults=frozenset()),
    *(Scenario(seed=seed, hours=0.4, faults=KILLS) for seed in (1, 2)),
    Scenario(seed=7, hours=0.3, faults=parse_faults("actor_crash,operator,clock_skew,disk_full")),
    Scenario(
        seed=11, hours=0.3, faults=parse_faults("latency_reorder,disconnect,rate_limit_and_ban")
    ),
    Scenario(seed=23, hours=0.3, faults=frozenset(FAULT_NAMES)),
)


class NotedSteps(StepCounter):
    """Hashes every step, because a trace lacks the order of steps without effects."""

    hash = hashlib.sha256()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.hash.update(f"{trio.current_time().hex()} {task.name}\n".encode())
        super().before_task_step(task)


def lived(
    scenario: Scenario, clock: MakesClock, monkeypatch: pytest.MonkeyPatch
) -> tuple[Result, str]:
    """Return a simulation's result, without its duration, and its hash of steps."""
    made: list[trio.abc.Clock] = []

    def make() -> trio.abc.Clock:
        made.append(clock())
        return made[-1]

    monkeypatch.setattr(simulation, "JumpClock", make)
    monkeypatch.setattr(simulation, "StepCounter", NotedSteps)
    monkeypatch.setattr(NotedSteps, "hash", hashlib.sha256())
    result = simulate_seed(scenario)
    assert len(made) == result.processes, "it ran under another clock"
    return attrs.evolve(result, cpu_s=0.0), NotedSteps.hash.hexdigest()


@pytest.mark.parametrize("scenario", WORLDS, ids=lambda s: f"{s.seed}-{len(s.on)}")
def test_a_simulation_has_the_same_trace_under_both_clocks(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumped, steps = lived(scenario, JumpClock, monkeypatch)
    assert jumped.steps > 1_000
    if scenario.faults == KILLS:
        assert jumped.coverage["kills"] > 0, "no process was killed"
    theirs, their_steps = lived(scenario, mock_clock, monkeypatch)
    assert jumped.digest == theirs.digest
    assert jumped == theirs
    assert steps == their_steps


@pytest.mark.parametrize(("wrong", "traced"), [(LateClock, True), (ReorderingClock, False)])
def test_a_simulation_under_a_wrong_clock_takes_other_steps(
    wrong: MakesClock, traced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario = Scenario(seed=3, hours=0.2)
    expected, expected_steps = lived(scenario, mock_clock, monkeypatch)
    found, steps = lived(scenario, wrong, monkeypatch)
    assert steps != expected_steps
    if traced:  # another order alone need not change the trace
        assert found.digest != expected.digest
