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
    """Run argv[1], a list of [faults, hours, seeds], or the files after --tests."""
    copy = Path(os.environ["PYTHONPATH"])
    assert Path(kamou.__file__).is_relative_to(copy), (
        f"{kamou.__file__} was imported, and not the copy in {copy}"
    )
    if sys.argv[1] == "--tests":
        judge_by_tests(sys.argv[2:])
        return
    cpu_s, simulations = 0.0, 0
    for faults, hours, seeds in json.loads(sys.argv[1]):
        results = []
        for seed in seeds:
            result = simulate_seed(Scenario(seed=seed, hours=hours, faults=parse_faults(faults)))
            results.append(result)
            cpu_s += result.cpu_s
            simulations += 1
            if result.failed:
                first = result.violations[0]
                detail = f"{faults}, seed {seed}: {first.symbol} {first.detail}"
                tell(seed, first.rule, detail, cpu_s, simulations)
                return
        idle = [name for name in find_missing(results) if not name.startswith("fault ")]
        if idle:
            tell(len(seeds), TrialRule.IDLE, f"{faults}: no {', '.join(idle)}", cpu_s, simulations)
            return
    tell(0, "", "", cpu_s, simulations)


class FirstFailure:
    """A pytest plugin that keeps the name of the first failed test."""

    name = ""
    detail = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and not self.name:
            self.name = report.nodeid.rpartition("::")[2]
            self.detail = f"{report.nodeid}: {report.longreprtext[-300:]}"


def judge_by_tests(files: list[str]) -> None:
    """Run the tests of ``files`` up to the first that fails.

    Raises:
        AssertionError: the files could not be collected, or have no tests.
    """
    first, begun_s = FirstFailure(), time.process_time()
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--hypothesis-seed=0"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main([*options, *files], plugins=[first])
    cpu_s = time.process_time() - begun_s
    assert code in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), said.getvalue()
    assert bool(first.name) is (code is pytest.ExitCode.TESTS_FAILED), said.getvalue()
    tell(1 if first.name else 0, first.name, first.detail, cpu_s, 0)


def tell(seed: int, rule: str, detail: str, cpu_s: float, simulations: int) -> None:
    told = {
        "seed": seed,
        "rule": rule,
        "detail": detail,
        "cpu_s": cpu_s,
        "simulations": simulations,
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
