"""CPU of one request by the guarded listener and by bare hypercorn, in turn; prints JSON.

    python guards.py [--requests 4000] [--runs 5]

The application is the same prepared page, so the ratio is the least favourable to the guards.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from kamou.http.limits import Limits
from kamou.http.responses import HTML, make_response
from kamou.http.server import Listener, Server

CONNECTIONS = 8
MANY = 10**9  # requests of a connection
PAGE = make_response(b"<p>some words of a page</p>" * 400, HTML)
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en\r\nAccept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\n\r\n"
)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        raise NotImplementedError  # lifespan: hypercorn goes on without it
    await PAGE(scope, receive, send)


async def guarded(bound: socket.socket) -> None:
    listener = Listener(
        app=app, host="", port=0, setting="", option="", limits=Limits(requests_max=MANY)
    )
    await Server(listener, bound=bound).run()


async def bare(bound: socket.socket) -> None:
    config = Config()
    config.bind = [f"fd://{bound.dup().detach()}"]
    config.accesslog = config.errorlog = None
    config.include_server_header = False
    config.keep_alive_max_requests = MANY
    await serve(app, config, mode="asgi")


SERVERS = {"guarded": guarded, "bare": bare}


def serve_one(name: str) -> None:
    """Serve until the parent closes our input; print the CPU time for each line of it."""
    import time

    bound = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{bound.getsockname()[1]}\n")
    sys.stdout.flush()

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(SERVERS[name], bound))
            while await trio.to_thread.run_sync(sys.stdin.readline):
                sys.stdout.write(f"{time.process_time()}\n")
                sys.stdout.flush()
            nursery.cancel_scope.cancel()

    trio.run(main)


def ask_all(peers: list[socket.socket]) -> None:
    for peer in peers:
        peer.sendall(REQUEST)
    for peer in peers:
        received, length = b"", 0
        while not length or len(received) < length:
            received += peer.recv(1 << 16)
            head, end, _ = received.partition(b"\r\n\r\n")
            if end and not length:
                size = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                length = len(head) + len(end) + int(size)


def request_us(name: str, requests: int) -> float:
    """CPU of one request in us."""
    child = subprocess.Popen(
        [sys.executable, __file__, "--serve", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    asked, answered = child.stdin, child.stdout
    assert asked is not None
    assert answered is not None
    port = int(answered.readline())

    def cpu_s() -> float:
        asked.write("\n")
        asked.flush()
        return float(answered.readline())

    peers = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    rounds = requests // CONNECTIONS
    for _ in range(rounds // 10):
        ask_all(peers)
    before = cpu_s()
    for _ in range(rounds):
        ask_all(peers)
    taken = cpu_s() - before
    for peer in peers:
        peer.close()
    child.communicate("", timeout=60)
    return taken / (rounds * CONNECTIONS) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=4_000, help="of each run")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--serve", choices=tuple(SERVERS), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve_one(given.serve)
        return
    runs: dict[str, list[float]] = {name: [] for name in SERVERS}
    for _ in range(given.runs):
        for name, found in runs.items():
            found.append(round(request_us(name, given.requests), 1))
    medians = {name: statistics.median(found) for name, found in runs.items()}
    report = {
        "unit": "us CPU a request",
        "runs": runs,
        "medians": medians,
        "throughput_per_cpu_to_bare": round(medians["bare"] / medians["guarded"], 2),
    }
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
