"""How long the trading loop works between two checkpoints. Prints JSON.

    python benchmarks/stretches.py [--symbols 220 2000] [--bar-s 300] [--days 2]

Measured is the CPU time of the loop's thread in one step of one task, by a Trio instrument. The
longest wall time of a step and the lag of a task that only sleeps stand beside it. A step is timed
at a start, while a bar closes, at a scanner's crash and at midnight. Then the CPU seconds of a
start with 1, 2 and 8 scanners follow. History is fast-forwarded first, unmeasured.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import Any

import trio
from real_time import MIDNIGHT_MS, Bench, crash, run_on, settings_for, trading

from kamou.core.day import MINUTE_MS
from kamou.runtime.supervision import ChildExit

LIMITS_MS = {  # on 5-minute bars; more symbols and finer bars are reported without a limit
    220: {"start": 50.0, "steady": 50.0, "crash": 50.0, "midnight": 50.0},
    2000: {"start": 1_000.0, "steady": 250.0, "crash": 250.0, "midnight": 250.0},
}
LAG_PROBE_S = 0.01
LIMITED_BAR_S = 300
UNMEASURED = "unmeasured"
SETTLED_S = 6.0  # after a bar closes: all shards ranked, vetoed, journalled


class Stretches(trio.abc.Instrument):
    """The longest steps of any task, by phase."""

    def __init__(self) -> None:
        self.phase = "start"
        self.longest: dict[str, list[tuple[float, float, str]]] = {}
        self.walls: dict[str, float] = {}
        self.lags: dict[str, float] = {}
        self._cpu_ns, self._wall_ns = time.thread_time_ns(), time.perf_counter_ns()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._wall_ns = time.perf_counter_ns()
        self._cpu_ns = time.thread_time_ns()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        cpu_ms = (time.thread_time_ns() - self._cpu_ns) / 1e6
        wall_ms = (time.perf_counter_ns() - self._wall_ns) / 1e6
        rows = self.longest.setdefault(self.phase, [])
        rows.append((cpu_ms, wall_ms, task.name))
        rows.sort(key=lambda row: -row[0])
        del rows[5:]
        self.walls[self.phase] = max(self.walls.get(self.phase, 0.0), wall_ms)

    async def probe(self) -> None:
        """A task that only sleeps: how much later than asked it is woken."""
        while True:
            asked = time.perf_counter() + LAG_PROBE_S
            await trio.sleep(LAG_PROBE_S)
            late_ms = (time.perf_counter() - asked) * 1000
            self.lags[self.phase] = max(self.lags.get(self.phase, 0.0), late_ms)

    def report(self, limits: dict[str, float]) -> dict[str, Any]:
        return {
            phase: {
                "longest_cpu_ms": round(rows[0][0], 1),
                "limit_cpu_ms": limits.get(phase),
                "longest_wall_ms": round(self.walls[phase], 1),
                "longest_lag_ms": round(self.lags.get(phase, 0.0), 1),
                "longest_tasks": [
                    {"task": name.rsplit(".", 1)[-1], "cpu_ms": round(cpu, 1)}
                    for cpu, _, name in rows
                ],
            }
            for phase, rows in self.longest.items()
        }


async def stretches(bench: Bench) -> dict[str, Any]:
    """All phases of one run."""
    seen, clock = Stretches(), bench.clock()
    exits: list[ChildExit] = []
    trio.lowlevel.add_instrument(seen)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(seen.probe)
        async with trading(bench, clock, exits) as tree:
            await trio.sleep(1.0)
            for phase, at_ms in (
                ("steady", MIDNIGHT_MS - 15 * MINUTE_MS),
                ("midnight", MIDNIGHT_MS),
            ):
                bench.moved.move((at_ms - 2_000 - clock.now_ms()) / 1000)
                await trio.sleep(1.0)
                seen.phase = phase
                await clock.sleep_until(at_ms)
                await trio.sleep(SETTLED_S)
                if phase == "steady":
                    seen.phase = "crash"
                    await crash(tree)
                    await trio.sleep(1.0)
                    seen.phase = UNMEASURED
            seen.phase = UNMEASURED
        nursery.cancel_scope.cancel()
    trio.lowlevel.remove_instrument(seen)
    seen.longest.pop(UNMEASURED, None)
    of = bench.settings.demo
    phases = seen.report(LIMITS_MS.get(of.symbols, {}) if of.bar_s == LIMITED_BAR_S else {})
    return {
        "phases": phases,
        "over_limit": [name for name, row in phases.items() if is_over(row)],
        "crashes": [str(exit_.child) for exit_ in exits if exit_.error],
    }


def is_over(row: dict[str, Any]) -> bool:
    limit = row["limit_cpu_ms"]
    return limit is not None and row["longest_cpu_ms"] > limit


async def start_cpu_s(bench: Bench) -> float:
    """CPU seconds of the whole process until all scanners are up."""
    began_s = time.process_time()
    async with trading(bench, bench.clock(), []):
        return round(time.process_time() - began_s, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, nargs="+", default=[220, 2000])
    parser.add_argument("--bar-s", type=int, default=300)
    parser.add_argument("--days", type=int, default=2)
    parser.add_argument("--scanners", type=int, nargs="*", default=[1, 2, 8])
    given = parser.parse_args()
    sizes: dict[str, Any] = {}
    for symbols in given.symbols:

        def of(scanners: int, symbols: int = symbols) -> Any:
            return settings_for(symbols, given.bar_s, given.days, scanners)

        sizes[str(symbols)] = run_on(of(2), stretches)
        sizes[str(symbols)]["start_cpu_s_by_scanners"] = {
            str(scanners): run_on(of(scanners), start_cpu_s) for scanners in given.scanners
        }
    report = {"benchmark": "stretches", "bar_s": given.bar_s, "sizes": sizes}
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
