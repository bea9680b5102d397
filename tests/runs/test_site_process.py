"""Tests of a run and its site as two processes: kills, stops, port, journal.

Each wait is bounded, and each test ends the processes that it started.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from kamou.core.book.events import DayOpened
from kamou.core.book.site_events import SiteFailed, SiteRecovered
from kamou.core.day import DAY_MS, MINUTE_MS
from kamou.data_directory.folder import DataDirectory, RunRecord
from kamou.store import database
from tests.ports import find_port_for_two_uses
from tests.runs import test_processes as runs
from tests.small_demo import NOW_MS, assert_same_book, folded, journal, of_kind, run_table

FREE_WITHIN_S = 10.0  # normally 0.5 s; a busy machine may run no process for seconds


def site_pid(running: runs.RunningProcess) -> int:
    """Return the id of the process that serves the pages of a run; 0 without one."""
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


async def wait_for_site(running: runs.RunningProcess, *, not_pid: int = 0) -> int:
    """Wait until a process other than ``not_pid`` serves pages, and return its id."""
    while not (pid := site_pid(running)) or pid == not_pid:  # noqa: ASYNC110 - another process
        await trio.sleep(0.02)
    async with httpx.AsyncClient(trust_env=False, timeout=runs.WITHIN_S) as http:
        answer = await http.get(f"http://127.0.0.1:{site_port(running)}/results")
        assert answer.status_code == 200
    return pid


def site_port(running: runs.RunningProcess) -> int:
    record = RunRecord.read(running.data_dir)
    assert record is not None
    return record.port


def site_events(data_dir: DataDirectory) -> list[object]:
    return [e for e in journal(data_dir) if isinstance(e, SiteFailed | SiteRecovered)]


# --- kills of the site -----------------------------------------------------------------------


async def test_a_site_that_is_killed_or_crashes_is_replaced_announced_and_journalled_once(
    traded: DataDirectory,
) -> None:
    async with runs.start_run(traded, NOW_MS + MINUTE_MS) as running:
        await running.ready()
        pid = await wait_for_site(running)
        for by in (signal.SIGKILL, signal.SIGSEGV):
            os.kill(pid, by)
            pid = await wait_for_site(running, not_pid=pid)
        status = (await running.ask("/api/v1/status")).json()
        assert status["site"]["restarts"] == 2
        assert status["site"]["state"] == "serving"
        ready = await running.ask("/readyz")
        assert (ready.status_code, ready.json()["degraded"]) == (200, [])
        assert "kamou_site_restarts_total 2.0" in (await running.ask("/metrics")).text
        assert _restarted(status["supervision"]) == {"site": 2}
        assert await running.stop_with(signal.SIGTERM) == 0
    assert len(site_events(traded)) == 1, "only the first failure is journalled"
    assert sum("public site is down" in line for line in running.said) == 1
    assert_same_book(traded)


def _restarted(node: dict[str, Any]) -> dict[str, int]:
    """Return the number of restarts of each restarted child."""
    found = {}
    if node.get("kind") == "worker" and node.get("restarts"):
        found[str(node["id"])] = int(str(node["restarts"]))
    for child in node.get("children", ()):
        found |= _restarted(child)
    return found


async def test_a_fast_forward_interrupted_after_a_crash_of_the_site_skips_no_day(
    tmp_path: Path,
) -> None:
    data_dir = DataDirectory(tmp_path / "data")
    async with runs.start_run(data_dir, days=3) as running:
        pid = await wait_for_site(running)
        await runs.wait_for_fast_forward(running)
        os.kill(pid, signal.SIGKILL)
        while not any("public site is down" in line for line in running.said):  # noqa: ASYNC110 - another process's text
            await trio.sleep(0.005)
        assert await running.stop_with(signal.SIGTERM) == 0
    interrupted = journal(data_dir)
    assert site_events(data_dir) == []
    assert interrupted[-1].at_ms < NOW_MS - DAY_MS, "the run was interrupted too late for this test"

    async with runs.start_run(data_dir, NOW_MS + 6 * MINUTE_MS, days=3) as running:
        await running.ready()
        assert await running.stop_with(signal.SIGTERM) == 0
    events = journal(data_dir)
    days = [event.day for event in of_kind(events, DayOpened)]
    assert len(days) == len(set(days)) >= 3
    resumed = events[len(interrupted) :]
    assert resumed[0].at_ms - interrupted[-1].at_ms < 10 * MINUTE_MS, "no hour was skipped"
    assert folded(events).seq == len(events)
    assert_same_book(data_dir)


# --- kills of the trading process ------------------------------------------------------------


def can_bind(port: int) -> bool:
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
    """The operating system continues a stopped site: its process group became an orphan."""
    async with runs.start_run(traded, NOW_MS + MINUTE_MS) as running:
        pid = await wait_for_site(running)
        port = site_port(running)
        if stopped:
            os.kill(pid, signal.SIGSTOP)
            while not is_stopped(pid):  # noqa: ASYNC110 - another process
                await trio.sleep(0.01)
        assert not can_bind(port)
        assert await running.stop_with(signal.SIGKILL) == -signal.SIGKILL
        with trio.fail_after(FREE_WITHIN_S):
            while not can_bind(port):  # noqa: ASYNC110 - the system's port
                await trio.sleep(0.01)
        with trio.fail_after(FREE_WITHIN_S):
            while is_alive(pid):  # noqa: ASYNC110 - another process
                await trio.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Return False if the process is gone or waits to be reaped by its new parent."""
    return process_state(pid) not in ("", "Z")


def is_stopped(pid: int) -> bool:
    """Return True if all threads are stopped, so that the process counts as stopped."""
    threads = [int(task.name) for task in Path(f"/proc/{pid}/task").iterdir()]
    return all(process_state(pid, thread) == "T" for thread in threads)


def process_state(pid: int, thread: int = 0) -> str:
    """Return the letter of the state of a process or a thread; empty if it is gone."""
    try:
        about = Path(f"/proc/{pid}/task/{thread or pid}/stat").read_text()
    except OSError:
        return ""
    return about.rpartition(")")[2].split()[0]


async def test_a_restart_at_once_after_a_kill_gets_the_same_port(traded: DataDirectory) -> None:
    port = find_port_for_two_uses()
    for _ in range(2):
        async with runs.start_run(traded, NOW_MS + MINUTE_MS, port=port) as running:
            await wait_for_site(running)
            assert site_port(running) == port
            assert await running.stop_with(signal.SIGKILL) == -signal.SIGKILL
        await trio.sleep(0.1)


async def test_a_run_stops_without_waiting_for_a_hung_site(
    traded: DataDirectory,
) -> None:
    async with runs.start_run(traded, NOW_MS + MINUTE_MS) as running:
        await running.ready()
        pid = await wait_for_site(running)
        os.kill(pid, signal.SIGSTOP)
        with trio.fail_after(runs.GRACE_S):
            assert await running.stop_with(signal.SIGTERM) == 0
        assert not is_alive(pid)
    assert run_table(traded)[-1] == (3, "stopped")
    assert_same_book(traded)


async def test_a_taken_port_ends_the_run_with_one_line(traded: DataDirectory) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        done = await trio.run_process(
            runs.command(traded, NOW_MS, port=port), capture_stderr=True, check=False
        )
    assert done.returncode == 1
    assert f"{port}" in done.stderr.decode()
    assert done.stderr.decode().count("\n") == 1


# --- `kamou site` ----------------------------------------------------------------------------


async def test_kamou_site_serves_the_results_of_a_data_directory_and_of_a_backup(
    traded: DataDirectory, tmp_path: Path
) -> None:
    backup = tmp_path / "backup.sqlite3"
    database.copy_journal(traded.database, backup)
    beside_run = ["--data-dir", str(traded.path)]
    for where, by in (
        (beside_run, signal.SIGINT),
        (["--database", str(backup)], signal.SIGTERM),
    ):
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
    assert run_table(traded)[-1] == (2, "stopped"), "the site's process wrote to the journal"
