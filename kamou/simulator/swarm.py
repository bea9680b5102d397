"""``Result`` of a seed, ``Swarm`` of several, and the shrinking of a failed seed.

``run_swarm`` runs the seeds in at most ``jobs`` operating-system processes; with one job it runs
them in the current process.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import attrs

from kamou.clock import read_cpu_time_s
from kamou.simulator.faults import FaultName
from kamou.simulator.invariants.activity import find_idle
from kamou.simulator.scenario import Scenario
from kamou.simulator.simulation import Simulation
from kamou.venue.violations import Violation

HOURS_STEP = 0.05  # step of the search for the shortest failing time

ReportResult = Callable[["Result"], None]


@attrs.frozen(kw_only=True)
class Result:
    """The result of one seed.

    ``digest`` is the digest of its trace, and ``facts`` its ``facts_digest``, which is empty if the
    simulation did not reach its end.
    """

    scenario: Scenario
    violations: tuple[Violation, ...]
    last_events: tuple[str, ...]  # before the first violation
    coverage: dict[str, int]
    struck: dict[FaultName, int]  # fault -> strikes
    on: tuple[FaultName, ...]
    steps: int
    processes: int
    cpu_s: float
    digest: str
    facts: str
    trace: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        return bool(self.violations)


@attrs.frozen(kw_only=True)
class Swarm:
    """The results of many seeds.

    ``missing`` has the enabled faults and the required events that never happened.
    """

    results: tuple[Result, ...]
    missing: tuple[str, ...]

    @property
    def failures(self) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.failed)

    def as_json(self) -> dict[str, Any]:
        results = self.results
        hours = sum(r.scenario.hours for r in results)
        cpu_s = sum(r.cpu_s for r in results)
        steps = sum(r.steps for r in results)
        return {
            "seeds": len(results),
            "hours": hours,
            "violations": sum(len(r.violations) for r in results),
            "failures": [failure_document(r) for r in self.failures],
            "coverage": sum_coverage(results),
            "missing": list(self.missing),
            "cpu_s": round(cpu_s, 3),
            "sim_hours_per_cpu_s": round(hours / cpu_s, 3) if cpu_s else None,
            "steps": steps,
            "steps_per_cpu_s": round(steps / cpu_s) if cpu_s else None,
            "digests": {str(r.scenario.seed): r.digest for r in results},
            "facts_digests": {str(r.scenario.seed): r.facts for r in results},
        }


def failure_document(result: Result) -> dict[str, Any]:
    """Return the result of a failed seed as JSON values.

    Keys: seed, hours, until_hours, symbols, faults, first, violations, last_events.
    """
    first = result.violations[0]
    return {
        "seed": result.scenario.seed,
        "hours": result.scenario.hours,
        "until_hours": result.scenario.until_hours,
        "symbols": result.scenario.symbols,
        "faults": sorted(result.on),
        "first": attrs.asdict(first),
        "violations": [attrs.asdict(violation) for violation in result.violations],
        "last_events": list(result.last_events),
    }


def sum_coverage(results: Iterable[Result]) -> dict[str, int]:
    """Return counts by name over all seeds: events, ``fault NAME`` and processes."""
    total: Counter[str] = Counter()
    for result in results:
        total.update(result.coverage)
        total.update({f"fault {name}": n for name, n in result.struck.items()})
        total["processes"] += result.processes
    return dict(sorted(total.items()))


def simulate_seed(scenario: Scenario) -> Result:
    """Run one seed and return its result."""
    began_s = read_cpu_time_s()
    simulation = Simulation(scenario)
    simulation.run()
    monitor = simulation.monitor
    return Result(
        scenario=scenario,
        violations=tuple(monitor.found),
        last_events=monitor.last,
        coverage=dict(monitor.coverage),
        struck=dict(simulation.chaos.struck),
        on=tuple(sorted(simulation.chaos.on)),
        steps=simulation.steps,
        processes=simulation.processes,
        cpu_s=read_cpu_time_s() - began_s,
        digest=simulation.trace.hex,
        facts=simulation.facts,
        trace=tuple(simulation.trace.lines),
    )


def run_swarm(
    scenarios: Iterable[Scenario], *, jobs: int = 1, report: ReportResult = lambda result: None
) -> Swarm:
    """Run the scenarios in at most ``jobs`` processes and report each result.

    Results are in the order of the scenarios.
    """
    planned = tuple(scenarios)
    results: list[Result] = []
    for result in _run(planned, jobs):
        results.append(result)
        report(result)
    return Swarm(results=tuple(results), missing=find_missing(results))


def _run(scenarios: tuple[Scenario, ...], jobs: int) -> Iterator[Result]:
    jobs = min(jobs, len(scenarios))
    if jobs <= 1:
        yield from map(simulate_seed, scenarios)
        return
    context = multiprocessing.get_context("spawn")  # a fork would inherit the scheduler
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context) as pool:
        yield from pool.map(simulate_seed, scenarios)


def find_missing(results: Iterable[Result]) -> tuple[str, ...]:
    """Return the enabled faults and the required events that never happened."""
    done = tuple(results)
    on = {name for result in done for name in result.on}
    return find_idle(
        sum_coverage(done),
        enabled=[name for name in FaultName if name in on],
        seeds=len(done),
        hours=sum(result.scenario.hours for result in done),
    )


def shrink_failure(result: Result, report: Callable[[str], None] = lambda line: None) -> Result:
    """Return a result with fewer faults and a shorter time that still fails.

    The search is greedy: a fault stays out if the seed fails without it. Each fault has its own
    random stream, so leaving one out does not change the others. ``report`` gets a line per try.
    """
    assert result.failed, f"seed {result.scenario.seed} passed; only a failed seed can be shrunk"
    scenario = attrs.evolve(result.scenario, faults=frozenset(result.on))
    best = result
    for name in sorted(result.on):
        assert scenario.faults is not None
        tried = simulate_seed(attrs.evolve(scenario, faults=scenario.faults - {name}))
        report(f"without {name}: {'still fails' if tried.failed else 'passes'}")
        if tried.failed:
            best, scenario = tried, tried.scenario
    hours = scenario.hours
    while hours > HOURS_STEP:
        hours -= HOURS_STEP
        tried = simulate_seed(attrs.evolve(scenario, until_hours=hours))
        report(f"up to {hours:g} h: {'still fails' if tried.failed else 'passes'}")
        if not tried.failed:
            break
        best = tried
    return best
