"""Limits of connections: their numbers, their memory and their times."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from kamou.http.limits import DESCRIPTORS_KEPT, OPERATOR, Limits, address_key, public_limits
from kamou.http.server import Listener, Server
from kamou.http.traffic import Cut, TrafficRefusal
from kamou.settings.config import WebSettings
from tests.http.rough_client import (
    Application,
    Bench,
    Received,
    count_descriptors,
    make_custom_application,
    measure_resident_bytes,
    receive_all,
    request,
    serving,
)

LARGE = bytes(8 * 1024 * 1024)  # more than the kernel's buffers of one connection


def make_large_application() -> Application:
    """Return an application whose response is complete only if the peer reads."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"%d" % len(LARGE))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": LARGE})

    return make_custom_application(app, Limits())


LENGTH_0 = [(b"content-length", b"0")]


@asynccontextmanager
async def open_connections(bench: Bench, count: int) -> AsyncIterator[list[trio.SocketStream]]:
    """Open connections, and yield them after the server had time to accept them."""
    async with AsyncExitStack() as stack:
        streams = []
        for _ in range(count):
            streams.append(await stack.enter_async_context(await bench.connect()))
        await trio.sleep(1)
        yield streams


# --- numbers ------------------------------------------------------------------------------------


async def test_a_connection_beyond_the_limit_of_its_address_gets_503(
    application: Application, jumping_clock: MockClock
) -> None:
    async with serving(application, connections_per_address_max=5) as bench:
        async with open_connections(bench, 5):
            forwarded = b"X-Forwarded-For: 192.0.2.9\r\nForwarded: for=192.0.2.9\r\n"
            received = await bench.send(request(application.page, forwarded))
            assert received.statuses == [503]
            assert received.closed
            assert not received.reset
        await bench.wait_until_idle()
        assert bench.server.traffic.refused[TrafficRefusal.ADDRESS] == 1
        assert bench.server.traffic.connections_peak == 5
        assert await bench.fetch() == 200
        assert len(bench.warnings) == 1


async def test_a_trusted_proxy_has_no_limit_by_address_but_the_total_limit(
    application: Application, jumping_clock: MockClock
) -> None:
    limits = {"trusted_proxies": ("127.0.0.0/8",), "connections_per_address_max": 2}
    async with (
        serving(application, **limits, connections_max=5) as bench,
        open_connections(bench, 5),
    ):
        received = await bench.send(request(application.page))
        assert received.statuses == [503]
        assert bench.server.traffic.refused[TrafficRefusal.CONNECTIONS] == 1
        assert bench.server.traffic.refused[TrafficRefusal.ADDRESS] == 0


async def test_500_idle_connections_leave_a_page_served_and_no_descriptor_open(
    application: Application, jumping_clock: MockClock
) -> None:
    limits = {"connections_max": 600, "connections_per_address_max": 600}
    async with serving(application, **limits) as bench:
        assert await bench.fetch() == 200
        await bench.wait_until_idle()
        before, memory = count_descriptors(), measure_resident_bytes()
        async with open_connections(bench, 500):
            assert bench.server.traffic.connections_now == 500
            assert await bench.fetch() == 200
            assert measure_resident_bytes() - memory < 64 * 1024 * 1024
            await bench.wait_until_idle()
        assert count_descriptors() == before


async def test_fifty_rejected_connections_at_once_are_all_closed_with_one_warning(
    application: Application, jumping_clock: MockClock
) -> None:
    async with serving(application, connections_max=1) as bench, await bench.connect():
        await trio.sleep(1)
        received = []

        async def fetch_rejection() -> None:
            received.append(await bench.send(request(application.page)))

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(fetch_rejection)
        assert all(each.closed for each in received)
        assert bench.server.traffic.refused[TrafficRefusal.CONNECTIONS] == 50
        assert len(bench.warnings) == 1
        assert "(" not in bench.warnings[0]


def test_the_connection_limit_leaves_descriptors_for_the_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (1_024, 4_096))
    assert Limits().affordable_connections() == 1_024 - DESCRIPTORS_KEPT
    assert OPERATOR.affordable_connections() == 32
    monkeypatch.setattr("resource.getrlimit", lambda which: (-1, -1))
    assert Limits().affordable_connections() == 2_000


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_only_equal_addresses_and_those_of_one_ipv6_64_count_as_one(
    one: str, other: str, same: bool
) -> None:
    assert (address_key(one) == address_key(other)) is same


def test_trusted_proxies_are_addresses_and_networks() -> None:
    limits = Limits(trusted_proxies=("10.0.0.0/8", "2001:db8::7"))
    assert limits.trusts("10.1.2.3")
    assert limits.trusts("::ffff:10.1.2.3")
    assert limits.trusts("2001:db8::7")
    assert not limits.trusts("11.0.0.1")
    assert not Limits().trusts("127.0.0.1")
    with pytest.raises(ValueError, match=r"proxy\.example"):
        Limits(trusted_proxies=("proxy.example",))


def test_the_public_limits_are_those_of_the_settings() -> None:
    assert public_limits(WebSettings()) == Limits()
    assert public_limits(WebSettings(stall_s=3, headers_max=20)) == Limits(
        stall_s=3, headers_max=20
    )


# --- times ------------------------------------------------------------------------------------


async def test_a_peer_that_does_not_read_is_cut_after_stall_s(jumping_clock: MockClock) -> None:
    async with serving(make_large_application()) as bench, await bench.connect() as stream:
        await stream.send_all(request("/"))
        await trio.sleep(bench.server.listener.limits.stall_s - 1)
        assert bench.server.traffic.connections_now == 1
        await trio.sleep(2)
        assert bench.server.traffic.connections_now == 0
        assert bench.server.traffic.cut == {Cut.SLOW: 0, Cut.STALLED: 1, Cut.STOPPED: 0}
        assert bench.server.traffic.failed == 0


async def test_a_peer_that_reads_slowly_is_cut_after_request_s(
    jumping_clock: MockClock,
) -> None:
    async with serving(make_large_application()) as bench, await bench.connect() as stream:
        await stream.send_all(request("/"))
        for _ in range(3):
            await stream.receive_some(2 * 1024 * 1024)
            await trio.sleep(14)
        assert bench.server.traffic.connections_now == 0  # after 30 of the 42 seconds
        assert bench.server.traffic.cut == {Cut.SLOW: 1, Cut.STALLED: 0, Cut.STOPPED: 0}


async def test_a_slow_peer_gets_the_whole_response_within_request_s(
    jumping_clock: MockClock,
) -> None:
    async with (
        serving(make_large_application(), request_s=10_000.0) as bench,
        await bench.connect() as stream,
    ):
        await stream.send_all(request("/", b"Connection: close\r\n"))
        received = 0
        while data := await stream.receive_some(256 * 1024):
            received += len(data)
            await trio.sleep(14)
        assert received > len(LARGE)
        assert sum(bench.server.traffic.cut.values()) == 0


async def test_a_request_that_the_application_does_not_answer_gets_503_after_request_s(
    jumping_clock: MockClock,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep_forever()

    async with (
        serving(make_custom_application(app, Limits())) as bench,
        await bench.connect() as stream,
    ):
        await stream.send_all(request("/"))
        await trio.sleep(bench.server.listener.limits.request_s)
        received = await receive_all(stream)
        assert received.statuses == [503]
        assert received.closed
        assert bench.server.traffic.cut[Cut.SLOW] == 1


@pytest.mark.parametrize("data", [b"", b"GET", request("/"), request("/") * 30])
async def test_a_stop_waits_for_connections_only_for_its_grace(
    data: bytes, jumping_clock: MockClock
) -> None:
    limits = {"connections_max": 500, "connections_per_address_max": 500}
    async with AsyncExitStack() as peers:
        async with serving(make_large_application(), **limits) as bench:
            for _ in range(200):
                stream = await peers.enter_async_context(await bench.connect())
                await stream.send_all(data)
            await trio.sleep(1)
            assert bench.server.traffic.connections_now == 200
            stopped_at = trio.current_time()
        assert trio.current_time() - stopped_at <= bench.server.listener.limits.grace_s + 0.1
        assert bench.server.traffic.connections_now == 0
        assert bench.server.traffic.cut[Cut.STOPPED] == (200 if data else 0)


async def test_a_request_in_progress_gets_its_response_during_a_stop(
    jumping_clock: MockClock,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep(0.5)
        await send({"type": "http.response.start", "status": 200, "headers": LENGTH_0})
        await send({"type": "http.response.body", "body": b""})

    async with AsyncExitStack() as peers:
        async with serving(make_custom_application(app, Limits())) as bench:
            stream = await peers.enter_async_context(await bench.connect())
            await stream.send_all(request("/"))
            await trio.sleep(0.1)
        received = await receive_all(stream)
        assert received.statuses == [200]
        assert received.closed


async def test_a_unix_socket_has_the_total_limit_but_no_limit_by_address(
    tmp_path: Any, application: Application, jumping_clock: MockClock
) -> None:
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(tmp_path / "s"))
    bound.listen(8)
    listener = Listener(
        app=application.app,
        host="unix",
        port=0,
        setting="web.port",
        option="--port",
        limits=attrs.evolve(application.limits, connections_max=3, connections_per_address_max=1),
    )
    server = Server(listener, bound=bound)
    received: list[Received] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        async with AsyncExitStack() as stack:
            for _ in range(4):
                stream = await stack.enter_async_context(
                    await trio.open_unix_socket(str(tmp_path / "s"))
                )
                await stream.send_all(request(application.page))
                received.append(await receive_all(stream))
        server.ask_to_stop()
    bound.close()
    assert [each.statuses for each in received] == [[200], [200], [200], [503]]
