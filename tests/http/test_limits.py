"""What one peer, or two thousand of them, may take; and what goes wrong in one connection."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from rough_client import (
    Application,
    Bench,
    Heard,
    custom_application,
    descriptors,
    hear,
    request,
    resident_bytes,
    serving,
)
from trio.testing import MockClock

from kamou.http.limits import DESCRIPTORS_KEPT, OPERATOR, Limits, address_key, public_limits
from kamou.http.server import Listener, Server
from kamou.http.traffic import Cut, TrafficRefusal
from kamou.settings.config import WebSettings

LARGE = bytes(8 * 1024 * 1024)  # more than the system's buffers hold for one connection


def large() -> Application:
    """An answer that is complete only if the peer reads."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", b"%d" % len(LARGE))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": LARGE})

    return custom_application(app, Limits())


LENGTH_0 = [(b"content-length", b"0")]


@asynccontextmanager
async def many(bench: Bench, count: int) -> AsyncIterator[list[trio.SocketStream]]:
    """Connections that the server has accepted, if its limits allow."""
    async with AsyncExitStack() as stack:
        streams = []
        for _ in range(count):
            streams.append(await stack.enter_async_context(await bench.connect()))
        await trio.sleep(1)
        yield streams


# --- how many ------------------------------------------------------------------------------------


async def test_one_connection_too_many_of_an_address_gets_503_and_is_closed(
    application: Application, jumping: MockClock
) -> None:
    async with serving(application, connections_per_address_max=5) as bench:
        async with many(bench, 5):
            forwarded = b"X-Forwarded-For: 192.0.2.9\r\nForwarded: for=192.0.2.9\r\n"
            heard = await bench.send(request(application.page, forwarded))
            assert heard.statuses == [503]
            assert heard.closed
            assert not heard.reset
        await bench.quiet()
        assert bench.server.traffic.refused[TrafficRefusal.ADDRESS] == 1
        assert bench.server.traffic.connections_peak == 5
        assert await bench.fetch() == 200
        assert len(bench.said) == 1


async def test_a_trusted_proxy_is_not_limited_by_address_but_in_all(
    application: Application, jumping: MockClock
) -> None:
    limits = {"trusted_proxies": ("127.0.0.0/8",), "connections_per_address_max": 2}
    async with serving(application, **limits, connections_max=5) as bench, many(bench, 5):
        heard = await bench.send(request(application.page))
        assert heard.statuses == [503]
        assert bench.server.traffic.refused[TrafficRefusal.CONNECTIONS] == 1
        assert bench.server.traffic.refused[TrafficRefusal.ADDRESS] == 0


async def test_five_hundred_idle_connections_leave_pages_and_nothing_behind(
    application: Application, jumping: MockClock
) -> None:
    limits = {"connections_max": 600, "connections_per_address_max": 600}
    async with serving(application, **limits) as bench:
        assert await bench.fetch() == 200
        await bench.quiet()
        before, memory = descriptors(), resident_bytes()
        async with many(bench, 500):
            assert bench.server.traffic.connections_now == 500
            assert await bench.fetch() == 200
            assert resident_bytes() - memory < 64 * 1024 * 1024
            await bench.quiet()
        assert descriptors() == before


async def test_many_turned_away_at_once_are_closed_and_none_is_kept(
    application: Application, jumping: MockClock
) -> None:
    async with serving(application, connections_max=1) as bench, await bench.connect():
        await trio.sleep(1)
        heard = []

        async def turned_away() -> None:
            heard.append(await bench.send(request(application.page)))

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(turned_away)
        assert all(each.closed for each in heard)
        assert bench.server.traffic.refused[TrafficRefusal.CONNECTIONS] == 50
        assert len(bench.said) == 1
        assert "(" not in bench.said[0]


def test_the_descriptor_limit_leaves_some_for_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (1_024, 4_096))
    assert Limits().affordable() == 1_024 - DESCRIPTORS_KEPT
    assert OPERATOR.affordable() == 32
    monkeypatch.setattr("resource.getrlimit", lambda which: (-1, -1))
    assert Limits().affordable() == 2_000


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
def test_a_subscribers_ipv6_network_counts_as_one_address(one: str, other: str, same: bool) -> None:
    assert (address_key(one) == address_key(other)) is same


def test_only_addresses_and_networks_are_trusted() -> None:
    limits = Limits(trusted_proxies=("10.0.0.0/8", "2001:db8::7"))
    assert limits.trusts("10.1.2.3")
    assert limits.trusts("::ffff:10.1.2.3")
    assert limits.trusts("2001:db8::7")
    assert not limits.trusts("11.0.0.1")
    assert not Limits().trusts("127.0.0.1")
    with pytest.raises(ValueError, match=r"proxy\.example"):
        Limits(trusted_proxies=("proxy.example",))


def test_the_public_limits_are_the_settings_and_their_defaults_agree() -> None:
    assert public_limits(WebSettings()) == Limits()
    assert public_limits(WebSettings(stall_s=3, headers_max=20)) == Limits(
        stall_s=3, headers_max=20
    )


# --- how long ------------------------------------------------------------------------------------


async def test_a_peer_that_does_not_read_is_cut_after_its_limit(jumping: MockClock) -> None:
    async with serving(large()) as bench, await bench.connect() as stream:
        await stream.send_all(request("/"))
        await trio.sleep(bench.server.listener.limits.stall_s - 1)
        assert bench.server.traffic.connections_now == 1
        await trio.sleep(2)
        assert bench.server.traffic.connections_now == 0
        assert bench.server.traffic.cut == {Cut.SLOW: 0, Cut.STALLED: 1, Cut.STOPPED: 0}
        assert bench.server.traffic.failed == 0


async def test_a_peer_that_reads_slowly_has_the_requests_time_and_no_more(
    jumping: MockClock,
) -> None:
    async with serving(large()) as bench, await bench.connect() as stream:
        await stream.send_all(request("/"))
        for _ in range(3):
            await stream.receive_some(2 * 1024 * 1024)
            await trio.sleep(14)
        assert bench.server.traffic.connections_now == 0  # after 30 of the 42 seconds
        assert bench.server.traffic.cut == {Cut.SLOW: 1, Cut.STALLED: 0, Cut.STOPPED: 0}


async def test_a_slow_reader_who_goes_on_gets_the_whole_answer(jumping: MockClock) -> None:
    async with serving(large(), request_s=10_000.0) as bench, await bench.connect() as stream:
        await stream.send_all(request("/", b"Connection: close\r\n"))
        heard = 0
        while data := await stream.receive_some(256 * 1024):
            heard += len(data)
            await trio.sleep(14)
        assert heard > len(LARGE)
        assert sum(bench.server.traffic.cut.values()) == 0


async def test_an_application_that_never_answers_is_given_up(jumping: MockClock) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep_forever()

    async with serving(custom_application(app, Limits())) as bench, await bench.connect() as stream:
        await stream.send_all(request("/"))
        await trio.sleep(bench.server.listener.limits.request_s)
        heard = await hear(stream)
        assert heard.statuses == [503]
        assert heard.closed
        assert bench.server.traffic.cut[Cut.SLOW] == 1


@pytest.mark.parametrize("data", [b"", b"GET", request("/"), request("/") * 30])
async def test_a_stop_waits_for_no_connection_longer_than_its_grace(
    data: bytes, jumping: MockClock
) -> None:
    limits = {"connections_max": 500, "connections_per_address_max": 500}
    async with AsyncExitStack() as peers:
        async with serving(large(), **limits) as bench:
            for _ in range(200):
                stream = await peers.enter_async_context(await bench.connect())
                await stream.send_all(data)
            await trio.sleep(1)
            assert bench.server.traffic.connections_now == 200
            asked_at = trio.current_time()
        assert trio.current_time() - asked_at <= bench.server.listener.limits.grace_s + 0.1
        assert bench.server.traffic.connections_now == 0
        assert bench.server.traffic.cut[Cut.STOPPED] == (200 if data else 0)


async def test_a_request_in_flight_is_answered_while_the_listener_stops(
    jumping: MockClock,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep(0.5)
        await send({"type": "http.response.start", "status": 200, "headers": LENGTH_0})
        await send({"type": "http.response.body", "body": b""})

    async with AsyncExitStack() as peers:
        async with serving(custom_application(app, Limits())) as bench:
            stream = await peers.enter_async_context(await bench.connect())
            await stream.send_all(request("/"))
            await trio.sleep(0.1)
        heard = await hear(stream)
        assert heard.statuses == [200]
        assert heard.closed


async def test_a_unix_socket_is_served_under_the_same_limits(
    tmp_path: Any, application: Application, jumping: MockClock
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
    heard: list[Heard] = []
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        async with AsyncExitStack() as stack:
            for _ in range(4):
                stream = await stack.enter_async_context(
                    await trio.open_unix_socket(str(tmp_path / "s"))
                )
                await stream.send_all(request(application.page))
                heard.append(await hear(stream))
        server.ask_to_stop()
    bound.close()
    assert [each.statuses for each in heard] == [[200], [200], [200], [503]]
