"""Hostile bytes at the sockets of both listeners, and the times of a connection."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from kamou.http.traffic import Cut, TrafficRefusal
from tests.http.hostile_bytes import CHUNKED, GET, HOSTILE_REQUESTS, HostileRequest
from tests.http.rough_client import (
    TOKEN,
    Application,
    Received,
    count_descriptors,
    request,
    reset_connection,
    serving,
)


def is_expected_response(received: Received, hostile: HostileRequest) -> bool:
    """Return True if the response is the expected one."""
    statuses = [status for status in received.statuses if status >= 200]
    if hostile.status is not None:
        return statuses == [hostile.status] and received.closed
    if hostile.ahead:
        statuses = statuses[:1]  # a preface that follows gets a response of its own
    return bool(statuses) and all(status < 500 for status in statuses)


@pytest.mark.parametrize("name", HOSTILE_REQUESTS)
async def test_a_hostile_request_gets_its_response_and_the_next_client_a_page(
    application: Application, name: str, jumping_clock: MockClock
) -> None:
    hostile = HOSTILE_REQUESTS[name]
    async with serving(application) as bench:
        received = await bench.send(hostile.data)
        assert is_expected_response(received, hostile), received
        assert not received.reset  # a reset can overtake the response
        kept = hostile.stays and not (hostile.ahead and application.limits.pipelined_max == 0)
        assert received.closed is not kept
        traffic = bench.server.traffic
        if hostile.reason is not None:
            expected = {**dict.fromkeys(TrafficRefusal, 0), hostile.reason: 1}
            assert traffic.refused == expected
        assert await bench.fetch() == 200
        await bench.wait_until_idle()
        assert traffic.failed == 0
        assert bench.warnings == []


@pytest.mark.parametrize("half_close", [False, True], ids=["open", "half closed"])
async def test_short_requests_in_single_bytes_fail_no_connection_and_get_their_status_if_open(
    application: Application, half_close: bool, jumping_clock: MockClock
) -> None:
    short = {name: each for name, each in HOSTILE_REQUESTS.items() if len(each.data) < 300}
    async with serving(application) as bench:
        for name, hostile in short.items():
            pieces = [hostile.data[i : i + 1] for i in range(len(hostile.data))]
            received = await bench.send(*pieces, half_close=half_close)
            assert received.data == b"" or all(s < 600 for s in received.statuses), name
            if hostile.status is not None and not half_close:
                assert is_expected_response(received, hostile), name
        assert await bench.fetch() == 200
        await bench.wait_until_idle()
        assert bench.server.traffic.failed == 0


async def test_all_hostile_requests_at_once_leave_no_descriptor_open(
    application: Application, jumping_clock: MockClock
) -> None:
    async def send_one(hostile: HostileRequest, how: int) -> None:
        async with await bench.connect() as stream:
            await bench.converse(stream, [hostile.data], half_close=how == 1)
            if how == 2:
                reset_connection(stream)

    async with serving(application) as bench:
        assert await bench.fetch() == 200  # now the site has its database connections open
        await bench.wait_until_idle()
        before = count_descriptors()
        for how in range(3):
            async with trio.open_nursery() as nursery:
                for hostile in HOSTILE_REQUESTS.values():
                    nursery.start_soon(send_one, hostile, how)
        await bench.wait_until_idle()
        assert count_descriptors() == before
        assert await bench.fetch() == 200
        assert bench.server.traffic.failed == 0


async def test_bytes_after_a_last_request_do_not_make_its_connection_fail(
    application: Application, jumping_clock: MockClock
) -> None:
    # In one of ten connections hypercorn raised BusyResourceError: two tasks wrote at once.
    async with serving(application) as bench:
        for passes in range(400):
            received = await bench.send(
                GET + b"Connection: close\r\n\r\n", b"abcde", passes=(0, passes % 40)
            )
            assert received.closed
            (status,) = received.statuses
            assert status in (401, 404)
        await bench.wait_until_idle()
        assert bench.server.traffic.failed == 0
        assert bench.server.traffic.requests == 400


async def test_a_half_closed_connection_gets_responses_only_to_complete_requests(
    application: Application, jumping_clock: MockClock
) -> None:
    async with serving(application) as bench:
        received = await bench.send(request(application.page), half_close=True)
        assert received.statuses == [200]
        assert received.closed
        two = await bench.send(request(application.page) * 2, half_close=True)
        assert set(two.statuses) == {200}
        half = await bench.send(GET, half_close=True)
        assert half == Received(data=b"", closed=True)
        nothing = await bench.send(half_close=True)
        assert nothing == Received(data=b"", closed=True)
        await bench.wait_until_idle()
        assert bench.server.traffic.failed == 0


async def send_slowly(stream: trio.SocketStream, data: bytes) -> None:
    """Send one byte per second."""
    for byte in data:
        await stream.send_all(bytes([byte]))
        await trio.sleep(1)


async def test_a_connection_that_sends_one_header_byte_a_second_is_cut_after_request_s(
    application: Application, jumping_clock: MockClock
) -> None:
    async with serving(application) as bench, await bench.connect() as stream:
        began_at = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await send_slowly(stream, GET * 10)
        assert trio.current_time() - began_at <= application.limits.request_s + 3
        assert bench.server.traffic.cut == {Cut.SLOW: 1, Cut.STALLED: 0, Cut.STOPPED: 0}
        assert await bench.fetch() == 200


@pytest.mark.parametrize(
    ("data", "status"), [(GET, 408), (CHUNKED + b"5\r\nhel", 408), (b"GET", 408)]
)
async def test_half_a_request_gets_status_408_after_request_s(
    application: Application, data: bytes, status: int, jumping_clock: MockClock
) -> None:
    async with serving(application) as bench, await bench.connect() as stream:
        await stream.send_all(data)
        await trio.sleep(application.limits.request_s)
        received = await bench.converse(stream, [])
        assert received.statuses == [status]
        assert received.closed
        assert bench.server.traffic.cut[Cut.SLOW] == 1


async def test_an_idle_connection_is_closed_without_a_response(
    application: Application, jumping_clock: MockClock
) -> None:
    async with serving(application) as bench:
        async with await bench.connect() as fresh, await bench.connect() as used:
            first = await bench.converse(used, [request(application.page)])
            assert first.statuses == [200]
            await trio.sleep(application.limits.keep_alive_s)
            for stream in (fresh, used):
                assert await bench.converse(stream, []) == Received(data=b"", closed=True)
        assert bench.server.traffic.connections_now == 0
        assert sum(bench.server.traffic.cut.values()) == 0


async def test_a_connection_stays_open_while_requests_arrive(
    application: Application, jumping_clock: MockClock
) -> None:
    async with serving(application) as bench, await bench.connect() as stream:
        for _ in range(5):
            received = await bench.converse(stream, [request(application.page)])
            assert received.statuses == [200]
            assert not received.closed
            await trio.sleep(application.limits.keep_alive_s - 5)
        assert bench.server.traffic.connections_total == 1


async def test_pipelined_requests_after_the_first_get_responses_up_to_the_limit(
    application: Application, jumping_clock: MockClock
) -> None:
    async with serving(application) as bench:
        received = await bench.send(request(application.page) * 40)
        assert received.closed
        assert received.statuses == [200] * (application.limits.pipelined_max + 1)


async def test_both_listeners_read_a_chunked_body_in_single_bytes_before_their_response(
    application: Application, jumping_clock: MockClock
) -> None:
    head = (
        f"POST /api/v1/halt HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    body = b'9\r\n{"reason"\r\n8\r\n: "why"}\r\n0\r\n\r\n'
    async with serving(application) as bench:
        received = await bench.send(head, *(body[i : i + 1] for i in range(len(body))))
        final = 200 if application.name == "operator" else 404
        assert received.statuses == [100, final]
        assert (b'{"reason":"why"}' in received.data) is (application.name == "operator")


async def test_the_authority_of_an_absolute_target_replaces_the_host_header(
    application: Application, jumping_clock: MockClock
) -> None:
    async with serving(application) as bench:
        page = application.page.encode()
        local = await bench.send(b"GET http://localhost" + page + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert local.statuses == [200]
        evil = await bench.send(
            b"GET http://127.0.0.1:x.evil.com" + page + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        assert evil.statuses == [421 if application.name == "operator" else 200]
