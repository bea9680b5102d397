"""``kamou simulate``: usage errors, names of faults, processes and results."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kamou.cli import main
from kamou.commands import simulate as simulate_command
from kamou.errors import CheckFailedError, ConfigurationError
from kamou.runtime.determinism import make_random_stream
from kamou.simulator import swarm
from kamou.simulator.chaos import Chaos, covered_ms
from kamou.simulator.faults import (
    FAULTS,
    SIMULATION_STREAM,
    SWARM_STREAM,
    FaultName,
    draw_faults,
    parse_faults,
)
from kamou.simulator.scenario import Scenario


def invoke(*arguments: str) -> Result:
    from kamou.commands.simulate import simulate

    return CliRunner().invoke(simulate, arguments)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "--seed N or --seeds A..B"),
        (("--seed", "1", "--seeds", "1..2"), "--seed N or --seeds A..B"),
        (("--seeds", "9..3"), "0 <= A <= B"),
        (("--seeds", "x..3"), "expects A..B"),
        (("--seeds", "7"), "expects A..B"),
        (("--seed", "-1"), "not in the range"),
        (("--seed", "1", "--hours", "0"), "not in the range"),
        (("--seed", "1", "--hours", "25"), "not in the range"),
        (("--seed", "1", "--symbols", "1"), "not in the range"),
        (("--seed", "1", "--jobs", "0"), "not in the range"),
        (("--seeds", "1..2", "--trace", "t"), "need --seed N"),
    ],
)
def test_simulate_with_missing_conflicting_or_invalid_options_is_a_usage_error(
    arguments: tuple[str, ...], says: str
) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert says in result.output


def test_parse_faults_accepts_all_none_and_names_and_fails_for_unknown_names_or_none_given() -> (
    None
):
    with pytest.raises(ConfigurationError, match="did you mean power_cut"):
        parse_faults("powercut")
    with pytest.raises(ConfigurationError, match="known faults: latency_reorder"):
        parse_faults("zzz")
    with pytest.raises(ConfigurationError, match="--faults is empty"):
        parse_faults(" , ")
    assert parse_faults("all") is None
    assert parse_faults("none") == frozenset()
    assert parse_faults("adl, power_cut") == frozenset({"adl", "power_cut"})


def test_a_scenario_with_an_unknown_fault_is_an_error_before_it_runs() -> None:
    assert Scenario(seed=1, faults={"adl"}).faults == frozenset({FaultName.ADL})
    with pytest.raises(ValueError, match="'powercut' is not a valid FaultName"):
        Scenario(seed=1, faults={"powercut"})
    with pytest.raises(ValueError, match="'powercut' is not a valid FaultName"):
        Chaos(5, ("powercut",), start_ms=0, end_ms=1, convergence_ms=1)  # type: ignore[arg-type]  # the error under test


def test_every_name_of_a_fault_has_one_row_in_the_table_of_faults() -> None:
    assert tuple(fault.name for fault in FAULTS) == tuple(FaultName)


def test_simulate_with_an_unknown_fault_exits_with_the_code_of_a_configuration_error() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", "--seed", "1", "--faults", "nonsense_fault"])
    assert ended.value.code == ConfigurationError.exit_code


def test_a_seed_draws_a_fixed_set_of_faults_which_may_be_empty() -> None:
    seeds = [draw_faults(seed) for seed in range(300)]
    assert frozenset() in seeds
    assert frozenset.union(*seeds) == {fault.name for fault in FAULTS if fault.share}
    assert draw_faults(7) == draw_faults(7)


def test_every_fault_draws_from_a_different_numbered_random_stream() -> None:
    numbers = [*(fault.stream for fault in FAULTS), SWARM_STREAM, SIMULATION_STREAM]
    assert len(set(numbers)) == len(numbers)
    chaos = Chaos(5, (), start_ms=0, end_ms=1, convergence_ms=1)
    for fault in FAULTS:
        assert chaos.draw(fault.name).random() == make_random_stream(5, fault.stream).random()


def test_the_time_in_overlapping_windows_counts_once() -> None:
    assert covered_ms([(0, 10), (5, 20), (30, 40)], 2, 35) == 18 + 5
    assert covered_ms([], 0, 10) == 0


def test_simulate_writes_its_results_as_json(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    result = invoke("--seeds", "1..2", "--hours", "0.2", "--faults", "none", "--json", str(path))
    assert result.exit_code == 0, result.output
    found = json.loads(path.read_text())
    assert found["seeds"] == 2
    assert found["violations"] == 0
    assert found["coverage"]["entries"] > 0
    assert found["sim_hours_per_cpu_s"] > 0
    assert [len(found["facts_digests"][seed]) for seed in ("1", "2")] == [64, 64]
    assert found["facts_digests"]["1"] != found["facts_digests"]["2"]


@pytest.mark.parametrize(("said", "jobs"), [((), 3), (("--jobs", "2"), 2)])
def test_a_swarm_uses_the_jobs_of_its_option_and_every_core_without_it(
    said: tuple[str, ...], jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []

    def noted(scenarios: object, *, jobs: int, report: object) -> swarm.Swarm:
        used.append(jobs)
        return swarm.Swarm(results=(), missing=())

    monkeypatch.setattr(simulate_command, "count_cores", lambda: 3)
    monkeypatch.setattr(swarm, "run_swarm", noted)
    assert invoke("--seeds", "1..9", *said).exit_code == 0
    assert used == [jobs]


def test_a_swarm_counts_only_the_cores_that_its_process_may_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {4, 5, 6}, raising=False)
    assert simulate_command.count_cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert simulate_command.count_cores() == 1, (
        "a system that does not report its cores counts as one core"
    )


def test_a_swarm_starts_at_most_one_process_per_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[int] = []

    class Pool(ThreadPoolExecutor):
        """A pool of one thread that notes the number of processes that it should start."""

        def __init__(self, max_workers: int, mp_context: object) -> None:
            started.append(max_workers)
            super().__init__(max_workers=1)

    monkeypatch.setattr(swarm, "ProcessPoolExecutor", Pool)
    scenarios = [Scenario(seed=seed, hours=0.1, faults=frozenset()) for seed in (1, 2)]
    assert len(swarm.run_swarm(scenarios, jobs=64).results) == 2
    assert started == [2]
    swarm.run_swarm(scenarios[:1], jobs=64)
    assert started == [2], "one simulation needs no other process"


def test_simulate_compares_a_seed_with_an_earlier_trace(tmp_path: Path) -> None:
    path = tmp_path / "t"
    simulation = ("--seed", "5", "--hours", "0.1", "--faults", "none")
    assert invoke(*simulation, "--trace", str(path)).exit_code == 0
    assert invoke(*simulation, "--against", str(path)).exit_code == 0
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "something else", *lines[2:]]) + "\n")
    assert isinstance(invoke(*simulation, "--against", str(path)).exception, CheckFailedError)
    other = invoke("--seed", "6", *simulation[2:], "--against", str(path))
    assert isinstance(other.exception, ConfigurationError)
