"""Verbs that send requests to a run, against the real operator application."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from kamou.commands import operator, watch
from kamou.data_directory.folder import DataDirectory, RunRecord
from kamou.data_directory.latch import HaltLatch
from kamou.data_directory.lock import DataDirectoryLock
from kamou.errors import KamouError, TimedOutError
from kamou.operator.app import Operations, operator_app
from kamou.operator.token import new_token
from kamou.operator.unix_socket import bind_socket

Cli = Callable[..., tuple[int, str, str]]

MAILBOX = {"name": "veto", "depth": 1, "peak": 7, "dropped": 0, "expired": 2}
TREE = {
    "id": "root",
    "state": "running",
    "children": [
        {
            "id": "veto",
            "state": "running",
            "incarnation": 2,
            "restarts": 1,
            "last_error": "ValueError: boom",
            "mailboxes": [MAILBOX],
        }
    ],
}


class FakeRun:
    """Fake run behind the listener, which records its commands, denies or fails."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, str]] = []
        self.failure: Exception | None = None
        self.left = 0
        self.denial = ""

    def operations(self) -> Operations:
        def command(verb: str) -> Callable[[str], Awaitable[Mapping[str, Any]]]:
            async def act(reason: str) -> Mapping[str, Any]:
                if self.failure is not None:
                    raise self.failure
                self.commands.append((verb, reason))
                refused = {"refused": self.denial} if self.denial else {}
                return {"state": verb, "positions_left": self.left} | refused

            return act

        return Operations(
            snapshot=lambda: TREE,
            status=lambda: {"state": "active"},
            not_ready=lambda: (),
            halt=command("halt"),
            resume=command("resume"),
            flatten=command("flatten"),
        )


def write_record(
    directory: DataDirectory,
    port: int | None,
    pid: int | None = None,
    *,
    host: str = "127.0.0.1",
    unix: bool = False,
) -> None:
    RunRecord(
        pid=os.getpid() if pid is None else pid,
        mode="demo",
        host="127.0.0.1",
        port=8080,
        operator_host=host,
        operator_port=port,
        started_at_ms=1_700_000_000_000,
        operator_socket=unix,
    ).write(directory)


@contextmanager
def serve_system(system: FakeRun, server: socket.socket, token: str | None) -> Iterator[None]:
    """Serve the operator's application on a listening socket, in a thread."""
    stop = trio.Event()
    started = threading.Event()
    tokens: list[trio.lowlevel.TrioToken] = []
    hosts = ("127.0.0.1", "localhost")

    async def serving() -> None:
        tokens.append(trio.lowlevel.current_trio_token())
        app = operator_app(system.operations(), token=token, allowed_hosts=hosts)
        config = Config()
        config.bind = [f"fd://{os.dup(server.fileno())}"]
        config.accesslog = config.errorlog = None
        started.set()
        await serve(app, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]  # Hypercorn's own type of applications is narrower

    thread = threading.Thread(target=trio.run, args=(serving,))
    thread.start()
    assert started.wait(10)
    yield
    trio.from_thread.run_sync(stop.set, trio_token=tokens[0])
    thread.join(10)


@pytest.fixture(params=["socket", "tcp"])
def running(
    directory: DataDirectory, listening: socket.socket, request: pytest.FixtureRequest
) -> Iterator[FakeRun]:
    """Yield a fake run that holds the data directory and serves the socket or TCP."""
    system = FakeRun()
    with DataDirectoryLock(directory.path):
        token = new_token(directory.token)
        if request.param == "tcp":
            write_record(directory, listening.getsockname()[1])
            with serve_system(system, listening, token):
                yield system
        else:
            write_record(directory, None, unix=True)
            with bind_socket(directory.operator_socket) as bound, serve_system(system, bound, None):
                yield system


def test_status_of_a_run_shows_its_supervision_tree_and_mailboxes(
    cli: Cli, running: FakeRun, journalled: DataDirectory
) -> None:
    code, out, err = cli("status")
    assert (code, err) == (0, "")
    assert "  veto" in out
    assert "ValueError: boom" in out
    assert "ETHUSDT" in out
    seen = json.loads(cli("status", "--json")[1])
    assert seen["running"] is True
    assert seen["run"]["mode"] == "demo"
    assert seen["system"]["supervision"] == TREE


@pytest.mark.parametrize("words", [(), ("--reason", "over")])
def test_a_resume_that_the_run_denies_is_an_error_in_one_line(
    cli: Cli, running: FakeRun, words: tuple[str, ...]
) -> None:
    running.denial = "the day has not opened yet"
    line = (
        "the run denied the resume: the day has not opened yet; the trading state stays"
        " resume, resume"
    )
    assert cli("resume", *words) == (6, "", f"error: {line}\n")
    code, out, err = cli("resume", "--json", *words)
    assert (code, json.loads(out)["refused"]) == (6, running.denial)
    assert err == f"error: {line}\n"


def test_halt_and_resume_send_the_reason(cli: Cli, running: FakeRun) -> None:
    code, out, _ = cli("halt", "--reason", "news", "--json")
    assert (code, json.loads(out)["state"]) == (0, "halt")
    assert cli("resume")[0] == 0
    assert running.commands == [("halt", "news"), ("resume", "")]


def fail(*_: object, **__: object) -> dict[str, Any]:
    """Replace the kill switch where it must not run."""
    raise AssertionError


def test_flatten_sets_the_latch_and_sends_flatten_to_the_run(
    cli: Cli, running: FakeRun, directory: DataDirectory, compose: Callable[..., None]
) -> None:
    compose("flatten", fail, count_venue_positions=lambda *_, **__: 0)
    code, out, _ = cli("flatten", "--json")
    assert code == 0
    assert json.loads(out)["by"] == "run"
    assert running.commands == [("flatten", "")]
    assert HaltLatch(directory.latch).is_set()


def test_flatten_closes_positions_itself_if_the_run_fails(
    cli: Cli, running: FakeRun, compose: Callable[..., None]
) -> None:
    compose("flatten", lambda *_, **__: {}, count_venue_positions=lambda *_, **__: 0)
    running.failure = KamouError("the governor is not up")
    code, out, err = cli("flatten", "--json")
    assert (code, json.loads(out)["by"]) == (0, "flatten")
    assert "flattening without the run, because the governor is not up" in err


def test_flatten_closes_the_positions_that_the_run_left_open(
    cli: Cli, running: FakeRun, compose: Callable[..., None]
) -> None:
    counts = iter([2, 0])  # at the venue, after the run's response and after the kill switch
    compose("flatten", lambda *_, **__: {}, count_venue_positions=lambda *_, **__: next(counts))
    running.left = 0  # in the run's response
    code, out, err = cli("flatten", "--json")
    assert (code, json.loads(out)["by"]) == (0, "flatten")
    assert json.loads(out)["positions_left"] == 0
    assert "the run left 2 positions open" in err


def test_a_halt_that_a_run_does_not_confirm_is_a_timeout_and_sets_the_latch(
    cli: Cli, running: FakeRun, directory: DataDirectory
) -> None:
    running.failure = TimedOutError("no answer in 5 s")
    code, _, err = cli("halt")
    assert code == 5
    assert "no answer in 5 s; the halt latch is set: entries are denied" in err
    assert HaltLatch(directory.latch).is_set()


def test_a_listener_that_does_not_answer_is_a_timeout(
    cli: Cli, directory: DataDirectory, listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "DEADLINE_S", 0.05)
    with DataDirectoryLock(directory.path):
        new_token(directory.token)
        write_record(directory, listening.getsockname()[1])
        code, _, err = cli("halt")
    assert code == 5
    assert "`kamou flatten` needs no answer of that process" in err


def test_a_halt_of_a_run_that_does_not_listen_sets_the_latch_and_fails_as_not_running(
    cli: Cli, directory: DataDirectory
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with DataDirectoryLock(directory.path):
        new_token(directory.token)
        write_record(directory, port)
        code, _, err = cli("halt")
    assert code == 3
    assert f"did not answer on port {port}" in err
    assert HaltLatch(directory.latch).is_set(), "the latch blocks entries"


def test_the_record_of_an_earlier_run_is_ignored(cli: Cli, directory: DataDirectory) -> None:
    with DataDirectoryLock(directory.path):
        write_record(directory, 1, pid=1)
        code, _, err = cli("status")
        assert code == 3
        assert "does not listen yet" in err
        assert cli("halt")[0] == 0
    assert HaltLatch(directory.latch).is_set(), "the latch blocks entries of a run that is starting"


def test_a_halt_without_a_readable_token_is_an_error(cli: Cli, directory: DataDirectory) -> None:
    with DataDirectoryLock(directory.path):
        write_record(directory, 1)
        code, _, err = cli("halt")
    assert code == 1
    assert "cannot read the operator token" in err


@pytest.mark.parametrize(
    ("bound", "reached"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("", "127.0.0.1"),
        ("::", "[::1]"),
        ("fe80::1", "[fe80::1]"),
        ("10.0.0.1", "10.0.0.1"),
    ],
)
def test_only_a_listener_on_all_addresses_is_reached_on_the_loopback(
    bound: str, reached: str
) -> None:
    assert operator._connect_address(bound) == reached


def test_the_watch_shows_a_run_until_it_is_interrupted(
    cli: Cli, running: FakeRun, journalled: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def wait_for_signal(seconds: float, woken: int) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch, "wait_for_signal", wait_for_signal)
    code, out, err = cli("status", "--watch", "--interval", 3)
    assert (code, err) == (0, "")
    assert waited == [3, 3]
    first, second = out.split("\n\n")
    for output in (first, second):
        assert "kamou demo  running" in output
        assert "ETHUSDT" in output
        assert "veto: 1 restart, last error ValueError: boom" in output
