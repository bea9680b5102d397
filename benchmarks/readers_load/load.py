"""Readers of one kind on many connections for some seconds; prints what they were answered.

python load.py PORT KIND CONNECTIONS SECONDS
"""

from __future__ import annotations

import json
import resource
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

import attrs
import trio

THINK_S = 1.0  # between two pages of one reader
RETRY_S = 0.5  # after a connection that was refused or cut
PAGES = ("/results", "/", "/trades", "/results.json", "/how-it-works")
AGENT = "User-Agent: Mozilla/5.0\r\nAccept: text/html,*/*;q=0.8\r\nAccept-Encoding: gzip\r\n"
COMMAS = "Accept: " + "," * 15_500 + "\r\n"


@attrs.define
class Readers:
    """What all of them have met."""

    port: int
    answers: Counter[str] = attrs.Factory(Counter)
    connects: int = 0
    failed_connects: int = 0


Kind = Callable[[Readers, trio.SocketStream, Random], Awaitable[None]]


def request(path: str, more: str = AGENT) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{more}\r\n".encode()


async def answer(readers: Readers, stream: trio.SocketStream) -> None:
    """Read one answer in full.

    Raises:
        BrokenResourceError: the connection has ended.
    """
    received = b""
    while b"\r\n\r\n" not in received:
        received += await some(stream)
    head, _, body = received.partition(b"\r\n\r\n")
    readers.answers[head[9:12].decode()] += 1
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or b"0")
    left = length - len(body)
    while left > 0:
        left -= len(await some(stream))


async def some(stream: trio.SocketStream) -> bytes:
    data = await stream.receive_some(1 << 16)
    if not data:
        raise trio.BrokenResourceError("closed")
    return bytes(data)


async def ordinary(readers: Readers, stream: trio.SocketStream, chance: Random) -> None:
    while True:
        await stream.send_all(request(chance.choice(PAGES)))
        await answer(readers, stream)
        await trio.sleep(THINK_S * (0.5 + chance.random()))


async def long_headers(readers: Readers, stream: trio.SocketStream, chance: Random) -> None:
    while True:
        await stream.send_all(request("/results", COMMAS))
        await answer(readers, stream)
        await trio.sleep(THINK_S * (0.5 + chance.random()))


async def unknown_pages(readers: Readers, stream: trio.SocketStream, chance: Random) -> None:
    while True:
        name = f"{chance.getrandbits(64):x}"
        path = chance.choice((f"/{name}", f"/trades/{name}", f"/trades?symbol={name}"))
        await stream.send_all(request(path))
        await answer(readers, stream)
        await trio.sleep(THINK_S * (0.5 + chance.random()))


async def not_reading(readers: Readers, stream: trio.SocketStream, chance: Random) -> None:
    await stream.send_all(request("/results.json", "") * 16)
    await trio.sleep(20 + 20 * chance.random())


async def half_requests(readers: Readers, stream: trio.SocketStream, chance: Random) -> None:
    for byte in request("/results")[:-4]:
        await stream.send_all(bytes([byte]))
        await trio.sleep(chance.random())


async def idle(readers: Readers, stream: trio.SocketStream, chance: Random) -> None:
    await some(stream)


KINDS: dict[str, Kind] = {
    "ordinary": ordinary,
    "long_headers": long_headers,
    "unknown_pages": unknown_pages,
    "not_reading": not_reading,
    "half_requests": half_requests,
    "idle": idle,
}
HOSTILE = tuple(kind for name, kind in KINDS.items() if name != "ordinary")


async def one(readers: Readers, kind: Kind, chance: Random) -> None:
    """One reader, who comes again whenever his connection ends."""
    await trio.sleep(chance.random())
    while True:
        try:
            stream = await trio.open_tcp_stream("127.0.0.1", readers.port)
        except OSError:
            readers.failed_connects += 1
            await trio.sleep(RETRY_S)
            continue
        readers.connects += 1
        async with stream:
            with suppress(trio.BrokenResourceError):
                await kind(readers, stream, chance)
        await trio.sleep(RETRY_S)


async def load(port: int, name: str, connections: int, seconds: float) -> Readers:
    readers = Readers(port)
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for number in range(connections):
                kind = HOSTILE[number % len(HOSTILE)] if name == "hostile" else KINDS[name]
                nursery.start_soon(one, readers, kind, Random(number))
            await trio.sleep_forever()
    return readers


def main() -> None:
    port, name, connections, seconds = sys.argv[1:]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    readers = trio.run(load, int(port), name, int(connections), float(seconds))
    sys.stdout.write(json.dumps({**attrs.asdict(readers), "answers": dict(readers.answers)}))


if __name__ == "__main__":
    main()
