"""Tests of the operator's listeners as children: each works without the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio
import trio.lowlevel

from kamou.data_directory.folder import DataDirectory
from kamou.errors import ListenError, SocketsUnsupportedError
from kamou.http.server import Server
from kamou.operator import listeners
from kamou.operator.listeners import OperatorListeners, bind_listeners
from kamou.operator.metrics import exposition
from kamou.runs.operator_actions import CurrentRun
from kamou.runtime.supervision import ChildState
from kamou.settings.config import WebSettings
from kamou.supervisor import Supervisor
from tests.operator.test_operator_listener import operations

WEB = WebSettings(port=0, operator_port=0)


@pytest.fixture
def data_dir(tmp_path: Path) -> DataDirectory:
    data_dir = DataDirectory(tmp_path / "data")
    data_dir.create()
    return data_dir


@pytest.fixture
def bound(data_dir: DataDirectory) -> Iterator[OperatorListeners]:
    with bind_listeners(data_dir, WEB, operations(), lambda line: None) as opened:
        yield opened


async def get(opened: OperatorListeners, path: str, *, unix: bool) -> httpx.Response:
    transport = httpx.AsyncHTTPTransport(uds=str(opened.socket_path)) if unix else None
    base = "http://localhost" if unix else f"http://127.0.0.1:{opened.tcp_port}"
    async with httpx.AsyncClient(transport=transport, base_url=base, trust_env=False) as http:
        return await http.get(path)


async def test_the_status_needs_no_token_on_the_unix_socket_and_needs_one_over_tcp(
    bound: OperatorListeners,
) -> None:
    supervisor = Supervisor(bound.spec)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        assert (await get(bound, "/api/v1/status", unix=True)).status_code == 200
        assert (await get(bound, "/api/v1/status", unix=False)).status_code == 401
        assert (await get(bound, "/healthz", unix=False)).status_code == 200
        await supervisor.stop()


async def test_the_metrics_have_the_traffic_of_each_listener(bound: OperatorListeners) -> None:
    supervisor = Supervisor(bound.spec)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await get(bound, "/healthz", unix=True)
        await get(bound, "/healthz", unix=False)
        stream = await trio.open_tcp_stream("127.0.0.1", bound.tcp_port or 0)
        await stream.send_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        while await stream.receive_some(100):
            pass
        await stream.aclose()
        await supervisor.stop()
    current_run = CurrentRun(traffic=bound.traffic)
    lines = exposition({}, current_run.status()).splitlines()
    assert 'kamou_operator_requests_total{listener="operator-socket"} 1.0' in lines
    assert 'kamou_operator_requests_total{listener="operator"} 1.0' in lines
    assert 'kamou_operator_rejected_total{listener="operator",reason="version"} 1.0' in lines
    assert 'kamou_operator_cut_total{listener="operator",reason="slow"} 0.0' in lines
    families = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(families) == len(set(families)), "each family occurs once"


async def test_a_listener_that_crashes_leaves_the_other_listener_up(
    bound: OperatorListeners, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, crashes = Server.run, []

    async def fragile(self: Server, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
        if self.listener.setting == "web.operator_port":
            crashes.append(1)
            raise OSError("broken for good")
        await real(self, task_status)

    monkeypatch.setattr(Server, "run", fragile)
    children = tuple(
        attrs.evolve(child, start=fragile.__get__(child.start.__self__))  # type: ignore[union-attr]  # each start is a bound method
        for child in bound.spec.children
    )
    spec = attrs.evolve(bound.spec, children=children, backoff_base_s=0.0, backoff_cap_s=0.0)
    supervisor = Supervisor(spec)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        while len(crashes) < 50:
            await trio.lowlevel.checkpoint()
        while supervisor.snapshot().children[0].state is not ChildState.RUNNING:
            await trio.lowlevel.checkpoint()
        with trio.fail_after(10):
            assert (await get(bound, "/healthz", unix=True)).status_code == 200
        nursery.cancel_scope.cancel()


def test_with_tcp_off_only_the_socket_is_bound(data_dir: DataDirectory) -> None:
    web = attrs.evolve(WEB, operator_tcp=False)
    with bind_listeners(data_dir, web, operations(), lambda line: None) as opened:
        assert opened.tcp_port is None
        assert opened.socket_path == data_dir.operator_socket
        assert [child.id for child in opened.spec.children] == ["operator-socket"]
        assert data_dir.token.exists(), "a new token makes the earlier run's token invalid"
    assert not data_dir.operator_socket.exists()


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(path: Path) -> None:
        raise SocketsUnsupportedError(f"cannot listen on {path}")

    monkeypatch.setattr(listeners, "bind_socket", unsupported)


@pytest.mark.usefixtures("no_sockets")
def test_without_unix_sockets_only_tcp_is_bound_and_one_line_reports_it(
    data_dir: DataDirectory,
) -> None:
    said: list[str] = []
    with bind_listeners(data_dir, WEB, operations(), said.append) as opened:
        assert opened.socket_path is None
        assert [child.id for child in opened.spec.children] == ["operator"]
    assert len(said) == 1
    assert "use the operator's TCP listener" in said[0]


@pytest.mark.usefixtures("no_sockets")
def test_a_run_without_unix_sockets_and_tcp_does_not_start(data_dir: DataDirectory) -> None:
    web = attrs.evolve(WEB, operator_tcp=False)
    with (
        pytest.raises(SocketsUnsupportedError, match=r"web\.operator_tcp = true") as caught,
        bind_listeners(data_dir, web, operations(), lambda line: None),
    ):
        pass
    assert caught.value.exit_code == 4


def test_a_taken_port_leaves_no_socket_behind(
    data_dir: DataDirectory, bound: OperatorListeners, tmp_path: Path
) -> None:
    assert bound.tcp_port is not None
    web = attrs.evolve(WEB, operator_port=bound.tcp_port)
    other = DataDirectory(tmp_path / "other")
    other.create()
    with (
        pytest.raises(ListenError, match="is taken"),
        bind_listeners(other, web, operations(), lambda line: None),
    ):
        pass
    assert not other.operator_socket.exists()
