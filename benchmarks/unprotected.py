"""From an entry's fill to its confirmed stop, with and without scanners that crash. Prints JSON.

    python benchmarks/unprotected.py [--symbols 220 2000] [--rounds 20]

In every round the order manager gets some entries in one message, as a cycle sends them; in every
second round a scanner crashes soon after, each time a little later, and reloads its history. The
longest period between a fill and the confirmed stop is compared between the two kinds of rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from decimal import Decimal
from itertools import product
from typing import Any

import attrs
import trio
from real_time import Bench, crash, run_on, settings_for, trading

from kamou.app import Tree
from kamou.clock import SimulatedClock
from kamou.core.book.events import FillRecorded, StopConfirmed
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.model import Candidate, Side
from kamou.data_directory.folder import DataDirectory
from kamou.messages.signals import RefinedSignal, SignalsRefined
from kamou.runtime.supervision import ChildExit
from kamou.settings.config import Settings
from kamou.store import database
from kamou.store.journal import read_events

CRASH_WITHIN_S = 0.4  # of the entries: before the first fill, between fill and stop, after it
ENTRIES_PER_ROUND = 4
CALM_S = 1.5  # after a round: fills and stops have come
LIMITS = {"ratio": 1.2, "longest_with_crash_ms": 10_000}


def entering(settings: Settings) -> Settings:
    """Headroom for many small entries: they are what is timed, not what is traded."""
    return attrs.evolve(
        settings,
        risk=attrs.evolve(
            settings.risk,
            risk_per_trade=Decimal("0.0002"),
            entries_per_strategy_hour=1_000,
            reentries_per_symbol_day=1_000,
            budget_share_min=Decimal("0.01"),
        ),
    )


def candidate(symbol: str, number: int, price: float, now_ms: int) -> RefinedSignal:
    """An entry as the refiner would hand it to the order manager."""
    return RefinedSignal(
        candidate=Candidate(
            signal_id=f"benchmark.{number}",
            strategy="mean_reversion",
            symbol=symbol,
            side=Side.LONG if number % 2 else Side.SHORT,
            score=0.9,
            close=price,
            stop_distance=0.03 * price,
            target_distance=0.09 * price,
            hold_ms=DAY_MS,
            bar_opened_at_ms=now_ms - HOUR_MS,
            bar_closed_at_ms=now_ms,
        ),
        size_multiplier=Decimal(1),
    )


async def enter(
    tree: Tree, symbols: list[str], clock: SimulatedClock, numbers: Iterator[int]
) -> None:
    chosen = tuple(symbols.pop() for _ in range(ENTRIES_PER_ROUND))
    now_ms, quotes = clock.now_ms(), await tree.port.quotes(chosen)
    tree.mailboxes.order_manager.put_nowait(
        SignalsRefined(
            cause_id="benchmark",
            expires_at_ms=now_ms + 60_000,
            cycle_at_ms=now_ms,
            signals=tuple(
                candidate(symbol, next(numbers), float(quotes[symbol].mark), now_ms)
                for symbol in chosen
            ),
        )
    )


async def unprotected(bench: Bench, *, rounds: int) -> dict[str, Any]:
    """The longest unprotected period of idle rounds, and of rounds with a scanner's crash."""
    clock = bench.clock()
    exits: list[ChildExit] = []
    done: list[tuple[str, int, int]] = []  # kind, from, until
    async with trading(bench, clock, exits) as tree:
        held = {p.symbol for p in await tree.port.positions()}
        listed = [each.symbol for each in await tree.port.instruments()]
        symbols = [symbol for symbol in listed if symbol not in held]
        numbers = iter(range(1_000_000))
        for number, kind in product(range(rounds), ("idle", "crash")):
            began_ms = clock.now_ms()
            await enter(tree, symbols, clock, numbers)
            await trio.sleep(CRASH_WITHIN_S * number / rounds)
            if kind == "crash":
                await crash(tree)
            await trio.sleep(CALM_S)
            done.append((kind, began_ms, clock.now_ms()))
    by_kind: dict[str, list[int]] = {"idle": [], "crash": []}
    for filled_ms, period_ms in unprotected_ms(bench.data_dir, since_ms=done[0][1]):
        for kind, began_ms, ended_ms in done:
            if began_ms <= filled_ms < ended_ms:
                by_kind[kind].append(period_ms)
    idle, crashed = (max(by_kind[kind], default=0) for kind in ("idle", "crash"))
    return {
        "rounds_each": rounds,
        "crashes": len([exit_ for exit_ in exits if exit_.error]),
        "fills": {kind: len(found) for kind, found in by_kind.items()},
        "median_ms": {k: sorted(v)[len(v) // 2] if v else None for k, v in by_kind.items()},
        "longest_idle_ms": idle,
        "longest_with_crash_ms": crashed,
        "ratio": round(crashed / idle, 2) if idle else None,
        "limits": LIMITS,
    }


def unprotected_ms(folder: DataDirectory, *, since_ms: int) -> list[tuple[int, int]]:
    """Per symbol: when it was first filled, and how long until its stop was confirmed."""
    filled: dict[str, int] = {}
    found = []
    reader = database.open_reader(folder.database)
    for committed in read_events(reader, 0):
        event = committed.event
        if isinstance(event, FillRecorded) and event.fill.at_ms >= since_ms:
            filled.setdefault(event.fill.symbol, event.fill.at_ms)
        elif isinstance(event, StopConfirmed) and event.symbol in filled:
            found.append((filled[event.symbol], event.at_ms - filled.pop(event.symbol)))
            filled[event.symbol] = 2**62  # later fills of it are no entries
    reader.close()
    return [row for row in found if row[0] < 2**62]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, nargs="+", default=[220, 2000])
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()

    async def measure(bench: Bench) -> dict[str, Any]:
        return await unprotected(bench, rounds=given.rounds)

    report = {
        "benchmark": "unprotected",
        "sizes": {
            str(symbols): run_on(entering(settings_for(symbols, 300, 2, 2)), measure)
            for symbols in given.symbols
        },
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
