"""Errors of connections and of ``accept``: which end a connection, which the server."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from kamou.http.limits import Limits
from kamou.http.notices import NOTICE_PERIOD_S
from kamou.http.server import Listener, Server, bind
from kamou.http.traffic import TrafficRefusal
from tests.http.rough_client import (
    Application,
    Bench,
    make_custom_application,
    receive_all,
    request,
    reset_connection,
    serving,
)

LENGTH_0 = [(b"content-length", b"0")]
LENGTH_9 = [(b"content-length", b"9")]


def make_failing_application(error: Callable[[], BaseException], *, after: int = 0) -> Application:
    """Return an application that raises after ``after`` messages; ``/`` works."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/":
            await send({"type": "http.response.start", "status": 200, "headers": LENGTH_0})
            await send({"type": "http.response.body", "body": b""})
            return
        if after > 0:
            await send({"type": "http.response.start", "status": 200, "headers": LENGTH_9})
        if after > 1:
            await send({"type": "http.response.body", "body": b"four", "more_body": True})
        raise error()

    return make_custom_application(app, Limits())


@pytest.mark.parametrize("after", [0, 1, 2])
@pytest.mark.parametrize(
    "error",
    [
        lambda: RuntimeError("a page failed"),
        lambda: OSError(errno.EIO, "disk"),
        lambda: trio.BusyResourceError("two at once"),
        lambda: ExceptionGroup("several", [ValueError("one"), KeyError("other")]),
        lambda: AssertionError("impossible"),
        lambda: RecursionError("deep"),
    ],
    ids=["error", "os", "busy", "group", "assertion", "recursion"],
)
async def test_an_error_of_the_application_ends_only_its_connection(
    error: Callable[[], BaseException], after: int, jumping_clock: MockClock
) -> None:
    async with (
        serving(make_failing_application(error, after=after)) as bench,
        await bench.connect() as other,
    ):
        assert (await bench.converse(other, [request("/")])).statuses == [200]
        async with await bench.connect() as stream:
            await stream.send_all(request("/fails"))
            received = await receive_all(stream)
        assert received.closed
        if after < 2:
            assert received.data.startswith(b"HTTP/1.1 500") is (after == 0)
        assert (await bench.converse(other, [request("/")])).statuses == [200]
        assert bench.server.traffic.failed == 1
        assert len(bench.warnings) == 1


async def test_a_half_closed_connection_gets_the_status_of_a_failed_page(
    jumping_clock: MockClock,
) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep(1)
        raise RuntimeError("a page failed")

    async with serving(make_custom_application(app, Limits())) as bench:
        for last in (b"", b"Connection: close\r\n"):
            received = await bench.send(request("/fails", last), b"", half_close=True)
            assert received.statuses == [500]
            assert received.closed


async def test_errors_of_connections_are_reported_once_a_minute_with_the_number_of_others(
    jumping_clock: MockClock,
) -> None:
    evil = "\x1b[2J\r\nresults: http://evil.example"
    async with serving(make_failing_application(lambda: RuntimeError(evil))) as bench:
        for _ in range(20):
            await bench.send(request("/fails"))
        assert len(bench.warnings) == 1
        await trio.sleep(NOTICE_PERIOD_S)
        await bench.send(request("/fails"))
        assert len(bench.warnings) == 2
        assert "19 more" in bench.warnings[1]
        assert all(line.isprintable() for line in bench.warnings)
        assert bench.server.traffic.failed == 21


async def test_a_memory_error_in_a_connection_ends_the_server() -> None:
    async def serve() -> None:
        async with serving(make_failing_application(lambda: MemoryError("no more"))) as bench:
            await bench.send(request("/fails"))
            with trio.fail_after(10):
                await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await serve()
    assert caught.group_contains(MemoryError)


class Exhausted(socket.socket):
    """A listening socket whose ``accept`` fails with the given errors first."""

    errors: list[int]

    def dup(self) -> Exhausted:
        made = Exhausted(fileno=os.dup(self.fileno()))
        made.errors = self.errors
        return made

    def accept(self) -> tuple[socket.socket, Any]:
        if self.errors:
            number = self.errors.pop()
            raise OSError(number, os.strerror(number))
        return super().accept()


async def serve_after_errors(number: int) -> tuple[Server, list[str]]:
    """Serve one request after 50 errors of ``accept``; return server and warnings."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": LENGTH_0})
        await send({"type": "http.response.body", "body": b""})

    warnings: list[str] = []
    listener = Listener(app=app, host="127.0.0.1", port=0, setting="web.port", option="--port")
    bound = bind(listener)
    exhausted = Exhausted(fileno=bound.detach())
    exhausted.errors = [number] * 50
    server = Server(listener, bound=exhausted, warn=warnings.append)
    bench = Bench(application=make_custom_application(app, Limits()), server=server)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        async with await bench.connect() as stream:
            await stream.send_all(request("/"))
            received = await receive_all(stream, quiet_s=60)
        assert received.statuses == [200]
        server.ask_to_stop()
    exhausted.close()
    return server, warnings


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_a_listener_without_descriptors_or_memory_warns_once_and_serves_again(
    number: int, jumping_clock: MockClock
) -> None:
    server, warnings = await serve_after_errors(number)
    assert server.traffic.refused[TrafficRefusal.DESCRIPTORS] == 50
    assert len(warnings) == 1


async def test_connections_aborted_before_accept_are_no_lack_of_descriptors_and_cause_no_warning(
    jumping_clock: MockClock,
) -> None:
    server, warnings = await serve_after_errors(errno.ECONNABORTED)
    assert server.traffic.refused[TrafficRefusal.DESCRIPTORS] == 0
    assert warnings == []


async def test_an_unexpected_error_of_accept_crashes_the_listener() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("no request came")

    listener = Listener(app=app, host="127.0.0.1", port=0, setting="web.port", option="--port")
    exhausted = Exhausted(fileno=bind(listener).detach())
    exhausted.errors = [errno.EIO]
    server = Server(listener, bound=exhausted)

    async def serve() -> None:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run)
            async with await trio.open_tcp_stream("127.0.0.1", server.bound_port):
                await trio.sleep_forever()

    with pytest.raises(BaseExceptionGroup) as caught:
        await serve()
    assert caught.group_contains(OSError)
    exhausted.close()


async def test_resets_at_60_different_moments_make_no_connection_fail(
    application: Application, jumping_clock: MockClock
) -> None:
    async with serving(application) as bench:
        for passes in range(60):
            stream = await bench.connect()
            await stream.send_all(request(application.page) * 2)
            for _ in range(passes):
                await trio.lowlevel.checkpoint()
            reset_connection(stream)
        await bench.wait_until_idle()
        assert bench.server.traffic.failed == 0
        assert await bench.fetch() == 200
