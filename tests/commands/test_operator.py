"""The verbs that speak to a running system, against the real operator listener."""

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
from kamou.data_directory.lock import DataFolderLock
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


class System:
    """What stands behind the listener: remembers its orders, or fails as it is told to."""

    def __init__(self) -> None:
        self.orders: list[tuple[str, str]] = []
        self.trouble: Exception | None = None
        self.left = 0
        self.refusal = ""

    def operations(self) -> Operations:
        def command(verb: str) -> Callable[[str], Awaitable[Mapping[str, Any]]]:
            async def act(reason: str) -> Mapping[str, Any]:
                if self.trouble is not None:
                    raise self.trouble
                self.orders.append((verb, reason))
                refused = {"refused": self.refusal} if self.refusal else {}
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


def record(
    folder: DataDirectory,
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
    ).write(folder)


@contextmanager
def served(system: System, server: socket.socket, token: str | None) -> Iterator[None]:
    """The operator's application on a listening socket, in a thread of its own."""
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
        await serve(app, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type]

    thread = threading.Thread(target=trio.run, args=(serving,))
    thread.start()
    assert started.wait(10)
    yield
    trio.from_thread.run_sync(stop.set, trio_token=tokens[0])
    thread.join(10)


@pytest.fixture(params=["socket", "tcp"])
def running(
    folder: DataDirectory, listening: socket.socket, request: pytest.FixtureRequest
) -> Iterator[System]:
    """A system that holds the data directory and serves its operator, either way."""
    system = System()
    with DataFolderLock(folder.path):
        token = new_token(folder.token)
        if request.param == "tcp":
            record(folder, listening.getsockname()[1])
            with served(system, listening, token):
                yield system
        else:
            record(folder, None, unix=True)
            with bind_socket(folder.operator_socket) as bound, served(system, bound, None):
                yield system


def test_status_of_a_running_system_shows_its_tree_and_mailboxes(
    cli: Cli, running: System, journalled: DataDirectory
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
def test_a_resume_that_the_run_refuses_is_told_in_one_line(
    cli: Cli, running: System, words: tuple[str, ...]
) -> None:
    running.refusal = "the day has not opened yet"
    line = (
        "the run denied the resume: the day has not opened yet; the trading state stays"
        " resume, resume"
    )
    assert cli("resume", *words) == (6, "", f"error: {line}\n")
    code, out, err = cli("resume", "--json", *words)
    assert (code, json.loads(out)["refused"]) == (6, running.refusal)
    assert err == f"error: {line}\n"


def test_halt_and_resume_pass_the_reason_on(cli: Cli, running: System) -> None:
    code, out, _ = cli("halt", "--reason", "news", "--json")
    assert (code, json.loads(out)["state"]) == (0, "halt")
    assert cli("resume")[0] == 0
    assert running.orders == [("halt", "news"), ("resume", "")]


def never(*_: object, **__: object) -> dict[str, Any]:
    """Stands in for the kill switch where it has nothing to do."""
    raise AssertionError


def test_flatten_asks_the_running_system_with_the_latch_already_set(
    cli: Cli, running: System, folder: DataDirectory, compose: Callable[..., None]
) -> None:
    compose("flatten", never, positions_at_venue=lambda *_, **__: 0)
    code, out, _ = cli("flatten", "--json")
    assert code == 0
    assert json.loads(out)["by"] == "run"
    assert running.orders == [("flatten", "")]
    assert HaltLatch(folder.latch).is_set()


def test_a_running_system_that_fails_cannot_keep_flatten_from_closing(
    cli: Cli, running: System, compose: Callable[..., None]
) -> None:
    compose("flatten", lambda *_, **__: {}, positions_at_venue=lambda *_, **__: 0)
    running.trouble = KamouError("the governor is not up")
    code, out, err = cli("flatten", "--json")
    assert (code, json.loads(out)["by"]) == (0, "flatten")
    assert "without the run: the governor is not up" in err


def test_what_a_running_system_leaves_open_is_closed_without_it(
    cli: Cli, running: System, compose: Callable[..., None]
) -> None:
    counts = iter([2, 0])  # at the venue: after the system's answer, after the kill switch
    compose("flatten", lambda *_, **__: {}, positions_at_venue=lambda *_, **__: next(counts))
    running.left = 0  # what it says
    code, out, err = cli("flatten", "--json")
    assert (code, json.loads(out)["by"]) == (0, "flatten")
    assert json.loads(out)["positions_left"] == 0
    assert "the run left 2 positions open" in err


def test_a_halt_that_a_run_does_not_confirm_is_a_timeout_and_held_by_the_latch(
    cli: Cli, running: System, folder: DataDirectory
) -> None:
    running.trouble = TimedOutError("no answer in 5 s")
    code, _, err = cli("halt")
    assert code == 5
    assert "no answer in 5 s; the halt latch is set: entries are denied" in err
    assert HaltLatch(folder.latch).is_set()


def test_a_listener_that_never_answers_is_a_timeout(
    cli: Cli, folder: DataDirectory, listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "DEADLINE_S", 0.05)
    with DataFolderLock(folder.path):
        new_token(folder.token)
        record(folder, listening.getsockname()[1])
        code, _, err = cli("halt")
    assert code == 5
    assert "`kamou flatten` does not need its answer" in err


def test_a_listener_that_is_gone_is_not_running(cli: Cli, folder: DataDirectory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with DataFolderLock(folder.path):
        new_token(folder.token)
        record(folder, port)
        code, _, err = cli("halt")
    assert code == 3
    assert f"does not listen on port {port}" in err
    assert HaltLatch(folder.latch).is_set(), "a halt holds all the same"


def test_the_record_of_an_earlier_run_is_not_believed(cli: Cli, folder: DataDirectory) -> None:
    with DataFolderLock(folder.path):
        record(folder, 1, pid=1)
        code, _, err = cli("status")
        assert code == 3
        assert "does not listen yet" in err
        assert cli("halt")[0] == 0
    assert HaltLatch(folder.latch).is_set(), "a halt of a run that is starting holds"


def test_without_the_token_the_right_user_is_asked_for(cli: Cli, folder: DataDirectory) -> None:
    with DataFolderLock(folder.path):
        record(folder, 1)
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
def test_a_listener_on_every_address_is_reached_on_the_loopback(bound: str, reached: str) -> None:
    assert operator._reachable(bound) == reached


def test_watching_a_running_system_shows_it_until_it_is_interrupted(
    cli: Cli, running: System, journalled: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    def pause(seconds: float, woken: int) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch, "pause", pause)
    code, out, err = cli("status", "--watch", "--interval", 3)
    assert (code, err) == (0, "")
    assert waited == [3, 3]
    first, second = out.split("\n\n")
    for look in (first, second):
        assert "kamou demo  running" in look
        assert "ETHUSDT" in look
        assert "veto: 1 restart, last error ValueError: boom" in look
