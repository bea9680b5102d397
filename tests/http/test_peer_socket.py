"""Bytes that no client library sends, to both listeners, at the socket."""

from __future__ import annotations

import pytest
import trio
from hostile_bytes import CHUNKED, GET, RUBBISH, Rubbish
from rough_client import TOKEN, Application, Heard, descriptors, request, serving, slam
from trio.testing import MockClock

from kamou.http.traffic import Cut, TrafficRefusal


def only_what_is_named(heard: Heard, rubbish: Rubbish) -> bool:
    """Whether the answer is the one that these bytes must meet."""
    statuses = [status for status in heard.statuses if status >= 200]
    if rubbish.status is not None:
        return statuses == [rubbish.status] and heard.closed
    if rubbish.ahead:
        statuses = statuses[:1]  # a preface that follows meets its own refusal
    return bool(statuses) and all(status < 500 for status in statuses)


@pytest.mark.parametrize("name", RUBBISH)
async def test_rubbish_meets_its_answer_and_the_next_reader_his_page(
    application: Application, name: str, jumping: MockClock
) -> None:
    rubbish = RUBBISH[name]
    async with serving(application) as bench:
        heard = await bench.send(rubbish.data)
        assert only_what_is_named(heard, rubbish), heard
        assert not heard.reset  # a reset can reach a far reader before the answer
        kept = rubbish.stays and not (rubbish.ahead and application.limits.pipelined_max == 0)
        assert heard.closed is not kept
        traffic = bench.server.traffic
        if rubbish.reason is not None:
            expected = {**dict.fromkeys(TrafficRefusal, 0), rubbish.reason: 1}
            assert traffic.refused == expected
        assert await bench.fetch() == 200
        await bench.quiet()
        assert traffic.failed == 0
        assert bench.said == []


@pytest.mark.parametrize("half_close", [False, True], ids=["open", "half closed"])
async def test_rubbish_in_single_bytes_is_no_different(
    application: Application, half_close: bool, jumping: MockClock
) -> None:
    short = {name: each for name, each in RUBBISH.items() if len(each.data) < 300}
    async with serving(application) as bench:
        for name, rubbish in short.items():
            pieces = [rubbish.data[i : i + 1] for i in range(len(rubbish.data))]
            heard = await bench.send(*pieces, half_close=half_close)
            assert heard.data == b"" or all(s < 600 for s in heard.statuses), name
            if rubbish.status is not None and not half_close:
                assert only_what_is_named(heard, rubbish), name
        assert await bench.fetch() == 200
        await bench.quiet()
        assert bench.server.traffic.failed == 0


async def test_all_rubbish_at_once_leaves_nothing_behind(
    application: Application, jumping: MockClock
) -> None:
    async def throw(rubbish: Rubbish, how: int) -> None:
        async with await bench.connect() as stream:
            await bench.converse(stream, [rubbish.data], half_close=how == 1)
            if how == 2:
                slam(stream)

    async with serving(application) as bench:
        assert await bench.fetch() == 200  # the site has its readers open
        await bench.quiet()
        before = descriptors()
        for how in range(3):
            async with trio.open_nursery() as nursery:
                for rubbish in RUBBISH.values():
                    nursery.start_soon(throw, rubbish, how)
        await bench.quiet()
        assert descriptors() == before
        assert await bench.fetch() == 200
        assert bench.server.traffic.failed == 0


async def test_five_bytes_after_a_last_request_never_collide_with_its_answer(
    application: Application, jumping: MockClock
) -> None:
    # hypercorn raised BusyResourceError in one of ten: reader and application wrote at once
    async with serving(application) as bench:
        for passes in range(400):
            heard = await bench.send(
                GET + b"Connection: close\r\n\r\n", b"abcde", passes=(0, passes % 40)
            )
            assert heard.closed
            (status,) = heard.statuses
            assert status in (401, 404)
        await bench.quiet()
        assert bench.server.traffic.failed == 0
        assert bench.server.traffic.requests == 400


async def test_a_peer_that_closes_its_side_gets_its_answer(
    application: Application, jumping: MockClock
) -> None:
    async with serving(application) as bench:
        heard = await bench.send(request(application.page), half_close=True)
        assert heard.statuses == [200]
        assert heard.closed
        two = await bench.send(request(application.page) * 2, half_close=True)
        assert set(two.statuses) == {200}
        half = await bench.send(GET, half_close=True)
        assert half == Heard(data=b"", closed=True)
        nothing = await bench.send(half_close=True)
        assert nothing == Heard(data=b"", closed=True)
        await bench.quiet()
        assert bench.server.traffic.failed == 0


async def drip(stream: trio.SocketStream, data: bytes) -> None:
    """Send a byte each second."""
    for byte in data:
        await stream.send_all(bytes([byte]))
        await trio.sleep(1)


async def test_headers_that_drip_are_cut_when_the_requests_time_is_over(
    application: Application, jumping: MockClock
) -> None:
    async with serving(application) as bench, await bench.connect() as stream:
        began_at = trio.current_time()
        with pytest.raises(trio.BrokenResourceError):
            await drip(stream, GET * 10)
        assert trio.current_time() - began_at <= application.limits.request_s + 3
        assert bench.server.traffic.cut == {Cut.SLOW: 1, Cut.STALLED: 0, Cut.STOPPED: 0}
        assert await bench.fetch() == 200


@pytest.mark.parametrize(
    ("data", "status"), [(GET, 408), (CHUNKED + b"5\r\nhel", 408), (b"GET", 408)]
)
async def test_half_a_request_gets_an_error_status_after_its_time(
    application: Application, data: bytes, status: int, jumping: MockClock
) -> None:
    async with serving(application) as bench, await bench.connect() as stream:
        await stream.send_all(data)
        await trio.sleep(application.limits.request_s)
        heard = await bench.converse(stream, [])
        assert heard.statuses == [status]
        assert heard.closed
        assert bench.server.traffic.cut[Cut.SLOW] == 1


async def test_an_idle_connection_is_closed_without_an_answer(
    application: Application, jumping: MockClock
) -> None:
    async with serving(application) as bench:
        async with await bench.connect() as fresh, await bench.connect() as used:
            first = await bench.converse(used, [request(application.page)])
            assert first.statuses == [200]
            await trio.sleep(application.limits.keep_alive_s)
            for stream in (fresh, used):
                assert await bench.converse(stream, []) == Heard(data=b"", closed=True)
        assert bench.server.traffic.connections_now == 0
        assert sum(bench.server.traffic.cut.values()) == 0


async def test_a_connection_is_kept_for_as_long_as_requests_come(
    application: Application, jumping: MockClock
) -> None:
    async with serving(application) as bench, await bench.connect() as stream:
        for _ in range(5):
            heard = await bench.converse(stream, [request(application.page)])
            assert heard.statuses == [200]
            assert not heard.closed
            await trio.sleep(application.limits.keep_alive_s - 5)
        assert bench.server.traffic.connections_total == 1


async def test_requests_sent_ahead_are_answered_up_to_the_limit(
    application: Application, jumping: MockClock
) -> None:
    async with serving(application) as bench:
        heard = await bench.send(request(application.page) * 40)
        assert heard.closed
        assert heard.statuses == [200] * (application.limits.pipelined_max + 1)


async def test_the_operators_command_takes_a_body_in_any_pieces(
    application: Application, jumping: MockClock
) -> None:
    head = (
        f"POST /api/v1/halt HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    body = b'9\r\n{"reason"\r\n8\r\n: "why"}\r\n0\r\n\r\n'
    async with serving(application) as bench:
        heard = await bench.send(head, *(body[i : i + 1] for i in range(len(body))))
        final = 200 if application.name == "operator" else 404
        assert heard.statuses == [100, final]
        assert (b'{"reason":"why"}' in heard.data) is (application.name == "operator")


async def test_the_authority_of_an_absolute_target_replaces_the_host(
    application: Application, jumping: MockClock
) -> None:
    async with serving(application) as bench:
        page = application.page.encode()
        ours = await bench.send(b"GET http://localhost" + page + b" HTTP/1.1\r\nHost: x\r\n\r\n")
        assert ours.statuses == [200]
        evil = await bench.send(
            b"GET http://127.0.0.1:x.evil.com" + page + b" HTTP/1.1\r\nHost: localhost\r\n\r\n"
        )
        assert evil.statuses == [421 if application.name == "operator" else 200]
