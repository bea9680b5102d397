"""Seeded random requests to both listeners."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from random import Random

import pytest
import trio
from trio.testing import MockClock

from kamou.http.limits import Limits
from tests.http.hostile_bytes import HOSTILE_REQUESTS
from tests.http.rough_client import (
    Application,
    Bench,
    count_descriptors,
    make_custom_application,
    measure_resident_bytes,
    request,
    reset_connection,
    serving,
)

CONVERSATIONS = 240  # of one test
AT_ONCE = 20  # conversations
GROWTH_MAX = 16 * 1024 * 1024  # bytes of memory in the second half: 137 KB for each conversation
SEEDS = (14, 225, 71, int(os.environ.get("KAMOU_FRESH_SEED", "1")))

METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"OPTIONS", b"CONNECT", b"PRI", b"TRACE", b"get", b"")
TARGETS = (b"/", b"/zz", b"/results", b"/results.json", b"/trades?page=1", b"/healthz", b"/metrics")
ODD_TARGETS = (b"*", b"//", b"http://localhost/", b"http://", b"/%", b"/%00", b"/?", b"", b"/a b")
VERSIONS = (b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.", b"")
ENDS = (b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n", b"")
NAMES = (
    b"Host",
    b"Connection",
    b"Content-Length",
    b"Transfer-Encoding",
    b"Upgrade",
    b"Expect",
    b"HTTP2-Settings",
    b"Accept",
    b"Accept-Encoding",
    b"If-None-Match",
    b"TE",
    b"Trailer",
    b"Authorization",
    b"Sec-WebSocket-Key",
    b"Keep-Alive",
    b"x" * 300,
    b"",
    b" ",
    b"\xff",
)
VALUES = (
    b"localhost",
    b"close",
    b"keep-alive",
    b"upgrade",
    b"chunked",
    b"0",
    b"5",
    b"100-continue",
    b"websocket",
    b"h2c",
    b"gzip",
    b"*",
    b"application/json",
    b"-1",
    b"",
    b"," * 2_000,
    b"\0",
    b"a" * 9_000,
    b"\xff\xfe",
    b"18446744073709551616",
    b'W/"x"',
    b"text/html;q=0.1,*/*",
)
BODIES = (b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n", b"ffffffff\r\n", b"\0" * 50)


def draw_almost_valid_request(chance: Random) -> bytes:
    """Return a request of valid and invalid parts."""
    line = b" ".join(
        (
            chance.choice(METHODS),
            chance.choice(TARGETS if chance.random() < 0.7 else ODD_TARGETS),
            chance.choice(VERSIONS),
        )
    )
    lines = [line, b"Host: localhost"] if chance.random() < 0.9 else [line]
    for _ in range(chance.choice((0, 1, 2, 3, 5, 120))):
        lines.append(chance.choice(NAMES) + b":" + b" " + chance.choice(VALUES))
    end = chance.choice(ENDS)
    return end.join(lines) + end + end + chance.choice(BODIES)


def draw_hostile_request(chance: Random) -> bytes:
    return chance.choice(list(HOSTILE_REQUESTS.values())).data


def draw_random_bytes(chance: Random) -> bytes:
    return chance.randbytes(chance.choice((1, 10, 100, 5_000)))


def draw_valid_request(chance: Random) -> bytes:
    return request(chance.choice(TARGETS).decode())


SOURCES: tuple[Callable[[Random], bytes], ...] = (
    draw_almost_valid_request,
    draw_almost_valid_request,
    draw_hostile_request,
    draw_hostile_request,
    draw_random_bytes,
    draw_valid_request,
)


def corrupt(data: bytes, chance: Random) -> bytes:
    """Return the bytes with a few changed, dropped or repeated."""
    made = bytearray(data)
    for _ in range(chance.choice((0, 0, 1, 2, 8))):
        if not made:
            break
        at = chance.randrange(len(made))
        match chance.randrange(4):
            case 0:
                made[at] = chance.randrange(256)
            case 1:
                del made[at : at + chance.randrange(20)]
            case 2:
                made[at:at] = made[at : at + chance.randrange(60)]
            case _:
                made[at:at] = chance.choice(ENDS)
    return bytes(made)


def split_randomly(data: bytes, chance: Random) -> list[bytes]:
    places = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 1, 3, 9))))
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


async def converse(bench: Bench, chance: Random) -> None:
    """Send random requests in random pieces, and end the connection in a random way."""
    parts = [
        corrupt(chance.choice(SOURCES)(chance), chance) for _ in range(chance.choice((1, 1, 3)))
    ]
    pieces = [piece for part in parts for piece in split_randomly(part, chance)]
    async with await bench.connect() as stream:
        ending = chance.choice(("receive", "receive", "half_close", "reset", "leave"))
        if ending in ("receive", "half_close"):
            await bench.converse(
                stream, pieces, half_close=ending == "half_close", passes=(chance.randrange(12),)
            )
            return
        with suppress(trio.BrokenResourceError):
            for piece in pieces:
                await stream.send_all(piece)
                for _ in range(chance.randrange(12)):
                    await trio.lowlevel.checkpoint()
        if ending == "reset":
            reset_connection(stream)


async def converse_many(bench: Bench, chance: Random, count: int) -> None:
    for _ in range(0, count, AT_ONCE):
        async with trio.open_nursery() as nursery:
            for _ in range(AT_ONCE):
                nursery.start_soon(converse, bench, Random(chance.random()))
    await bench.wait_until_idle()


@pytest.mark.parametrize("seed", SEEDS, ids=["issue", "hypercorn", "requests", "fresh"])
async def test_random_requests_make_no_connection_fail_and_leak_no_descriptor_or_memory(
    application: Application, seed: int, jumping_clock: MockClock
) -> None:
    chance = Random(seed)
    async with serving(application) as bench:
        assert await bench.fetch() == 200
        await converse_many(bench, chance, CONVERSATIONS // 2)
        before, memory = count_descriptors(), measure_resident_bytes()
        await converse_many(bench, chance, CONVERSATIONS // 2)
        assert bench.server.traffic.failed == 0, (seed, bench.warnings)
        assert bench.warnings == []
        assert count_descriptors() == before
        assert measure_resident_bytes() - memory < GROWTH_MAX
        assert await bench.fetch() == 200
        await bench.wait_until_idle()
        assert bench.server.traffic.connections_total == CONVERSATIONS + 2


async def test_random_requests_detect_a_failing_application(jumping_clock: MockClock) -> None:
    async def app(scope: object, receive: object, send: object) -> None:
        raise RuntimeError("a page failed")

    async with serving(make_custom_application(app, Limits())) as bench:
        await converse_many(bench, Random(14), AT_ONCE)
        assert bench.server.traffic.failed > 0


def test_random_requests_of_one_seed_are_the_same_bytes() -> None:
    def draw_requests(seed: int) -> list[bytes]:
        chance = Random(seed)
        return [corrupt(chance.choice(SOURCES)(chance), chance) for _ in range(50)]

    assert draw_requests(14) == draw_requests(14)
    assert draw_requests(14) != draw_requests(15)
