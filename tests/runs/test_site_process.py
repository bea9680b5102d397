"""``kamou run`` and its public site as two processes: kills, a stop, the port, and the journal.

Each wait is bounded and each process is ended by the test that started it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import test_processes as runs
import trio
from small_demo import NOW_MS, assert_same_book, folded, journal, of_kind, run_table

from kamou.core.book.events import DayOpened
from kamou.core.book.site_events import SiteFailed, SiteRecovered
from kamou.core.day import DAY_MS, MINUTE_MS
from kamou.data_directory.folder import DataDirectory, RunRecord
from kamou.store import database

FREE_WITHIN_S = 10.0  # the promise is 0.5 s; a busy machine schedules nobody for seconds


def site_of(running: runs.RunningProcess) -> int:
    """The process that serves the pages of a run."""
    found = []
    for about in Path("/proc").glob("[0-9]*"):
        try:
            parent = (about / "stat").read_text().rpartition(")")[2].split()[1]
            command = (about / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == running.process.pid and b"kamou.web.process" in command:
            found.append(int(about.name))
    assert len(found) <= 1, "two processes serve the pages"
    return found[0] if found else 0


async def serving(running: runs.RunningProcess, *, not_pid: int = 0) -> int:
    """Wait until a process serves pages, another one than ``not_pid``."""
    while not (pid := site_of(running)) or pid == not_pid:  # noqa: ASYNC110 - another process
        await trio.sleep(0.02)
    async with httpx.AsyncClient(trust_env=False, timeout=runs.WITHIN_S) as http:
        answer = await http.get(f"http://127.0.0.1:{port_of(running)}/results")
        assert answer.status_code == 200
    return pid


def port_of(running: runs.RunningProcess) -> int:
    record = RunRecord.read(running.folder)
    assert record is not None
    return record.port


def site_events(folder: DataDirectory) -> list[object]:
    return [e for e in journal(folder) if isinstance(e, SiteFailed | SiteRecovered)]


# --- the site dies -----------------------------------------------------------------------


async def test_a_site_that_dies_or_hangs_while_it_trades_is_replaced_told_and_journalled_once(
    traded: DataDirectory,
) -> None:
    async with runs.started(traded, NOW_MS + MINUTE_MS) as running:
        await running.ready()
        pid = await serving(running)
        for by in (signal.SIGKILL, signal.SIGSEGV):
            os.kill(pid, by)
            pid = await serving(running, not_pid=pid)
        status = (await running.ask("/api/v1/status")).json()
        assert status["site"]["restarts"] == 2
        assert status["site"]["state"] == "serving"
        ready = await running.ask("/readyz")
        assert (ready.status_code, ready.json()["degraded"]) == (200, [])
        assert "kamou_site_restarts_total 2.0" in (await running.ask("/metrics")).text
        assert _restarted(status["supervision"]) == {"site": 2}
        assert await running.ended(signal.SIGTERM) == 0
    assert len(site_events(traded)) == 1, "one event when it goes down, counts in between"
    assert sum("public site is down" in line for line in running.said) == 1
    assert_same_book(traded)


def _restarted(node: dict[str, object]) -> dict[str, int]:
    """Every child that was restarted, and how often."""
    found = {}
    if node.get("kind") == "worker" and node.get("restarts"):
        found[str(node["id"])] = int(str(node["restarts"]))
    for child in node.get("children", ()):  # type: ignore[attr-defined]
        found |= _restarted(child)
    return found


async def test_a_history_interrupted_after_a_crash_of_the_site_skips_no_day(
    tmp_path: Path,
) -> None:
    folder = DataDirectory(tmp_path / "data")
    async with runs.started(folder, days=3) as running:
        pid = await serving(running)
        await runs.in_history(running)
        os.kill(pid, signal.SIGKILL)
        while not any("public site is down" in line for line in running.said):  # noqa: ASYNC110 - another process's text
            await trio.sleep(0.005)
        assert await running.ended(signal.SIGTERM) == 0
    interrupted = journal(folder)
    assert site_events(folder) == []
    assert interrupted[-1].at_ms < NOW_MS - DAY_MS, "it was interrupted too late to prove anything"

    async with runs.started(folder, NOW_MS + 6 * MINUTE_MS, days=3) as running:
        await running.ready()
        assert await running.ended(signal.SIGTERM) == 0
    events = journal(folder)
    days = [event.day for event in of_kind(events, DayOpened)]
    assert len(days) == len(set(days)) >= 3
    resumed = events[len(interrupted) :]
    assert resumed[0].at_ms - interrupted[-1].at_ms < 10 * MINUTE_MS, "no hour was skipped"
    assert folded(events).seq == len(events)
    assert_same_book(folder)


# --- the trading process dies ------------------------------------------------------------


def bindable(port: int) -> bool:
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
        return True


@pytest.mark.parametrize("stopped", [False, True])
async def test_the_port_is_free_soon_after_the_trading_process_is_killed(
    traded: DataDirectory, stopped: bool
) -> None:
    """A site that is stopped is woken by the system: its group has become an orphaned one."""
    async with runs.started(traded, NOW_MS + MINUTE_MS) as running:
        pid = await serving(running)
        port = port_of(running)
        if stopped:
            os.kill(pid, signal.SIGSTOP)
            while not stopped_whole(pid):  # noqa: ASYNC110 - another process
                await trio.sleep(0.01)
        assert not bindable(port)
        assert await running.ended(signal.SIGKILL) == -signal.SIGKILL
        with trio.fail_after(FREE_WITHIN_S):
            while not bindable(port):  # noqa: ASYNC110 - the system's port
                await trio.sleep(0.01)
        with trio.fail_after(FREE_WITHIN_S):
            while alive(pid):  # noqa: ASYNC110 - another process
                await trio.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether it is neither gone nor waiting to be reaped by whoever adopted it."""
    return state(pid) not in ("", "Z")


def stopped_whole(pid: int) -> bool:
    """Whether every thread is stopped: only then does the system count the process as stopped."""
    threads = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
    return all(state(pid, thread) == "T" for thread in threads)


def state(pid: int, thread: int = 0) -> str:
    """The letter of the state of a process, or of one of its threads; empty when it is gone."""
    try:
        about = Path(f"/proc/{pid}/task/{thread or pid}/stat").read_text()
    except OSError:
        return ""
    return about.rpartition(")")[2].split()[0]


async def test_a_restart_at_once_after_a_kill_gets_the_same_port(traded: DataDirectory) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    for _ in range(2):
        async with runs.started(traded, NOW_MS + MINUTE_MS, port=port) as running:
            await serving(running)
            assert port_of(running) == port
            assert await running.ended(signal.SIGKILL) == -signal.SIGKILL
        await trio.sleep(0.1)


async def test_a_run_that_is_told_to_stop_does_not_wait_for_a_site_that_hangs(
    traded: DataDirectory,
) -> None:
    async with runs.started(traded, NOW_MS + MINUTE_MS) as running:
        await running.ready()
        pid = await serving(running)
        os.kill(pid, signal.SIGSTOP)
        with trio.fail_after(runs.GRACE_S):
            assert await running.ended(signal.SIGTERM) == 0
        assert not alive(pid)
    assert run_table(traded)[-1] == (3, "stopped")
    assert_same_book(traded)


async def test_a_port_that_is_taken_ends_the_run_with_one_line(traded: DataDirectory) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = await trio.run_process(
            runs.command(traded, NOW_MS, port=port), capture_stderr=True, check=False
        )
    assert done.returncode == 1
    assert f"{port}" in done.stderr.decode()
    assert done.stderr.decode().count("\n") == 1


# --- the pages alone ---------------------------------------------------------------------


async def test_the_pages_are_served_alone_beside_a_run_and_from_a_backup(
    traded: DataDirectory, tmp_path: Path
) -> None:
    backup = tmp_path / "backup.sqlite3"
    database.copy_journal(traded.database, backup)
    from_folder = ["--data-dir", str(traded.path)]
    for where, by in ((from_folder, signal.SIGINT), (["--database", str(backup)], signal.SIGTERM)):
        command = [sys.executable, "-m", "kamou", "site", *where, "--port", "0"]
        process = await trio.lowlevel.open_process(
            command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        )
        assert process.stderr is not None
        try:
            with trio.fail_after(runs.WITHIN_S):
                said = (await process.stderr.receive_some()).decode()
                url = said.removeprefix("results: ").strip()
                async with httpx.AsyncClient(trust_env=False, timeout=runs.WITHIN_S) as http:
                    found = (await http.get(url + ".json")).json()
                assert found["mode"] == "demo"
                assert found["trades_total"] > 10
                process.send_signal(by)
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await process.stderr.aclose()
    assert run_table(traded)[-1] == (2, "stopped"), "it wrote nothing"
