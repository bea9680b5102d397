"""The operator's verbs as processes against ``kamou run`` as a process, over the Unix socket alone.

The folder's path is longer than a socket's name may be, the umask is 000, and TCP is off.
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
from small_demo import NOW_MS, assert_same_book, folded, journal, venue
from test_processes import GRACE_S, WITHIN_S, RunningProcess, command, started

from kamou.clock import SystemClock
from kamou.core.day import MINUTE_MS
from kamou.data_directory.folder import DataDirectory, RunRecord
from kamou.operator.unix_socket import NAME_BYTES_MAX

ONLY_SOCKET = {**os.environ, "KAMOU__WEB__OPERATOR_TCP": "false"}


@pytest.fixture
def deep(traded: DataDirectory) -> DataDirectory:
    """The traded folder at a path of more than 200 bytes."""
    above = traded.path.with_name("x" * 200)
    above.mkdir()
    return DataDirectory(traded.path.rename(above / "data"))


async def verb(folder: DataDirectory, *words: str) -> tuple[int, Any, str]:
    """A verb in a process of its own, at the run's date: exit code, its JSON, standard error."""
    ahead_ms = NOW_MS + MINUTE_MS - SystemClock().now_ms()
    launcher = str(Path(__file__).with_name("at_date.py"))
    configuration = str(folder.path.with_name("kamou.toml"))
    options = ["--config", configuration, "--data-dir", str(folder.path), "--json"]
    done = await trio.run_process(
        [sys.executable, launcher, str(ahead_ms), words[0], *options, *words[1:]],
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env=ONLY_SOCKET,
    )
    out = done.stdout.decode()
    return done.returncode, json.loads(out) if out else None, done.stderr.decode()


async def trading(running: RunningProcess) -> None:
    """Return once the run trades, by its own word."""
    while True:
        _, seen, _ = await verb(running.folder, "status")
        if seen["running"] and seen["system"]["phase"] == "trading":
            return


async def test_every_verb_speaks_to_a_run_over_its_socket_and_every_file_is_its_owners(
    deep: DataDirectory,
) -> None:
    assert len(os.fsencode(deep.operator_socket)) > NAME_BYTES_MAX
    async with started(deep, NOW_MS + MINUTE_MS, env=ONLY_SOCKET, umask=0o000) as running:
        assert any(line.endswith("/operator.sock") for line in running.said)
        await trading(running)
        record = RunRecord.read(deep)
        assert record is not None
        assert record.operator_port is None
        files = {p.name: stat.S_IMODE(p.stat().st_mode) for p in deep.path.iterdir()}
        assert {name for name, mode in files.items() if mode != 0o600} == set()
        assert stat.S_IMODE(deep.path.stat().st_mode) == 0o700

        code, told, _ = await verb(deep, "halt", "--reason", "news")
        assert (code, told["state"]) == (0, "reduce_only")
        code, told, _ = await verb(deep, "resume")
        assert (code, told["state"]) == (0, "active")
        code, told, _ = await verb(deep, "flatten")
        assert (code, told["by"], told["positions_left"]) == (0, "run", 0)
        assert not venue(deep).positions
        with trio.fail_after(GRACE_S):
            assert await running.ended(signal.SIGTERM) == 0
    assert not deep.operator_socket.exists()
    assert not folded(journal(deep)).trades
    assert_same_book(deep)
    code, told, _ = await verb(deep, "status")
    assert (code, told["running"]) == (3, False)


async def test_the_socket_of_a_killed_run_is_nobody_and_the_next_run_replaces_it(
    deep: DataDirectory,
) -> None:
    async with started(deep, NOW_MS + MINUTE_MS, env=ONLY_SOCKET) as running:
        await trading(running)
        assert await running.ended(signal.SIGKILL) == -signal.SIGKILL
    assert deep.operator_socket.exists()
    code, _, err = await verb(deep, "resume")
    assert code == 3
    assert "no run holds" in err
    before = deep.token.read_text()
    async with started(deep, NOW_MS + MINUTE_MS, env=ONLY_SOCKET) as running:
        await trading(running)
        assert (await verb(deep, "halt"))[0] == 0
    assert deep.token.read_text() != before, "a token is worth nothing after its run"


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_during_history_stops_it_within_the_grace(
    tmp_path: Path, told: signal.Signals
) -> None:
    folder = DataDirectory(tmp_path / "data")
    async with started(folder, days=30) as running:
        while not any("fast-forward" in line for line in running.said):  # noqa: ASYNC110 - told once
            await trio.sleep(0.01)
        with trio.fail_after(GRACE_S):
            assert await running.ended(told) == 0
    assert not folder.operator_socket.exists()


def test_a_run_with_neither_sockets_nor_tcp_is_refused_as_a_configuration(
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
