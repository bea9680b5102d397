"""A seed gives the same trace in each process; another seed or schedule does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kamou.errors import CheckFailedError, ConfigurationError
from kamou.simulator import trace
from kamou.simulator.scenario import Scenario
from kamou.simulator.swarm import run_swarm, simulate_seed

SCENARIO = Scenario(seed=12, hours=0.3)


def traced(path: Path, hash_seed: str) -> str:
    """Return the trace of the scenario from another process with this hash seed."""
    subprocess.run(
        [
            *(sys.executable, "-m", "kamou", "simulate"),
            *("--seed", str(SCENARIO.seed), "--hours", str(SCENARIO.hours), "--trace", str(path)),
            *("--faults", "process_kill,actor_crash,latency_reorder,operator,lost_events"),
        ],
        env={"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        check=False,  # a fault that does not strike in so short a time does not matter here
    )
    return path.read_text()


def test_a_seed_gives_the_same_trace_in_other_processes_under_other_hash_seeds(
    tmp_path: Path,
) -> None:
    first = traced(tmp_path / "a", "1")
    assert first.startswith(f"{trace.HEADER} {trace.VERSION} seed={SCENARIO.seed} ")
    assert first.count("\n") > 100
    assert first == traced(tmp_path / "b", "2")


def test_a_seed_gives_the_same_trace_after_a_simulation_of_another_seed() -> None:
    first = simulate_seed(SCENARIO)
    simulate_seed(Scenario(seed=99, hours=0.1))
    again = simulate_seed(SCENARIO)
    assert (again.digest, again.facts) == (first.digest, first.facts)


def test_another_seed_gives_another_trace() -> None:
    assert simulate_seed(SCENARIO).digest != simulate_seed(Scenario(seed=13, hours=0.3)).digest


def test_without_the_seeded_scheduler_the_traces_differ() -> None:
    simulation = Scenario(seed=12, hours=0.2, faults=frozenset(), seeded=False)
    loose = [simulate_seed(simulation).digest for _ in range(6)]
    assert len(set(loose)) > 1


def test_a_swarm_over_two_processes_has_the_results_of_one_process() -> None:
    scenarios = [Scenario(seed=seed, hours=0.1) for seed in (1, 2)]
    one, two = run_swarm(scenarios, jobs=1), run_swarm(scenarios, jobs=2)
    assert [r.digest for r in one.results] == [r.digest for r in two.results]


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "not a trace"), ("hello", "not a trace"), ("kamou-trace 9 seed=1", "version 9")],
)
def test_a_file_that_is_no_trace_and_a_trace_of_another_version_are_invalid(
    tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "t"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=says):
        trace.read_trace(path)


def test_the_comparison_of_two_traces_fails_at_the_first_line_that_differs() -> None:
    trace.compare_traces(["a", "b"], ["a", "b"])
    with pytest.raises(CheckFailedError, match="line 2"):
        trace.compare_traces(["a", "b"], ["a", "c"])
    with pytest.raises(CheckFailedError, match="ends early"):
        trace.compare_traces(["a", "b"], ["a"])
