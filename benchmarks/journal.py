"""The journal's cost: events per CPU second, as ratios to what SQLite does alone, in one run.

``python benchmarks/journal.py [EVENTS]`` prints JSON. The rows are those of a demo's history:
one cycle's ranking, veto, mark and close, and now and then a trade. The peers write the same
rows, encoded beforehand, into the same table with the same indexes; what is compared is what
encoding, keys, projections and commits add. CPU is user and system time; the disk's own is wall.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from decimal import Decimal as D
from pathlib import Path
from typing import Any

from sqlite_utils import Database

from kamou.core.book import events as e
from kamou.core.book.candidate_events import CandidatesVetoed, VetoedCandidate
from kamou.core.model import Candidate, Denial, Figure, Side
from kamou.core.ranking.ranking import to_ranked
from kamou.messages.codec import encode
from kamou.store.database import open_writer
from kamou.store.journal import JournalWriter, encode_event

EVENTS = 100_000
CYCLE_MS = 300_000
START_MS = 1_700_006_400_000
CANDIDATES = 4  # of a busy bar
PER_CYCLE = 4
BATCHES = (1, PER_CYCLE, 100, 1_000)
SQL = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def candidate(cycle_at_ms: int, rank: int) -> Candidate:
    symbol = f"SYN{rank:03}USDT"
    return Candidate(
        signal_id=f"{cycle_at_ms}.mean_reversion.{symbol}",
        strategy="mean_reversion",
        symbol=symbol,
        side=Side.LONG,
        score=0.123456789 * rank,
        close=12.3456,
        stop_distance=0.1875,
        target_distance=0.25,
        hold_ms=86_400_000,
        bar_opened_at_ms=cycle_at_ms - 900_000,
        bar_closed_at_ms=cycle_at_ms,
        features=(("z", -2.125), ("rsi2", 4.5), ("er", 0.21), ("adx", 17.5)),
    )


def vetoed(cycle_at_ms: int) -> VetoedCandidate:
    return VetoedCandidate(
        signal_id=f"{cycle_at_ms}.mean_reversion.SYN001USDT",
        strategy="mean_reversion",
        symbol="SYN001USDT",
        denials=(Denial(code="REWARD_TO_RISK_LOW", figures=(Figure(name="b", value="1.1"),)),),
    )


def cycle(number: int) -> tuple[e.Event, ...]:
    """The four events of one quiet cycle; every third one closes a bar and has candidates."""
    at = START_MS + number * CYCLE_MS
    bar = number % 3 == 0
    mark = D(10_000) + D(number) / 100
    return (
        e.CycleRanked(
            at_ms=at,
            cause_id=f"cycle:{at}",
            cycle_at_ms=at,
            bar_closed_at_ms=at if bar else 0,
            symbols=220,
            candidates=CANDIDATES if bar else 0,
            by_strategy=(Figure(name="mean_reversion", value=str(CANDIDATES)),) if bar else (),
            abstained=tuple(Figure(name=f"mean_reversion.{c}", value="40") for c in range(1, 6)),
            late_shards=0,
            top=tuple(to_ranked(candidate(at, rank)) for rank in range(CANDIDATES)) if bar else (),
        ),
        CandidatesVetoed(at_ms=at, cause_id=f"cycle:{at}", candidates=(vetoed(at),)),
        e.EquityRecorded(
            at_ms=at + 1,
            equity=mark,
            wallet_balance=mark,
            unrealized_pnl=D(0),
            margin_used=D("250.25"),
            open_risk=D("93.10"),
            net_deposits=D(0),
        ),
        e.CycleClosed(
            at_ms=at + 1, cycle_at_ms=at, positions=4, open_orders=8, drift=0, repaired=0
        ),
    )


def history(count: int) -> list[e.Event]:
    return [event for n in range(count // PER_CYCLE) for event in cycle(n)]


def batches(rows: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def rate(count: int, work: Callable[[sqlite3.Connection], None], *, durable: bool) -> float:
    """Events per CPU second of ``work`` on a fresh database."""
    with tempfile.TemporaryDirectory() as folder:
        connection = open_writer(Path(folder) / "kamou.sqlite3", durable=durable)
        began = time.process_time()
        work(connection)
        spent = time.process_time() - began
        assert connection.execute("SELECT count(*) FROM event").fetchone() == (count,)
        connection.close()
    return count / spent


def measure(count: int) -> dict[str, Any]:
    made = history(count)
    rows = [encode_event(event) for event in made]
    raw = [
        (seq, 1, r.event.at_ms, r.kind, r.key, r.event.cause_id, r.event.schema, r.body)
        for seq, r in enumerate(rows, 1)
    ]
    names = ("seq", "run_number", "at_ms", "kind", "key", "cause_id", "schema", "body")
    few = raw[: len(raw) // 20 // PER_CYCLE * PER_CYCLE]

    def executemany(size: int) -> Callable[[sqlite3.Connection], None]:
        def work(connection: sqlite3.Connection) -> None:
            for batch in batches(raw, size):
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(SQL, batch)
                connection.execute("COMMIT")

        return work

    def append(size: int) -> Callable[[sqlite3.Connection], None]:
        def work(connection: sqlite3.Connection) -> None:
            writer = JournalWriter(connection, run_number=1)
            for batch in batches(made, size):
                writer.append(batch)

        return work

    def per_row(connection: sqlite3.Connection) -> None:
        table = Database(connection, execute_plugins=False).table("event")
        for row in few:
            table.insert(dict(zip(names, row, strict=True)))

    began = time.process_time()
    for event in made:
        encode(event)
    encode_us = (time.process_time() - began) / len(made) * 1e6
    peer = rate(len(few), per_row, durable=True)
    found: dict[str, Any] = {
        "events": len(made),
        "body_bytes_mean": sum(len(r.body) for r in rows) / len(rows),
        "encode_us": encode_us,
        "sqlite_utils_per_row": peer,
        "batches": {},
    }
    for durable in (True, False):
        for size in BATCHES:
            ours = rate(len(made), append(size), durable=durable)
            theirs = rate(len(made), executemany(size), durable=durable)
            found["batches"][f"{'full' if durable else 'off'}/{size}"] = {
                "journal_per_cpu_s": ours,
                "executemany_per_cpu_s": theirs,
                "to_executemany": ours / theirs,
                "to_sqlite_utils_per_row": ours / peer,
            }
    return found


if __name__ == "__main__":
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else EVENTS
    sys.stdout.write(json.dumps(measure(wanted), indent=2) + "\n")
