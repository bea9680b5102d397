"""Trials of source changes in forks of one pytest process with all imports done.

The parent collects the tests once and runs none. One fork notes which functions each test calls,
and the CPU time of the test. Then each change is tried in another fork: the live functions take
the changed code, the tests that call the changed function run, the cheapest first, and after them
simulations, up to the first test or simulation that fails.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, BinaryIO

import attrs
import pytest

from kamou.simulator.faults import parse_faults
from kamou.simulator.scenario import Scenario
from kamou.simulator.swarm import simulate_seed
from tests.simulation.machine_mutants import Change, codes_of

ROOT = Path(__file__).parents[2]
Live = dict[tuple[str, str], list[FunctionType]]
"""The functions that exist: file, from the root, and qualified name -> all of them."""

Runs = tuple[str, float, Sequence[int]]
SIMULATIONS: tuple[Runs, ...] = (
    ("all", 0.5, range(1, 6)),
    ("none", 0.3, (1,)),
    ("operator,tight_limits", 0.5, (1,)),
    ("external_order,lying_venue", 0.5, (1,)),
    ("narrow_day_budget", 0.5, (1,)),
    ("narrow_cluster", 0.5, (1,)),
)
"""Faults, hours and seeds of the simulations that judge what no test notices."""

TESTS_MAX_S = 90.0  # for the tests of one change; after this time simulations judge it
IN_SIMULATIONS = "simulations"  # what the simulations call is noted under this name
TRIAL_MAX_S = 300.0  # for one change in all; a change may let the system run for ever


@attrs.frozen(kw_only=True)
class Outcome:
    """The outcome of one change; ``by`` is the failed test or simulation, or empty."""

    change: Change
    by: str
    tests: int  # that ran
    left: int  # that call the function, and did not run within the time
    seconds: float

    @property
    def caught(self) -> bool:
        return bool(self.by)


@attrs.define(eq=False)
class Trials:
    """A pytest plugin: in place of running the tests it tries ``changes`` with them."""

    changes: Sequence[Change]
    files: Collection[str]  # in which calls are noted, from the root
    jobs: int
    report: Callable[[Outcome], None]
    simulations: Sequence[Runs] = SIMULATIONS
    only_of: Mapping[str, str] = attrs.Factory(dict)  # file of tests -> the only file it judges
    notes: Path | None = None  # what each test calls, kept from run to run
    broken: str = ""  # why nothing could be judged
    _callers: dict[str, list[tuple[float, str]]] = attrs.Factory(dict)
    _items: dict[str, pytest.Item] = attrs.Factory(dict)
    _failed: list[str] = attrs.Factory(list)

    # --- hooks of pytest ---------------------------------------------------------

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        if session.testsfailed:
            self.broken = "the tests could not be collected"
            return True
        self._items = {item.nodeid: item for item in session.items}
        live = live_functions(self.files)
        gc.collect()
        gc.freeze()
        known = json.loads(self.notes.read_text()) if self.notes and self.notes.exists() else {}
        told = Fork.of(lambda: self._note_calls(live, known)).told()
        if not told or "failed" in told:
            self.broken = f"the unchanged product fails: {told or 'the process died'}"
            return True
        if self.notes:
            self.notes.write_text(json.dumps(told), encoding="utf-8")
        for nodeid, (seconds, functions) in told.items():
            for function in functions if nodeid in {*self._items, IN_SIMULATIONS} else ():
                self._callers.setdefault(function, []).append((seconds, nodeid))
        self._try_all(live)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._failed.append(report.nodeid)

    # --- the functions that each test calls ----------------------------------------

    def _note_calls(self, live: Live, known: dict[str, Any]) -> dict[str, Any]:
        """Run the tests not in ``known`` and the simulations on the unchanged product.

        Returns the CPU seconds and the called functions by the name of the test; only ``failed``
        with the name of a test or simulation that fails.
        """
        names = {id(f.__code__): " ".join(key) for key, found in live.items() for f in found}
        called: set[str] = set()
        notes: dict[str, Any] = dict(known)

        def trace(frame: FrameType, event: str, argument: object) -> None:
            if (name := names.get(id(frame.f_code))) is not None:
                called.add(name)

        threading.settrace(trace)
        unknown = [nodeid for nodeid in self._items if nodeid not in known]
        for nodeid, following in pairwise([*unknown, ""]):
            called.clear()
            begun_s = time.process_time()
            sys.settrace(trace)
            failed = self._failure(nodeid, following)
            sys.settrace(None)
            if failed:
                return {"failed": failed}
            notes[nodeid] = round(time.process_time() - begun_s, 3), sorted(called)
        called.clear()
        sys.settrace(trace)
        failed = first_failed_simulation(self.simulations)
        sys.settrace(None)
        threading.settrace(None)
        notes[IN_SIMULATIONS] = 0.0, sorted(called)
        return {"failed": failed} if failed else notes

    def _failure(self, nodeid: str, following: str) -> str:
        """Run a test; return its name if it fails, and keep what ``following`` shares."""
        item = self._items[nodeid]
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=self._items.get(following))
        return self._failed[0] if self._failed else ""

    # --- a forked process for each change ---------------------------------------------

    def _try_all(self, live: Live) -> None:
        waiting, running = list(reversed(self.changes)), list[tuple[Change, Fork]]()
        while waiting or running:
            while waiting and len(running) < self.jobs:
                change = waiting.pop()
                running.append((change, Fork.of(partial(self._try, change, live))))
            select.select([fork.answer for _, fork in running], [], [], 1.0)
            for change, fork in tuple(running):
                if fork.ended(TRIAL_MAX_S):
                    running.remove((change, fork))
                    told = {
                        "tests": 0,
                        "left": 0,
                        "by": "it did not end, or sent no result",
                        **fork.told(),
                    }
                    if "broken" in told:
                        self.broken = told["broken"]
                        waiting.clear()
                    else:
                        self.report(Outcome(change=change, seconds=fork.seconds, **told))

    def _try(self, change: Change, live: Live) -> dict[str, Any]:
        try:
            put_in(change, live)
        except (AssertionError, ValueError) as error:
            return {"broken": f"{change.name} cannot be put in: {error}"}
        callers = self._callers_of(change, live)
        in_simulations = IN_SIMULATIONS in callers
        callers = [nodeid for nodeid in callers if nodeid != IN_SIMULATIONS]
        done = {"by": "", "tests": len(callers)}
        begun_s = time.monotonic()
        for number, (nodeid, following) in enumerate(pairwise([*callers, ""])):
            if time.monotonic() - begun_s > TESTS_MAX_S:
                done = {"by": "", "tests": number, "left": len(callers) - number}
                break
            if failed := self._failure(nodeid, following):
                return {"by": failed, "tests": number + 1}
        return done | {"by": first_failed_simulation(self.simulations) if in_simulations else ""}

    def _callers_of(self, change: Change, live: Live) -> list[str]:
        """Return what calls the changed function: tests by cost, and the simulations."""
        function = change.function
        if (change.file, function) not in live:  # a function that each call makes for itself
            function = function.partition(".<locals>")[0]
        asked = self._callers.get(f"{change.file} {function}", [])
        return [
            nodeid
            for _, nodeid in sorted(asked)
            if self.only_of.get(nodeid.partition("::")[0], change.file) == change.file
        ]


@attrs.define(eq=False)
class Fork:
    """A fork of this process, and the pipe on which it sends its result as JSON."""

    pid: int
    answer: BinaryIO
    begun_s: float
    seconds: float = 0.0

    @classmethod
    def of(cls, work: Callable[[], dict[str, Any]]) -> Fork:
        """Begin ``work`` in a fork with a new session; return the fork."""
        reading, writing = os.pipe()
        if pid := os.fork():
            os.close(writing)
            return cls(pid, os.fdopen(reading, "rb"), time.monotonic())
        status = 1
        try:
            os.setsid()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
            with os.fdopen(writing, "wb") as answer:
                answer.write(json.dumps(work()).encode())
            status = 0
        finally:
            os._exit(status)

    def ended(self, within_s: float) -> bool:
        """Return True if a result or an end is there; kill the fork after ``within_s``."""
        self.seconds = time.monotonic() - self.begun_s
        if self.seconds > within_s:
            os.killpg(self.pid, signal.SIGKILL)
            return True
        return bool(select.select([self.answer], [], [], 0)[0])

    def told(self) -> dict[str, Any]:
        """Wait for the end of the fork; return its result, empty if it sent none."""
        with self.answer:
            text = self.answer.read()
        os.waitpid(self.pid, 0)
        return dict(json.loads(text)) if text else {}


def first_failed_simulation(simulations: Iterable[Runs]) -> str:
    """Run simulations up to the first failure; return its text, or an empty text."""
    for faults, hours, seeds in simulations:
        for seed in seeds:
            try:
                result = simulate_seed(
                    Scenario(seed=seed, hours=hours, faults=parse_faults(faults))
                )
            except Exception as error:
                return f"simulation {faults}, seed {seed}: {type(error).__name__}"
            if result.failed:
                return f"simulation {faults}, seed {seed}: {result.violations[0].rule}"
    return ""


def live_functions(files: Iterable[str]) -> Live:
    """Return the live functions of these files by (file from the root, name).

    A closure exists as often as its outer function was called.
    """
    wanted = {str(ROOT / file): file for file in files}
    found: Live = {}
    for thing in gc.get_objects():
        if isinstance(thing, FunctionType) and thing.__code__.co_filename in wanted:
            code = thing.__code__
            found.setdefault((wanted[code.co_filename], code.co_qualname), []).append(thing)
    return found


def put_in(change: Change, live: Live) -> None:
    """Replace the code of the live functions around the change by that of the changed text."""
    path = ROOT / change.file
    text = change.applied(path.read_text(encoding="utf-8"))
    codes: dict[str, CodeType] = codes_of(compile(text, str(path), "exec", dont_inherit=True))
    given = 0
    for (file, name), functions in live.items():
        if file == change.file and change.function.startswith(name):
            for function in functions:
                function.__code__ = codes[name]
                given += 1
    assert given, f"no live function has the code of {change.file} {change.function}"
