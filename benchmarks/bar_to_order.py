"""From a closed bar to the order at the port, against five bare Trio hops. Prints JSON.

    python benchmarks/bar_to_order.py [--symbols 200] [--days 4]

The whole tree trades a generated market on a simulated clock, so that nothing is waited for and
what is measured is our own work: from the moment the venue answers the feed with a closed bar to
the moment the first entry of that bar is handed to the venue. In between: feed, shards, veto,
refiner, order manager, governor, permit and intents committed without fsync. What a durable commit
of the intents costs on this disk stands beside it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import trio
from quantiles import quantiles_us

from kamou.app import SystemInputs, compose
from kamou.clock import JumpClock, SimulatedClock
from kamou.core.day import DAY_MS
from kamou.core.model import Intent, OrderReport, OrderRole
from kamou.data_directory.folder import MEMORY
from kamou.exchange.embedded import SimulatedExchange
from kamou.ids import derive_salt
from kamou.runs.assumed_live import AssumedLiveGate
from kamou.runs.running import running
from kamou.runs.session import SessionFiles, open_session
from kamou.runtime.runners import run_inline
from kamou.settings.config import load_settings
from kamou.venue.market.generator import GeneratedMarket

ORIGIN_MS = 1_735_689_600_000  # 2025-01-01
WARMUP_DAYS = 35
STRATEGIES = ("mean_reversion", "oi_momentum")  # those of the kept figures
HOPS, HOP_ROUNDS = 5, 2_000
DURABLE_ROUNDS = 200


class TimedExchange(SimulatedExchange):
    """Notes when it gave the feed a bar, and when the first entry after it came."""

    answered_ns = 0
    taken_ns: list[int] = []  # noqa: RUF012 - one run per process

    async def bars(self, period_ms: int, since_ms: int, until_ms: int) -> Any:
        bars = await super().bars(period_ms, since_ms, until_ms)
        if until_ms - since_ms == period_ms:
            self.answered_ns = time.perf_counter_ns()
        return bars

    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> OrderReport:
        if intent.role is OrderRole.ENTRY and self.answered_ns:
            self.taken_ns.append(time.perf_counter_ns() - self.answered_ns)
            self.answered_ns = 0
        return await super()._place(intent, attached)


def pipeline_ns(symbols: int, days: int) -> list[int]:
    """Nanoseconds from bar to order, one figure for every bar that led to an entry."""
    market = GeneratedMarket(seed=7, origin_ms=ORIGIN_MS, symbols=symbols)
    start_ms = ORIGIN_MS + WARMUP_DAYS * DAY_MS
    settings = load_settings(None, {"KAMOU__STRATEGIES__ENABLED": ",".join(STRATEGIES)}).settings
    clock = SimulatedClock(start_ms=start_ms)

    async def main(folder: Path) -> None:
        with open_session(
            settings=settings,
            files=SessionFiles(
                database=folder / "kamou.sqlite3",
                venue=MEMORY,
                durable=False,
            ),
            source=market,
            clock=clock.now_ms,
            gate=AssumedLiveGate.label,
        ) as session:
            tree = compose(
                SystemInputs(
                    settings=settings,
                    clock=clock,
                    port=session.port(settings, adapter=TimedExchange),
                    market=market,
                    writer=session.writer,
                    reader=session.reader,
                    runner=run_inline,
                    gate=AssumedLiveGate(),
                    salt_of=lambda *parts: derive_salt(b"benchmark", *parts),
                    halted=lambda: False,
                    step_ms=market.step_ms,
                )
            )
            async with running(tree):
                await clock.sleep_until(start_ms + days * DAY_MS)

    with tempfile.TemporaryDirectory(prefix="kamou-bench-") as folder:
        trio.run(main, Path(folder), clock=JumpClock())
    return TimedExchange.taken_ns


def hops_ns() -> list[int]:
    """Nanoseconds for one message through five tasks and their memory channels."""
    taken: list[int] = []

    async def relay(receive: Any, send: Any) -> None:
        async for message in receive:
            await send.send(message)

    async def main() -> None:
        channels = [trio.open_memory_channel[int](1) for _ in range(HOPS + 1)]
        async with trio.open_nursery() as nursery:
            for (_, receive), (send, _) in pairwise(channels):
                nursery.start_soon(relay, receive, send)
            for _ in range(HOP_ROUNDS):
                await channels[0][0].send(time.perf_counter_ns())
                sent_ns = await channels[-1][1].receive()
                taken.append(time.perf_counter_ns() - sent_ns)
            nursery.cancel_scope.cancel()

    trio.run(main)
    return taken


def durable_ns() -> list[int]:
    """Nanoseconds of a durable commit of three rows the size of intents."""
    import sqlite3

    taken = []
    with tempfile.TemporaryDirectory(prefix="kamou-bench-") as folder:
        connection = sqlite3.connect(Path(folder) / "durable.sqlite3", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE intent (seq INTEGER PRIMARY KEY, body BLOB)")
        for _ in range(DURABLE_ROUNDS):
            began = time.perf_counter_ns()
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO intent (body) VALUES (?)", [(b"x" * 550,)] * 3)
            connection.execute("COMMIT")
            taken.append(time.perf_counter_ns() - began)
        connection.close()
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--days", type=int, default=4)
    given = parser.parse_args()
    bare, durable = quantiles_us(hops_ns()), quantiles_us(durable_ns())
    ours = quantiles_us(pipeline_ns(given.symbols, given.days))
    report = {
        "benchmark": "bar_to_order",
        "unit": "us wall",
        "symbols": given.symbols,
        "bar_to_order": ours,
        "five_hops": bare,
        "durable_commit_of_intents": durable,
        "ratios": {name: round(ours[name] / bare[name], 1) for name in ("p50", "p99")},
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
