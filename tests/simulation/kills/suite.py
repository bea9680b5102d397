"""Kill the process at many points, go on from its files, and judge the result.

    python tests/simulation/kills/suite.py --points 200 --jobs 2 --json FILE

Each case is three processes or more: the process that is killed, the process that goes on from its
files (which may be killed as well), and the process that judges the files. The exit code is 1 if
an event, a fill or an order is lost or doubled, or a position is unprotected.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # no other thread may run when the suite forks
sys.path.append(str(Path(__file__).resolve().parents[3]))  # so that a script can import the tests

import attrs

from kamou.clock import read_stopwatch_ns
from tests.actors import scripted_market
from tests.simulation.kills.lives import (
    AT_ONCE_MS,
    CRASHED,
    in_process_of_its_own,
    live,
    lose_the_log,
    resumed_ms,
    what_a_kill_leaves,
)
from tests.simulation.kills.points import (
    FILLS_FORGOTTEN,
    PHASES,
    STOPS_UNATTACHED,
    Point,
    death_note,
)
from tests.simulation.kills.verdict import Life, after_a_kill, after_recovery, files

DOWN_MS = (
    AT_ONCE_MS,
    30_000,
    150_000,
)  # at once, after the time for finding an order, after a time limit
AGAIN = (
    1,
    3,
    5,
    8,
    13,
    21,
    34,
    55,
    89,
    144,
)  # points at which the process that goes on is killed too
LOG_LOST = "log-lost"
DEFECTS = (
    LOG_LOST,
    FILLS_FORGOTTEN,
    STOPS_UNATTACHED,
)  # defects of the run that the suite must find
DOUBLES = 5  # every fifth case is a double kill


@attrs.frozen(kw_only=True)
class Case:
    """A point at which to kill the process; ``again`` is a point of the next process, or 0."""

    number: int  # from 1, of the undisturbed run
    point: Point
    down_ms: int
    again: int = 0
    defect: str = ""
    separate: bool = False  # stops are orders of their own


@attrs.frozen(kw_only=True)
class Outcome:
    case: Case
    kills: int
    failures: tuple[str, ...]


def undisturbed(folder: Path, separate: bool) -> list[Point]:
    """Return the points of a run that is not killed."""
    (folder / "files").mkdir()
    report = folder / "report.json"

    def run() -> None:
        live(folder / "files", scripted_market.START_MS, report, folder / "note", separate=separate)

    if code := in_process_of_its_own(run):
        raise SystemExit(
            f"the undisturbed run ended with exit code {code}; see its traceback above"
        )
    return [Point(*row) for row in json.loads(report.read_text())["points"]]


def spread(count: int, chosen: int) -> list[int]:
    """Return ``chosen`` numbers from 1 to ``count``, evenly spread, with both ends."""
    if chosen >= count:
        return list(range(1, count + 1))
    step = (count - 1) / max(1, chosen - 1)
    return sorted({1 + round(k * step) for k in range(chosen)})


def of_every_kind(points: Sequence[Point]) -> list[int]:
    """Return the numbers of the first and the second occurrence of each point."""
    seen: Counter[Point] = Counter()
    found = []
    for number, point in enumerate(points, 1):
        seen[point] += 1
        if seen[point] <= 2:
            found.append(number)
    return found


def cases(points: Sequence[Point], wanted: int, kinds: bool) -> list[Case]:
    numbers = set(spread(len(points), wanted)) | set(of_every_kind(points) if kinds else ())
    made = []
    for index, number in enumerate(sorted(numbers)):
        double = index % DOUBLES == DOUBLES - 1
        made.append(
            Case(
                number=number,
                point=points[number - 1],
                down_ms=DOWN_MS[index % len(DOWN_MS)],
                again=AGAIN[index // DOUBLES % len(AGAIN)] if double else 0,
            )
        )
    return made


def named(text: str, points: Sequence[Point]) -> Case:
    """Return the case of ``POINT:DOWN_MS:AGAIN``; POINT is a number or a point's name."""
    where, down_ms, again = text.rsplit(":", 2)
    number = int(where) if where.isdigit() else [str(point) for point in points].index(where) + 1
    return Case(number=number, point=points[number - 1], down_ms=int(down_ms), again=int(again))


def tried(case: Case, folder: Path) -> Outcome:
    """Run one case: kill the process, let another go on, and judge the files."""
    here, report, failures = folder / "files", folder / "report.json", list[str]()
    here.mkdir()
    lives: list[Life] = []
    lefts: list[Path] = []
    begin_ms = scripted_market.START_MS
    for kill_at in (case.number, case.again, 0):
        note = folder / f"note-{len(lives)}"
        code = in_process_of_its_own(
            partial(live, here, begin_ms, report, note, kill_at, case.defect, case.separate)
        )
        if code == 0:
            break
        if code != -signal.SIGKILL:
            return Outcome(
                case=case, kills=len(lefts), failures=(f"the process ended with exit code {code}",)
            )
        died = death_note(note)
        if not lives and Point(died.what, died.phase) != case.point:
            failures.append(
                f"killed at another point than that of the case: {died.what}, {died.phase}"
            )
        if case.defect == LOG_LOST:
            lose_the_log(here)
        lefts.append(folder / f"left-{len(lefts)}")
        what_a_kill_leaves(here, lefts[-1])
        lives.append(Life(begin_ms=begin_ms, ended_ms=died.at_ms))
        begin_ms = resumed_ms(died.at_ms, case.down_ms)
    failures += _judged(folder, begin_ms, lives, lefts)
    return Outcome(case=case, kills=len(lefts), failures=tuple(failures))


def _judged(folder: Path, begin_ms: int, lives: list[Life], lefts: list[Path]) -> list[str]:
    """Judge the files in a new process, and return the failures that it found."""
    verdict = folder / "verdict.json"

    def judge() -> None:
        report = json.loads((folder / "report.json").read_text())
        left = [files(path) for path in lefts]
        found: list[str] = []
        before = 0
        for number, one in enumerate(left):
            found += after_a_kill(one, death_note(folder / f"note-{number}"), before)
            before = len(one.events)
        every = [*lives, Life(begin_ms=begin_ms, ended_ms=report["ended_ms"])]
        found += after_recovery(folder / "files", left, every, report)
        verdict.write_text(json.dumps(found))

    if code := in_process_of_its_own(judge):
        return [f"the judge ended with exit code {code}"]
    return list(json.loads(verdict.read_text()))


def worked(mine: Sequence[Case], scratch: Path, answer: Path) -> None:
    """Run the cases of one worker in turn, each in a temporary directory."""
    with answer.open("w", encoding="utf-8") as told:
        for case in mine:
            with tempfile.TemporaryDirectory(dir=scratch) as folder:
                outcome = tried(case, Path(folder))
            told.write(json.dumps(attrs.asdict(outcome)) + "\n")
            told.flush()


def all_tried(todo: Sequence[Case], jobs: int, scratch: Path) -> list[dict[str, Any]]:
    """Run every case in ``jobs`` processes, and return their outcomes."""
    workers = []
    for job in range(jobs):
        worker = os.fork()
        if worker == 0:
            code = CRASHED
            try:
                worked(todo[job::jobs], scratch, scratch / f"answer-{job}")
                code = 0
            finally:
                os._exit(code)
        workers.append(worker)
    codes = [os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) for worker in workers]
    if any(codes):
        raise SystemExit(f"workers ended with {codes}; 0 is success, {CRASHED} an unexpected error")
    answers = [(scratch / f"answer-{job}").read_text().splitlines() for job in range(jobs)]
    rows = [json.loads(line) for lines in answers for line in lines]
    return sorted(rows, key=lambda row: row["case"]["number"])


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table of points: kills by phase, and the cases with failures."""
    cells: dict[str, Counter[str]] = defaultdict(Counter)
    failed: Counter[str] = Counter()
    for row in rows:
        point = row["case"]["point"]
        cells[point["what"]][point["phase"]] += 1
        failed[point["what"]] += bool(row["failures"])
    width = max(len(what) for what in cells)
    lines = [" ".join([f"{'killed at':{width}}", *(f"{p:>13.13}" for p in PHASES), " failures"])]
    for what in sorted(cells):
        counts = (f"{cells[what][phase] or '':>13}" for phase in PHASES)
        lines.append(" ".join([f"{what:{width}}", *counts, f"{failed[what]:>9}"]))
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--points", type=int, default=200, help="number of points, spread evenly over the run"
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write every case and the totals here")
    parser.add_argument(
        "--no-kinds",
        dest="kinds",
        action="store_false",
        help="leave out the first two points of every kind",
    )
    parser.add_argument(
        "--case",
        metavar="POINT:DOWN_MS:AGAIN",
        action="append",
        help="run only this case, which may be repeated",
    )
    alone = "use a venue that attaches no stop to an entry"
    parser.add_argument("--separate-stops", action="store_true", help=alone)
    parser.add_argument(
        "--defect", choices=DEFECTS, default="", help="a defect of the run that the suite must find"
    )
    asked = parser.parse_args(arguments)
    if asked.points < 1 or asked.jobs < 1:
        parser.error(f"--points is {asked.points} and --jobs {asked.jobs}; both must be 1 or more")
    started_ns = read_stopwatch_ns()
    with tempfile.TemporaryDirectory(prefix="kamou-kills-") as scratch:
        (Path(scratch) / "undisturbed").mkdir()
        points = undisturbed(Path(scratch) / "undisturbed", asked.separate_stops)
        todo = cases(points, asked.points, asked.kinds)
        if asked.case:
            todo = [named(text, points) for text in asked.case]
        todo = [
            attrs.evolve(case, defect=asked.defect, separate=asked.separate_stops) for case in todo
        ]
        rows = all_tried(todo, asked.jobs, Path(scratch))
    failures = [row for row in rows if row["failures"]]
    total = {
        "points_of_the_run": len(points),
        "kinds": len(set(points)),
        "cases": len(rows),
        "kills": sum(row["kills"] for row in rows),
        "double_kills": sum(row["kills"] > 1 for row in rows),
        "recovered": len(rows) - len(failures),
        "failures": len(failures),
        "seconds": round((read_stopwatch_ns() - started_ns) / 1e9, 1),
    }
    if asked.json:
        asked.json.write_text(json.dumps({**total, "rows": rows}, indent=1), encoding="utf-8")
    sys.stdout.write(table(rows) + "\n\n")
    for row in failures:
        case = row["case"]
        sys.stdout.write(f"--case {case['number']}:{case['down_ms']}:{case['again']} ")
        sys.stdout.write(f"({case['point']['what']}, {case['point']['phase']})\n")
        sys.stdout.writelines(f"  {text}\n" for text in row["failures"])
    sys.stdout.write(json.dumps(total) + "\n")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
