"""Runs worlds of one copy of the product up to the first that fails; the answer is JSON.

``mutation_suite`` starts it with the copy on PYTHONPATH.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import kamou
from kamou.simulator.faults import parse
from kamou.simulator.run import Scenario, missing, simulate


def main() -> None:
    """argv[1]: a list of [faults, hours, seeds]."""
    copy = Path(os.environ["PYTHONPATH"])
    assert Path(kamou.__file__).is_relative_to(copy), "this is not the copy"
    cpu_s, worlds = 0.0, 0
    for faults, hours, seeds in json.loads(sys.argv[1]):
        results = []
        for seed in seeds:
            result = simulate(Scenario(seed=seed, hours=hours, faults=parse(faults)))
            results.append(result)
            cpu_s += result.cpu_s
            worlds += 1
            if result.failed:
                first = result.violations[0]
                detail = f"{faults}, seed {seed}: {first.symbol} {first.detail}"
                tell(seed, first.rule, detail, cpu_s, worlds)
                return
        idle = [name for name in missing(results) if not name.startswith("fault ")]
        if idle:
            tell(len(seeds), "IDLE", f"{faults}: no {', '.join(idle)}", cpu_s, worlds)
            return
    tell(0, "", "", cpu_s, worlds)


def tell(seed: int, rule: str, detail: str, cpu_s: float, worlds: int) -> None:
    told = {"seed": seed, "rule": rule, "detail": detail, "cpu_s": cpu_s, "worlds": worlds}
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
