"""Simulated hours per CPU second, against a bare Trio loop of the same shape. Prints JSON.

    python benchmarks/simulation.py [--seeds 20] [--hours 1]

Worlds as `kamou simulate` runs them: five symbols at 1 Hz, each seed's own faults, every rule
checked. Their shape is measured first: how many tasks live, how often the clock wakes one, how
often one is woken by another. The bare loop has as many tasks that sleep and pass tokens through
memory channels as often, and does nothing else. The scheduler's steps of both are counted by the
same instrument. Then the same worlds, and the loop, run under Trio's ``MockClock``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import attrs
import trio
from trio.testing import MockClock

from kamou.clock import JumpClock
from kamou.runtime.determinism import seed_scheduler
from kamou.simulator import simulation
from kamou.simulator.crash_injection import StepCounter
from kamou.simulator.scenario import Scenario
from kamou.simulator.swarm import Result, simulate_seed

FIRST_SEED = 1
LIMIT_HOURS_PER_CPU_S = 1.0  # what a core must simulate at least
HOUR_S = 3600.0
WARM_HOURS = 0.05
TASKS_OF_ANY_RUN = 3  # Trio's own two and the main one
BARE_TIMES = 4  # as many hours of the bare loop: it is that much faster

MakesClock = Callable[[], trio.abc.Clock]


def mock_clock() -> trio.abc.Clock:
    return MockClock(autojump_threshold=0)


@contextmanager
def in_worlds(name: str, value: Any) -> Iterator[None]:
    """Worlds use ``value`` for what they know as ``name``."""
    before = getattr(simulation, name)
    setattr(simulation, name, value)
    try:
        yield
    finally:
        setattr(simulation, name, before)


# --- the shape -----------------------------------------------------------------------


@attrs.frozen
class Shape:
    """What a scheduler sees of a system, per simulated hour but for the tasks."""

    tasks: int  # alive, on average over the steps, without those of any run
    by_clock: float  # steps of tasks that a deadline woke
    by_others: float  # steps of tasks that another task woke


@attrs.define
class Tally:
    """Over all processes of all worlds."""

    alive: int = 0
    alive_steps: int = 0  # how many were alive, summed over the steps
    woken: int = 0  # by the clock
    steps: int = 0


class Shapes(StepCounter):
    """Tells the steps apart. Trio looks for expired deadlines between its wait and the steps."""

    def __init__(self, tally: Tally, actors: frozenset[str], strike: Any = None) -> None:
        super().__init__(actors, strike)
        self._tally = tally
        self._expiring = False

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        self._tally.alive += 1

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        self._tally.alive -= 1

    def after_io_wait(self, timeout: float) -> None:
        self._expiring = True

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        self._tally.woken += self._expiring

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._expiring = False
        self._tally.steps += 1
        self._tally.alive_steps += self._tally.alive
        super().before_task_step(task)


def shape_of(scenarios: list[Scenario]) -> Shape:
    hours = sum(scenario.hours for scenario in scenarios)
    tally = Tally()
    with in_worlds("StepCounter", partial(Shapes, tally)):
        for scenario in scenarios:
            simulate_seed(scenario)
    assert tally.alive == 0, "a task was not counted when it ended"
    return Shape(
        tasks=max(2, round(tally.alive_steps / tally.steps) - TASKS_OF_ANY_RUN),
        by_clock=tally.woken / hours,
        by_others=(tally.steps - tally.woken) / hours,
    )


# --- the bare loop -------------------------------------------------------------------


@attrs.frozen
class Run:
    """What was run and what it cost."""

    hours: float
    steps: int
    cpu_s: float

    def as_json(self) -> dict[str, Any]:
        return {
            "hours": self.hours,
            "cpu_s": round(self.cpu_s, 3),
            "sim_hours_per_cpu_s": round(self.hours / self.cpu_s, 3),
            "steps": self.steps,
            "steps_per_sim_hour": round(self.steps / self.hours),
            "steps_per_cpu_s": round(self.steps / self.cpu_s),
        }


def bare(shape: Shape, hours: float, clock: MakesClock) -> Run:
    """Half of the tasks sleep; each time one wakes, it sends a token round the others."""
    sleepers = shape.tasks // 2
    relays = shape.tasks - sleepers
    period_s = sleepers * HOUR_S / shape.by_clock
    hops_each = shape.by_others / shape.by_clock
    channels = [trio.open_memory_channel[int](shape.tasks) for _ in range(relays)]

    async def relay(number: int) -> None:
        following = channels[(number + 1) % relays][0]
        async for hops in channels[number][1]:
            if hops > 1:
                following.send_nowait(hops - 1)

    async def sleeper(number: int) -> None:
        owed = 0.0
        await trio.sleep(period_s * number / sleepers)
        while True:
            await trio.sleep(period_s)
            owed += hops_each
            if owed >= 1:
                channels[number % relays][0].send_nowait(int(owed))
                owed -= int(owed)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(relays):
                nursery.start_soon(relay, number)
            for number in range(sleepers):
                nursery.start_soon(sleeper, number)
            await trio.sleep(hours * HOUR_S)
            nursery.cancel_scope.cancel()

    steps = StepCounter(frozenset())
    seed_scheduler(FIRST_SEED)
    began_s = time.process_time()
    trio.run(main, clock=clock(), instruments=[steps])
    return Run(hours, steps.count, time.process_time() - began_s)


def product(scenarios: list[Scenario]) -> tuple[Run, Run, bool]:
    """Under our clock and under Trio's, one world after the other; whether the traces are equal."""
    runs: dict[MakesClock, list[Result]] = {JumpClock: [], mock_clock: []}
    for scenario in scenarios:
        for clock, results in runs.items():
            with in_worlds("JumpClock", clock):
                results.append(simulate_seed(scenario))
    ours, mocked = runs.values()
    if failed := [result.scenario.seed for result in ours if result.failed]:
        sys.stderr.write(f"seeds that broke a rule: {failed}\n")
    equal = [result.digest for result in ours] == [result.digest for result in mocked]
    return whole(ours), whole(mocked), equal


def whole(results: list[Result]) -> Run:
    return Run(
        hours=sum(result.scenario.hours for result in results),
        steps=sum(result.steps for result in results),
        cpu_s=sum(result.cpu_s for result in results),
    )


def measured(scenarios: list[Scenario]) -> dict[str, Any]:
    simulate_seed(attrs.evolve(scenarios[0], hours=WARM_HOURS))  # what is imported late, and caches
    shape = shape_of(scenarios)
    ours, mocked, equal = product(scenarios)
    hours = BARE_TIMES * ours.hours
    loop, mocked_loop = bare(shape, hours, JumpClock), bare(shape, hours, mock_clock)
    return {
        "shape": attrs.asdict(shape),
        "product": ours.as_json(),
        "bare_loop": loop.as_json(),
        "product_under_mock_clock": mocked.as_json(),
        "bare_loop_under_mock_clock": mocked_loop.as_json(),
        "traces_equal_under_both_clocks": equal,
        "ratios": {
            "hours_per_cpu_s_to_limit": round(ours.hours / ours.cpu_s / LIMIT_HOURS_PER_CPU_S, 2),
            "steps_per_cpu_s_to_bare_loop": round(
                (ours.steps / ours.cpu_s) / (loop.steps / loop.cpu_s), 3
            ),
            "mock_clock_to_jump_clock_cpu": round(mocked.cpu_s / ours.cpu_s, 2),
            "mock_clock_to_jump_clock_cpu_bare": round(mocked_loop.cpu_s / loop.cpu_s, 2),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--hours", type=float, default=1.0)
    given = parser.parse_args()
    seeds = range(FIRST_SEED, FIRST_SEED + given.seeds)
    scenarios = [Scenario(seed=seed, hours=given.hours) for seed in seeds]
    report = {
        "benchmark": "simulation",
        "unit": "CPU s",
        "seeds": given.seeds,
        "symbols": scenarios[0].symbols,
        **measured(scenarios),
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
