"""What a public page costs after 30, 360 and 1,000 days: CPU and bytes, as ratios in one run.

``python benchmarks/pages.py [--days 30 360 1000] [--trades 20]`` prints JSON. A seeded history is
written straight into the tables of the first schema; opening it brings it up to date, which is
measured as well. Then every page is asked for three times over: cold (a site that has just
started), at a new head (one more equity mark, the median of ``HEADS``) and at a day's end (a day
was opened, the longest of ``ENDS``). CPU is user and system time of the whole request, rendering
and compressing included; the ASGI call is direct, so no server is in it.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal as D
from pathlib import Path
from random import Random
from typing import Any

import trio

from kamou.core.book import events as e
from kamou.core.kinds import RunMode
from kamou.messages.codec import encode
from kamou.store import migrations
from kamou.store.database import open_writer
from kamou.store.journal import JournalWriter
from kamou.web.app import PublicSite
from kamou.web.site import Site

START_MS = 1_700_006_400_000  # 2023-11-15T00:00Z
DAY_MS, CYCLE_MS = 86_400_000, 300_000
SYMBOLS = tuple(f"SYN{n:03}USDT" for n in range(220))
STRATEGIES = ("mean_reversion", "oi_momentum")
PAGES = (
    "/results",
    "/results.json",
    "/",
    "/trades",
    "/days",
    "/api/v1/public/days",
    "/api/v1/public/trades",
)
HEADS, ENDS = 15, 3
SEED = 20_231_115


def day_of(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms // 1000, UTC).date().isoformat()


class History:
    """Rows of a record of so many days: 288 marks a day, trades with fills, funding, some halts."""

    def __init__(self, connection: sqlite3.Connection, days: int, trades: int) -> None:
        self.db, self.days, self.trades = connection, days, trades
        self.chance = Random(SEED)
        self.equity = D(10_000)
        self.seq = 0

    def write(self) -> None:
        self.db.execute("BEGIN")
        self._event(
            e.RunStarted(
                at_ms=START_MS,
                run_number=1,
                mode=RunMode.DEMO,
                version="1",
                config_digest="c0ffee",
                config_json="{}",
                change_reason="",
            ),
            "run_started",
            None,
        )
        self.db.execute(
            "INSERT INTO run VALUES (1, 'demo', '1', 'c0ffee', ?, NULL, NULL)", (START_MS,)
        )
        self.db.execute("INSERT INTO config VALUES ('c0ffee', ?, '{}', '')", (START_MS,))
        for day in range(self.days):
            self._day(START_MS + day * DAY_MS)
        self._open(START_MS + self.days * DAY_MS)
        self._marks(START_MS + self.days * DAY_MS, 100)
        self.db.execute("COMMIT")

    def _event(self, event: e.Event, kind: str, key: str | None) -> None:
        self.seq += 1
        self.db.execute(
            "INSERT INTO event VALUES (?, 1, ?, ?, ?, '', 1, ?)",
            (self.seq, event.at_ms, kind, key, encode(event)),
        )

    def _open(self, at_ms: int) -> None:
        opened = e.DayOpened(at_ms=at_ms + 6_000, day=day_of(at_ms), equity=self.equity)
        if self.seq == 1:
            self._event(mark(at_ms, self.equity), "equity_recorded", None)
        self._event(opened, "day_opened", opened.day)
        self.db.execute(
            'UPDATE day SET equity_end = ?, "return" = 0.001 WHERE equity_end IS NULL',
            (str(self.equity),),
        )
        self.db.execute(
            "INSERT INTO day (day, equity_start, trades) VALUES (?, ?, ?)",
            (opened.day, str(self.equity), self.trades),
        )

    def _day(self, at_ms: int) -> None:
        self._open(at_ms)
        for n in range(self.trades):
            self._trade(at_ms + (n + 1) * (DAY_MS // (self.trades + 1)), n)
        self._marks(at_ms, DAY_MS // CYCLE_MS)
        if self.chance.random() < 0.1:
            for minutes, before, after in (
                (600, "normal", "reduce_only"),
                (900, "reduce_only", "normal"),
            ):
                self.seq += 1
                self.db.execute(
                    "INSERT INTO state VALUES (?, ?, ?, ?, 'DAY_LOSS_LIMIT', '[]')",
                    (self.seq, at_ms + minutes * 60_000, before, after),
                )
        if self.chance.random() < 0.03:
            self._income(at_ms + DAY_MS // 2, "transfer", "", D(self.chance.randint(-200, 300)))

    def _marks(self, at_ms: int, count: int) -> None:
        rows = []
        for n in range(count):
            equity = self.equity + D(self.chance.randint(-4_000, 4_000)).scaleb(-2)
            rows.append((at_ms + n * CYCLE_MS + 1_000 * (n > 0), f"{equity:.8f}", "0"))
        self.db.executemany("INSERT INTO equity VALUES (?1, ?2, ?2, ?3, '200', '80', '0')", rows)
        self.db.executemany(
            "INSERT INTO cycle VALUES (?, ?, 220, 3, 217, 0, 1, 1, 2, 4, 0, ?)",
            [(at, at, at) for at, _, _ in rows],
        )

    def _income(self, at_ms: int, kind: str, symbol: str, amount: D) -> None:
        self.db.execute(
            "INSERT INTO income VALUES (?, ?, ?, ?, ?)",
            (f"{kind}.{symbol}.{at_ms}", kind, symbol, str(amount), at_ms),
        )

    def _trade(self, at_ms: int, number: int) -> None:
        strategy, symbol = self.chance.choice(STRATEGIES), self.chance.choice(SYMBOLS)
        trade = f"{at_ms}.{number}.{strategy}.{symbol}"
        net = D(self.chance.randint(-10_000, 11_000)).scaleb(-2)
        self.equity += net
        self._income(at_ms - 60_000, "funding", symbol, D("-0.12345678"))
        for part, side in (("in", "buy"), ("out", "sell")):
            client = f"km{part}{trade}"
            stamp = at_ms - (3_600_000 if part == "in" else 0)
            self.db.execute(
                "INSERT INTO fill VALUES (?, ?, ?, ?, ?, '40', '100', '2.40', '0.41', 0, 'order',"
                " ?, 'stream')",
                (client, symbol, client, trade, side, stamp),
            )
            self.db.execute(
                "INSERT INTO order_ VALUES (?, ?, '', 'entry', 0, ?, ?, 'limit', '40', '100', NULL,"
                " 'filled', '40', 'v', ?, ?, ?, '')",
                (client, trade, symbol, side, stamp, stamp, stamp),
            )
        self.db.execute(
            "INSERT INTO trade VALUES (?, ?, ?, 'long', '40', '1', '100.12345', '101.54321', '98',"
            " ?, ?, '10', '4.80', '-0.12345678', '0.82', ?, ?, 'target')",
            (trade, symbol, strategy, at_ms - 3_600_000, at_ms, str(net), float(net) / 100),
        )


def mark(at_ms: int, equity: D) -> e.EquityRecorded:
    return e.EquityRecorded(
        at_ms=at_ms,
        equity=equity,
        wallet_balance=equity,
        unrealized_pnl=D(0),
        margin_used=D(200),
        open_risk=D(80),
        net_deposits=D(0),
    )


def write(path: Path, days: int, trades: int) -> None:
    """A database of the first schema, without this version's own tables."""
    connection = sqlite3.connect(path, isolation_level=None)
    known = dict(migrations.JOURNAL_MIGRATIONS)
    migrations.JOURNAL_MIGRATIONS = dict([next(iter(known.items()))])
    try:
        migrations.apply_migrations(connection)
        History(connection, days, trades).write()
    finally:
        migrations.JOURNAL_MIGRATIONS = known
        connection.close()


async def inline(function: Callable[..., Any], *args: object) -> Any:
    return function(*args)


async def asked(app: PublicSite, path: str) -> tuple[float, int, int]:
    """CPU in ms, status and bytes of one request."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    name, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": name,
        "raw_path": name.encode(),
        "query_string": query.encode(),
        "headers": [],
        "server": ("127.0.0.1", 80),
    }
    begin = time.process_time()
    await app(scope, receive, send)
    took = (time.process_time() - begin) * 1_000
    return took, sent[0]["status"], sum(len(m.get("body", b"")) for m in sent)


class Measured:
    """One database under measurement; time goes on with each event that is added."""

    def __init__(self, path: Path, days: int) -> None:
        self.path = path
        self.connection = open_writer(path, durable=False)
        self.writer = JournalWriter(self.connection, run_number=2)
        self.day_ms = START_MS + days * DAY_MS
        self.at_ms = self.day_ms + 100 * CYCLE_MS
        found = self.connection.execute("SELECT trade_id FROM trade LIMIT 1").fetchone()
        self.pages = (*PAGES, f"/trades/{found[0]}")

    def new_head(self) -> None:
        self.at_ms += CYCLE_MS // 10
        self.writer.append([mark(self.at_ms, D("10123.45678901"))])

    def day_ends(self) -> None:
        self.day_ms += DAY_MS
        self.at_ms = self.day_ms + 7_000
        opened = e.DayOpened(
            at_ms=self.day_ms + 6_000, day=day_of(self.day_ms), equity=D("10123.45678901")
        )
        self.writer.append([opened, mark(self.at_ms, D("10123.5"))])

    async def measure(self) -> dict[str, dict[str, Any]]:
        app = PublicSite(self.path, Site(mode=RunMode.DEMO, assumed_live=True), runner=inline)
        found: dict[str, dict[str, Any]] = {}
        for path in self.pages:
            took, status, size = await asked(app, path)
            if status != 200:
                sys.stderr.write(f"{path}: status {status}, left out\n")
                continue
            name = "/trades/{id}" if path.startswith("/trades/") else path
            found[name] = {"path": path, "bytes": size, "cold_ms": round(took, 2)}
        for row in found.values():
            own = PublicSite(self.path, Site(mode=RunMode.DEMO, assumed_live=True), runner=inline)
            row["cold_ms"] = round((await asked(own, row["path"]))[0], 2)
            own.close()
        heads: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(HEADS):
            self.new_head()
            for name, row in found.items():
                heads[name].append((await asked(app, row["path"]))[0])
        ends: dict[str, list[float]] = {name: [] for name in found}
        for _ in range(ENDS):
            for name, row in found.items():
                self.day_ends()
                ends[name].append((await asked(app, row["path"]))[0])
        for name, row in found.items():
            row["new_head_ms"] = round(statistics.median(heads[name]), 2)
            row["day_end_ms"] = round(max(ends[name]), 2)
            row.pop("path")
        app.close()
        self.connection.close()
        return found


def measured(folder: Path, days: int, trades: int) -> dict[str, Any]:
    path = folder / f"{days}.sqlite3"
    write(path, days, trades)
    begin = time.process_time()
    open_writer(path).close()
    migrated = time.process_time() - begin
    pages = trio.run(Measured(path, days).measure)
    return {"migrate_cpu_s": round(migrated, 2), "pages": pages}


def ratios(found: dict[int, dict[str, Any]]) -> Iterator[tuple[str, float]]:
    first, last = min(found), max(found)
    for name, row in found[last]["pages"].items():
        before = found[first]["pages"][name]["new_head_ms"]
        yield name, round(row["new_head_ms"] / before, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, nargs="+", default=[30, 360, 1_000])
    parser.add_argument("--trades", type=int, default=20, help="a day")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for days in given.days:
            sys.stderr.write(f"{days} days ...\n")
            found[days] = measured(Path(folder), days, given.trades)
    report = {
        "benchmark": "pages",
        "trades_per_day": given.trades,
        "days": found,
        "new_head_ratio_last_to_first": dict(ratios(found)),
        "bytes_max": max(p["bytes"] for row in found.values() for p in row["pages"].values()),
    }
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
