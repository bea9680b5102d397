"""Run of simulations or tests in a copy of the product up to the first failure.

``mutation_suite`` starts it with the copy on PYTHONPATH.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[2]))  # after the copy of the product

import kamou
from kamou.simulator.faults import parse_faults
from kamou.simulator.scenario import Scenario
from kamou.simulator.swarm import find_missing, simulate_seed
from tests.simulation.mutants import TrialRule


def main() -> None:
    """Run argv[1], an object with ``simulations`` or ``tests``, and ``named``.

    ``simulations`` is a list of [faults, hours, seeds], ``tests`` a list of files. ``named`` is a
    list of the checks that end the trial; if it is empty, any check does.
    """
    copy = Path(os.environ["PYTHONPATH"])
    assert Path(kamou.__file__).is_relative_to(copy), (
        f"{kamou.__file__} was imported, and not the copy in {copy}"
    )
    wanted = json.loads(sys.argv[1])
    if "tests" in wanted:
        judge_by_tests(wanted["tests"], wanted["named"])
    else:
        judge_by_simulations(wanted["simulations"], wanted["named"])


def judge_by_simulations(runs: list[tuple[str, float, list[int]]], named: list[str]) -> None:
    """Run simulations up to the first that breaks a rule of ``named``."""
    cpu_s, simulations, other = 0.0, 0, ""
    for faults, hours, seeds in runs:
        results = []
        for seed in seeds:
            result = simulate_seed(Scenario(seed=seed, hours=hours, faults=parse_faults(faults)))
            results.append(result)
            cpu_s += result.cpu_s
            simulations += 1
            seen = [v for v in result.violations if not named or v.rule in named]
            if seen:
                detail = f"{faults}, seed {seed}: {seen[0].symbol} {seen[0].detail}"
                tell(seed, seen[0].rule, detail, cpu_s, simulations, other)
                return
            if result.failed:
                other = other or result.violations[0].rule
        idle = [name for name in find_missing(results) if not name.startswith("fault ")]
        if idle and not other and (not named or TrialRule.IDLE in named):
            detail = f"{faults}: no {', '.join(idle)}"
            tell(len(seeds), TrialRule.IDLE, detail, cpu_s, simulations, other)
            return
        other = other or (TrialRule.IDLE if idle else "")
    tell(0, "", "", cpu_s, simulations, other)


class FirstFailure:
    """A pytest plugin that runs the named tests first and keeps the first that fails."""

    name = ""
    detail = ""

    def __init__(self, named: list[str]) -> None:
        self.named = named

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items.sort(key=lambda item: item.name.partition("[")[0] not in self.named)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.when == "call" and not self.name:
            self.name = report.nodeid.rpartition("::")[2]
            self.detail = f"{report.nodeid}: {report.longreprtext[-300:]}"


def judge_by_tests(files: list[str], named: list[str]) -> None:
    """Run the tests of ``files`` up to the first that fails; those of ``named`` come first.

    Raises:
        AssertionError: the files could not be collected, or have no tests.
    """
    first, begun_s = FirstFailure(named), time.process_time()
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main([*options, *files], plugins=[first])
    cpu_s = time.process_time() - begun_s
    assert code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), said.getvalue()
    assert bool(first.name) is (code is pytest.ExitCode.TESTS_FAILED), said.getvalue()
    if not named or first.name.partition("[")[0] in named:
        tell(1 if first.name else 0, first.name, first.detail, cpu_s, 0)
    else:
        tell(0, "", first.detail, cpu_s, 0, first.name)


def tell(
    seed: int, rule: str, detail: str, cpu_s: float, simulations: int, other: str = ""
) -> None:
    """Write the outcome; ``other`` is the first check that failed and is not named."""
    told = {
        "seed": seed,
        "rule": rule,
        "detail": detail,
        "cpu_s": cpu_s,
        "simulations": simulations,
        "other": other,
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
