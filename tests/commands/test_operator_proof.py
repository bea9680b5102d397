"""Verbs send commands only to the process that is proved to be the run."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from kamou.commands import operator
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.lock import DataDirectoryLock
from kamou.operator.token import new_token
from kamou.operator.unix_socket import ListeningProcess, bind_socket
from tests.commands.test_operator import write_record

Cli = Callable[..., tuple[int, str, str]]

ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n" + b'{"proof": "0000"}',
    b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull",
    b"HTTP/1.1 401 No\r\nContent-Length: 2\r\n\r\n[]",
]


@contextmanager
def run_stranger(server: socket.socket, answer: bytes) -> Iterator[list[bytes]]:
    """Run another program on the port; yield the bytes that it received."""
    received: list[bytes] = []

    def once() -> None:
        connection, _ = server.accept()
        with connection:
            received.append(connection.recv(65_536))
            connection.sendall(answer)

    thread = threading.Thread(target=once)
    thread.start()
    yield received
    thread.join(10)


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_token_is_not_sent_to_a_listener_that_does_not_know_it(
    cli: Cli, directory: DataDirectory, listening: socket.socket, answer: bytes
) -> None:
    with DataDirectoryLock(directory.path), run_stranger(listening, answer) as received:
        token = new_token(directory.token)
        write_record(directory, listening.getsockname()[1])
        code, _, err = cli("halt")
    assert code == 3
    assert "does not know the token of the run" in err
    assert received
    assert token.encode() not in b"".join(received)
    assert b"authorization" not in b"".join(received).lower()


def test_a_response_without_json_is_an_error(cli: Cli, directory: DataDirectory) -> None:
    with DataDirectoryLock(directory.path), bind_socket(directory.operator_socket) as bound:
        write_record(directory, None, unix=True)

        def answer() -> None:
            bound.accept()[0].close()  # the connection that identifies the peer
            connection, _ = bound.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

        thread = threading.Thread(target=answer)
        thread.start()
        code, _, err = cli("halt")
        thread.join(10)
    assert code == 1
    assert "no JSON" in err


def test_a_listener_that_sends_single_bytes_is_a_timeout_at_the_deadline(
    cli: Cli, directory: DataDirectory, listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator, "DEADLINE_S", 0.3)
    over = threading.Event()

    def drip() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not over.wait(0.01):
                connection.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    with DataDirectoryLock(directory.path):
        new_token(directory.token)
        write_record(directory, listening.getsockname()[1])
        code, _, err = cli("halt")
    over.set()
    thread.join(10)
    assert code == 5
    assert "did not answer /api/v1/proof" in err


@pytest.mark.parametrize(
    "peer",
    [ListeningProcess(pid=1, uid=os.geteuid()), ListeningProcess(pid=os.getpid(), uid=12_345)],
)
def test_no_command_is_sent_to_a_socket_of_another_process_or_user(
    cli: Cli, directory: DataDirectory, monkeypatch: pytest.MonkeyPatch, peer: ListeningProcess
) -> None:
    monkeypatch.setattr(operator, "listening_peer", lambda *_, **__: peer)
    with DataDirectoryLock(directory.path):
        write_record(directory, None, unix=True)
        code, _, err = cli("halt")
    assert code == 3
    assert "the listener is not proved to be this user's run" in err


def test_the_error_without_socket_and_tcp_names_the_setting_of_tcp(
    cli: Cli, directory: DataDirectory
) -> None:
    with DataDirectoryLock(directory.path):
        write_record(directory, None, unix=True)
        code, _, err = cli("halt")
    assert code == 3
    assert "web.operator_tcp is false" in err


def test_no_command_is_sent_for_the_record_of_an_ended_process(
    cli: Cli, directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with DataDirectoryLock(directory.path):
        directory.lock.write_text(f"{gone.pid}\n")
        write_record(directory, 1, pid=gone.pid)
        code, _, err = cli("halt")
    assert code == 3
    assert "has ended" in err
