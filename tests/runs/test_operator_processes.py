"""Tests of the operator's verbs as processes, over the Unix socket of a run.

The data directory's path is longer than a socket's name may be, the umask is 000, TCP is off.
"""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from kamou.clock import SystemClock
from kamou.core.day import MINUTE_MS
from kamou.data_directory.folder import DataDirectory, RunRecord
from kamou.operator.unix_socket import NAME_BYTES_MAX
from tests.runs.test_processes import GRACE_S, WITHIN_S, RunningProcess, command, start_run
from tests.small_demo import NOW_MS, assert_same_book, folded, journal, venue

ONLY_SOCKET = {**os.environ, "KAMOU__WEB__OPERATOR_TCP": "false"}


@pytest.fixture
def at_long_path(traded: DataDirectory) -> DataDirectory:
    """Move the traded data directory to a path of more than 200 bytes."""
    above = traded.path.with_name("x" * 200)
    above.mkdir()
    return DataDirectory(traded.path.rename(above / "data"))


async def run_verb(data_dir: DataDirectory, *words: str) -> tuple[int, Any, str]:
    """Run a verb as a process at the run's date; return exit code, JSON and stderr."""
    ahead_ms = NOW_MS + MINUTE_MS - SystemClock().now_ms()
    launcher = str(Path(__file__).with_name("at_date.py"))
    configuration = str(data_dir.path.with_name("kamou.toml"))
    options = ["--config", configuration, "--data-dir", str(data_dir.path), "--json"]
    done = await trio.run_process(
        [sys.executable, launcher, str(ahead_ms), words[0], *options, *words[1:]],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env=ONLY_SOCKET,
    )
    out = done.stdout.decode()
    return done.returncode, json.loads(out) if out else None, done.stderr.decode()


async def wait_until_trading(running: RunningProcess) -> None:
    """Wait until the run reports that it trades."""
    while True:
        _, seen, _ = await run_verb(running.data_dir, "status")
        if seen["running"] and seen["system"]["phase"] == "trading":
            return


async def test_the_operators_verbs_reach_a_run_over_its_socket_and_every_file_is_private(
    at_long_path: DataDirectory,
) -> None:
    assert len(os.fsencode(at_long_path.operator_socket)) > NAME_BYTES_MAX
    async with start_run(at_long_path, NOW_MS + MINUTE_MS, env=ONLY_SOCKET, umask=0o000) as running:
        assert any(line.endswith("/operator.sock") for line in running.said)
        await wait_until_trading(running)
        record = RunRecord.read(at_long_path)
        assert record is not None
        assert record.operator_port is None
        files = {p.name: stat.S_IMODE(p.stat().st_mode) for p in at_long_path.path.iterdir()}
        assert {name for name, mode in files.items() if mode != 0o600} == set()
        assert stat.S_IMODE(at_long_path.path.stat().st_mode) == 0o700

        code, told, _ = await run_verb(at_long_path, "halt", "--reason", "news")
        assert (code, told["state"]) == (0, "reduce_only")
        code, told, _ = await run_verb(at_long_path, "resume")
        assert (code, told["state"]) == (0, "active")
        code, told, _ = await run_verb(at_long_path, "flatten")
        assert (code, told["by"], told["positions_left"]) == (0, "run", 0)
        assert not venue(at_long_path).positions
        with trio.fail_after(GRACE_S):
            assert await running.stop_with(signal.SIGTERM) == 0
    assert not at_long_path.operator_socket.exists()
    assert not folded(journal(at_long_path)).trades.open
    assert_same_book(at_long_path)
    code, told, _ = await run_verb(at_long_path, "status")
    assert (code, told["running"]) == (3, False)


async def test_the_socket_of_a_killed_run_has_no_listener_and_the_next_run_replaces_it(
    at_long_path: DataDirectory,
) -> None:
    async with start_run(at_long_path, NOW_MS + MINUTE_MS, env=ONLY_SOCKET) as running:
        await wait_until_trading(running)
        assert await running.stop_with(signal.SIGKILL) == -signal.SIGKILL
    assert at_long_path.operator_socket.exists()
    code, _, err = await run_verb(at_long_path, "resume")
    assert code == 3
    assert "no run holds" in err
    before = at_long_path.token.read_text()
    async with start_run(at_long_path, NOW_MS + MINUTE_MS, env=ONLY_SOCKET) as running:
        await wait_until_trading(running)
        assert (await run_verb(at_long_path, "halt"))[0] == 0
    assert at_long_path.token.read_text() != before, "the token of an ended run is invalid"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_signal_during_the_fast_forward_stops_the_run_within_the_grace(
    tmp_path: Path, number: signal.Signals
) -> None:
    data_dir = DataDirectory(tmp_path / "data")
    async with start_run(data_dir, days=30) as running:
        while not any("fast-forward" in line for line in running.said):  # noqa: ASYNC110 - announced once
            await trio.sleep(0.01)
        with trio.fail_after(GRACE_S):
            assert await running.stop_with(number) == 0
    assert not data_dir.operator_socket.exists()


def test_a_run_without_unix_sockets_and_operator_tcp_ends_with_exit_code_4(
    tmp_path: Path,
) -> None:
    program = (
        "import errno, os, socket, sys\n"
        "class Deaf(socket.socket):\n"
        "    def bind(self, address):\n"
        "        if self.family == socket.AF_UNIX: raise OSError(errno.EPERM, 'not permitted')\n"
        "        super().bind(address)\n"
        "socket.socket = Deaf\n"
        "from kamou.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    arguments = command(DataDirectory(tmp_path / "data"), NOW_MS)[3:]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=ONLY_SOCKET,
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    assert done.returncode == 4
    assert "web.operator_tcp = true" in done.stderr
    assert done.stderr.count("\n") == 1
