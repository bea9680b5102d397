"""Processes that run the production system on files until its end or a kill."""

from __future__ import annotations

import json
import os
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

from tests.actors import scripted_market
from tests.actors.system_harness import SETTINGS, at, run_system
from tests.simulation.kills.points import Points, adapter, hooked

LAST_RESUME_MS = (
    at(scripted_market.MINUTES) - 5_000
)  # a process that starts later runs a minute longer
AT_ONCE_MS = 200  # from a kill to the next process; no service manager is faster
CRASHED = 70  # exit code of an unexpected exception


def in_process_of_its_own(work: Callable[[], None]) -> int:
    """Run ``work`` in a fork; return its exit code, or minus the signal that ended it."""
    child = os.fork()
    if child == 0:
        code = CRASHED
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def resumed_ms(died_ms: int, down_ms: int) -> int:
    """Return the start of the next process, before the end of the script if possible."""
    return min(died_ms + down_ms, max(LAST_RESUME_MS, died_ms + AT_ONCE_MS))


def until_minute(begin_ms: int) -> int:
    return scripted_market.MINUTES + (begin_ms > LAST_RESUME_MS)


def live(
    folder: Path,
    begin_ms: int,
    report: Path,
    note: Path,
    kill_at: int = 0,
    defect: str = "",
    separate: bool = False,
) -> None:
    """Run the system on the files in ``folder`` to the market's end or its kill.

    At the market's end it writes ``report``; a kill at point ``kill_at`` (0: none) leaves ``note``.
    ``separate``: at a venue whose entries cannot carry their stops.
    """
    exchange = attrs.evolve(SETTINGS.exchange, attached_stop=not separate)
    points = Points(begin_ms, note, kill_at)
    with hooked(points):
        ended = run_system(
            data_dir=folder,
            begin_ms=begin_ms,
            minutes=until_minute(begin_ms),
            adapter=adapter(points, defect),
            settings=attrs.evolve(SETTINGS, exchange=exchange),
            durable=True,
        )
    told: dict[str, Any] = {
        "points": [[point.what, point.phase] for point in points.seen],
        "states": ended.states,
        "crashes": [repr(exit_.error) for exit_ in ended.crashes],
        "read_back_ms": points.read_back_ms,
        "ended_ms": at(until_minute(begin_ms)) + 20_000,
        "digest": ended.digest,
        "separate": separate,
    }
    report.write_text(json.dumps(told), encoding="utf-8")


def lose_the_log(folder: Path) -> None:
    """Cut the journal's write-ahead log in half, as a power cut may without a sync."""
    log = folder / "journal.sqlite3-wal"
    os.truncate(log, log.stat().st_size // 2)


def what_a_kill_leaves(folder: Path, copy: Path) -> None:
    """Copy the files as a kill leaves them, without shared memory."""
    copy.mkdir()
    for path in folder.iterdir():
        if not path.name.endswith("-shm"):
            shutil.copy(path, copy / path.name)
