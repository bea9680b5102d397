"""Tests of the operator's Unix socket: its mode, its path and its peer."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

import pytest

from kamou.errors import ListenError, SocketsUnsupportedError, StoreError
from kamou.operator import unix_socket
from kamou.operator.unix_socket import (
    NAME_BYTES_MAX,
    ListeningProcess,
    bind_socket,
    listening_peer,
    reachable_name,
    remove_socket,
)

THIS_PROCESS = ListeningProcess(pid=os.getpid(), uid=os.geteuid())


@pytest.mark.parametrize("umask", [0o000, 0o777])
def test_the_socket_has_mode_0600_and_the_kernel_reports_the_process_that_listens(
    tmp_path: Path, umask: int
) -> None:
    path = tmp_path / "operator.sock"
    before = os.umask(umask)
    try:
        bound = bind_socket(path)
    finally:
        os.umask(before)
    with bound:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert listening_peer(path, deadline_s=5) == THIS_PROCESS
    assert listening_peer(path, deadline_s=5) is None, "an ended run does not listen"
    remove_socket(path)
    remove_socket(path)
    assert listening_peer(path, deadline_s=5) is None


def test_the_socket_of_an_ended_run_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "operator.sock"
    bind_socket(path).close()
    with bind_socket(path):
        assert listening_peer(path, deadline_s=5) == THIS_PROCESS


def test_another_file_at_the_path_of_the_socket_is_an_error_and_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "operator.sock"
    path.write_text("kept")
    with pytest.raises(StoreError, match="is not a socket; move it away"):
        bind_socket(path)
    assert path.read_text() == "kept"


@pytest.mark.parametrize("through", ["descriptor", "working directory"])
def test_a_path_that_is_longer_than_a_socket_allows_is_bound_and_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, through: str
) -> None:
    if through == "working directory":
        monkeypatch.setattr(unix_socket, "DESCRIPTORS", tmp_path / "no proc")
    data_dir = tmp_path / ("x" * 200)
    data_dir.mkdir()
    path = data_dir / "operator.sock"
    assert len(os.fsencode(path)) > NAME_BYTES_MAX
    here = os.getcwd()
    with bind_socket(path):
        assert stat.S_ISSOCK(path.lstat().st_mode)
        assert listening_peer(path, deadline_s=5) == THIS_PROCESS
        with reachable_name(path) as name, socket.socket(socket.AF_UNIX) as client:
            assert len(name) <= NAME_BYTES_MAX
            client.connect(name)
    assert os.getcwd() == here


def test_a_socket_path_of_the_longest_allowed_length_is_used_unchanged(tmp_path: Path) -> None:
    path = Path("/" + "a" * (NAME_BYTES_MAX - 1))
    with reachable_name(path) as name:
        assert name == str(path)


class UnbindableSocket(socket.socket):
    """A socket whose ``bind`` fails with the error number ``answer``."""

    answer = errno.EPERM

    def bind(self, address: object) -> None:
        raise OSError(self.answer, os.strerror(self.answer))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (errno.EPERM, SocketsUnsupportedError),
        (errno.EOPNOTSUPP, SocketsUnsupportedError),
        (errno.EACCES, ListenError),
    ],
)
def test_bind_errors_of_missing_socket_support_and_of_missing_rights_are_different(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: int, kind: type[Exception]
) -> None:
    monkeypatch.setattr(UnbindableSocket, "answer", answer)
    monkeypatch.setattr(socket, "socket", UnbindableSocket)
    with pytest.raises(ListenError, match=r"operator\.sock") as caught:
        bind_socket(tmp_path / "operator.sock")
    assert type(caught.value) is kind


def test_a_system_that_reports_no_peer_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(socket, "SO_PEERCRED")
    with pytest.raises(OSError, match="does not report which process"):
        listening_peer(tmp_path / "operator.sock", deadline_s=5)
