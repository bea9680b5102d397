"""The database's numbered migrations, by sqlite-utils. Append only: a released one never changes.

The tables are read models of the journal (``event``), written in the transaction of the event
they come from. Decimals are TEXT, exact; money is in the account currency; ``*_ms`` are INTEGER.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from kamou.store import projected_downtime, projected_money
from kamou.store.record_rebuild import mark_config_changes, rebuild
from kamou.store.state_history import BEGAN

if TYPE_CHECKING:
    from sqlite_utils import Database

MIGRATION_SET = "kamou"
MIGRATIONS_TABLE = """CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
)"""
"""The table in which sqlite-utils notes what it applied, as it writes it; a test compares."""

_JOURNAL = (
    """CREATE TABLE event (
        seq INTEGER PRIMARY KEY, generation INTEGER NOT NULL, at_ms INTEGER NOT NULL,
        kind TEXT NOT NULL, key TEXT, cause_id TEXT NOT NULL, schema INTEGER NOT NULL,
        body BLOB NOT NULL CHECK (typeof(body) = 'blob'),
        UNIQUE (kind, key)) STRICT""",
    # UNIQUE (kind, key) serves look-ups by kind too. Events without a cause are left out here.
    "CREATE INDEX event_cause ON event (cause_id) WHERE cause_id <> ''",
    """CREATE TRIGGER event_never_changes BEFORE UPDATE ON event
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    """CREATE TRIGGER event_never_leaves BEFORE DELETE ON event
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    """CREATE TABLE snapshot (
        seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, code_hash TEXT NOT NULL,
        state BLOB NOT NULL, state_hash TEXT NOT NULL) STRICT""",
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE TABLE detail (cycle_ms INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT",
)

_SYSTEM = (
    """CREATE TABLE run (
        generation INTEGER PRIMARY KEY, mode TEXT NOT NULL, version TEXT NOT NULL,
        config_digest TEXT NOT NULL, started_ms INTEGER NOT NULL, stopped_ms INTEGER,
        stop_reason TEXT) STRICT""",
    """CREATE TABLE config (
        digest TEXT PRIMARY KEY, first_ms INTEGER NOT NULL, body TEXT NOT NULL,
        reason TEXT NOT NULL) STRICT""",
    """CREATE TABLE cycle (
        cycle_ms INTEGER PRIMARY KEY, bar_close_ms INTEGER NOT NULL, symbols INTEGER NOT NULL,
        candidates INTEGER NOT NULL, abstained INTEGER NOT NULL, late_shards INTEGER NOT NULL,
        vetoed INTEGER NOT NULL DEFAULT 0, refused INTEGER NOT NULL DEFAULT 0,
        positions INTEGER, open_orders INTEGER, drift INTEGER, closed_ms INTEGER) STRICT""",
    "CREATE INDEX cycle_bar ON cycle (bar_close_ms) WHERE bar_close_ms > 0",
    """CREATE TABLE state (
        seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, "before" TEXT NOT NULL,
        "after" TEXT NOT NULL, reason TEXT NOT NULL, figures TEXT NOT NULL) STRICT""",
)

_DECISIONS = (
    """CREATE TABLE signal (
        signal_id TEXT PRIMARY KEY, cycle_ms INTEGER NOT NULL, strategy TEXT NOT NULL,
        symbol TEXT NOT NULL, side TEXT NOT NULL, score REAL NOT NULL,
        bar_open_ms INTEGER NOT NULL, bar_close_ms INTEGER NOT NULL, stop_distance REAL NOT NULL,
        target_distance REAL NOT NULL, close REAL NOT NULL, features TEXT NOT NULL,
        proxy TEXT NOT NULL, verdict TEXT NOT NULL, size_multiplier TEXT NOT NULL) STRICT""",
    "CREATE INDEX signal_symbol ON signal (symbol, bar_close_ms)",
    """CREATE TABLE refusal (
        seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, tier TEXT NOT NULL,
        signal_id TEXT NOT NULL, strategy TEXT NOT NULL, symbol TEXT NOT NULL,
        codes TEXT NOT NULL) STRICT""",
    "CREATE INDEX refusal_symbol ON refusal (symbol, seq)",
    """CREATE TABLE permit (
        permit_id TEXT PRIMARY KEY, signal_id TEXT NOT NULL, symbol TEXT NOT NULL,
        side TEXT NOT NULL, quantity TEXT NOT NULL, entry_price TEXT NOT NULL,
        stop_price TEXT NOT NULL, target_price TEXT NOT NULL, risk TEXT NOT NULL,
        notional TEXT NOT NULL, bound_by TEXT NOT NULL, granted_ms INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL, consumed_ms INTEGER, client_order_id TEXT,
        released_ms INTEGER, release_reason TEXT) STRICT""",
)

_EXECUTION = (
    """CREATE TABLE order_ (
        client_order_id TEXT PRIMARY KEY, trade_id TEXT NOT NULL, permit_id TEXT NOT NULL,
        role TEXT NOT NULL, attempt INTEGER NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
        type TEXT NOT NULL, quantity TEXT NOT NULL, limit_price TEXT, trigger_price TEXT,
        status TEXT NOT NULL, filled TEXT NOT NULL DEFAULT '0', venue_order_id TEXT NOT NULL DEFAULT
        '', intended_ms INTEGER NOT NULL, accepted_at_ms INTEGER, closed_ms INTEGER, reason TEXT NOT
        NULL DEFAULT '') STRICT""",
    "CREATE INDEX order_trade ON order_ (trade_id)",
    "CREATE INDEX order_open ON order_ (intended_ms) WHERE closed_ms IS NULL",
    """CREATE TABLE fill (
        key TEXT PRIMARY KEY, symbol TEXT NOT NULL, client_order_id TEXT NOT NULL, trade_id TEXT,
        side TEXT NOT NULL, quantity TEXT NOT NULL, price TEXT NOT NULL, fee TEXT NOT NULL,
        slippage TEXT NOT NULL, maker INTEGER NOT NULL, reason TEXT NOT NULL,
        at_ms INTEGER NOT NULL, source TEXT NOT NULL) STRICT""",
    "CREATE INDEX fill_trade ON fill (trade_id)",
    "CREATE INDEX fill_unattributed ON fill (symbol) WHERE trade_id IS NULL",
    """CREATE TABLE trade (
        trade_id TEXT PRIMARY KEY, symbol TEXT NOT NULL, strategy TEXT NOT NULL,
        side TEXT NOT NULL, quantity TEXT NOT NULL, contract_size TEXT NOT NULL,
        entry_price TEXT NOT NULL, exit_price TEXT NOT NULL, stop_price TEXT NOT NULL,
        opened_ms INTEGER NOT NULL, closed_ms INTEGER NOT NULL, pnl_gross TEXT NOT NULL,
        fees TEXT NOT NULL, funding TEXT NOT NULL, slippage TEXT NOT NULL, pnl_net TEXT NOT NULL,
        r_multiple REAL NOT NULL, exit_reason TEXT NOT NULL) STRICT""",
    "CREATE INDEX trade_closed ON trade (closed_ms)",
    "CREATE INDEX trade_symbol ON trade (symbol)",
)

_MONEY = (
    """CREATE TABLE income (
        income_id TEXT PRIMARY KEY, kind TEXT NOT NULL, symbol TEXT NOT NULL,
        amount TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT""",
    """CREATE TABLE equity (
        at_ms INTEGER PRIMARY KEY, equity TEXT NOT NULL, balance TEXT NOT NULL,
        unrealised TEXT NOT NULL, margin_used TEXT NOT NULL, open_risk TEXT NOT NULL,
        flows TEXT NOT NULL) STRICT""",
    """CREATE TABLE day (
        day TEXT PRIMARY KEY, equity_start TEXT NOT NULL, equity_end TEXT, "return" REAL,
        flows TEXT NOT NULL DEFAULT '0', trades INTEGER NOT NULL DEFAULT 0,
        fees TEXT NOT NULL DEFAULT '0', funding TEXT NOT NULL DEFAULT '0',
        pnl TEXT NOT NULL DEFAULT '0') STRICT""",
)

_DAYS = (
    "DROP TABLE day",  # it ended where the next day opened, whenever that was
    """CREATE TABLE boundary (
        at_ms INTEGER PRIMARY KEY, read_ms INTEGER NOT NULL, equity TEXT NOT NULL,
        midnight INTEGER NOT NULL) STRICT""",
    """CREATE TABLE day (
        day TEXT PRIMARY KEY, last_day TEXT NOT NULL, start_ms INTEGER NOT NULL,
        end_ms INTEGER NOT NULL, complete INTEGER NOT NULL, equity_start TEXT NOT NULL,
        equity_end TEXT NOT NULL, "return" REAL, flows TEXT NOT NULL, trades INTEGER NOT NULL,
        fees TEXT NOT NULL, funding TEXT NOT NULL, pnl TEXT NOT NULL) STRICT""",
    "CREATE INDEX day_last ON day (last_day)",
    """CREATE TABLE day_strategy (
        day TEXT NOT NULL, strategy TEXT NOT NULL, trades INTEGER NOT NULL,
        wins INTEGER NOT NULL, r REAL NOT NULL, profit REAL NOT NULL, loss REAL NOT NULL,
        PRIMARY KEY (day, strategy)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE month (
        month TEXT PRIMARY KEY, equity_end TEXT NOT NULL, "return" REAL, change TEXT NOT NULL,
        flows TEXT NOT NULL, trades INTEGER NOT NULL, fees TEXT NOT NULL, funding TEXT NOT NULL,
        complete INTEGER NOT NULL, gaining INTEGER NOT NULL, losing INTEGER NOT NULL,
        unseparated INTEGER NOT NULL) STRICT""",
    "CREATE INDEX fill_at ON fill (at_ms)",
    "CREATE INDEX income_at ON income (at_ms)",
)

_TOTALS = (
    "CREATE TABLE total (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    """CREATE TABLE strategy_total (
        strategy TEXT PRIMARY KEY, trades INTEGER NOT NULL DEFAULT 0,
        wins INTEGER NOT NULL DEFAULT 0, r REAL NOT NULL DEFAULT 0,
        profit TEXT NOT NULL DEFAULT '0', loss TEXT NOT NULL DEFAULT '0',
        pnl_net TEXT NOT NULL DEFAULT '0', fees TEXT NOT NULL DEFAULT '0',
        funding TEXT NOT NULL DEFAULT '0', slippage TEXT NOT NULL DEFAULT '0') STRICT""",
    """CREATE TABLE trade_count (
        strategy TEXT NOT NULL, symbol TEXT NOT NULL, won INTEGER NOT NULL,
        trades INTEGER NOT NULL, PRIMARY KEY (strategy, symbol, won)) STRICT, WITHOUT ROWID""",
)

_CURVE = (
    """CREATE TABLE curve_width (
        width_ms INTEGER NOT NULL, first_ms INTEGER NOT NULL, last_ms INTEGER NOT NULL) STRICT""",
    """CREATE TABLE curve (
        start_ms INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, equity TEXT NOT NULL,
        low TEXT NOT NULL, high TEXT NOT NULL) STRICT""",
    """CREATE TABLE curve_mark (
        kind TEXT NOT NULL, start_ms INTEGER NOT NULL, amount TEXT NOT NULL,
        PRIMARY KEY (kind, start_ms)) STRICT, WITHOUT ROWID""",
)

# One index for each combination of filters of /trades: a page reads its own rows and no others.
_TRADE_INDEXES = tuple(
    f"CREATE INDEX trade_{'_'.join(columns)} ON trade ({', '.join(columns)}, closed_ms)"
    for columns in (
        ("won",),
        ("strategy",),
        ("symbol",),
        ("strategy", "won"),
        ("symbol", "won"),
        ("strategy", "symbol"),
        ("strategy", "symbol", "won"),
    )
)
_TRADE_PAGES = (
    "ALTER TABLE trade ADD COLUMN won INTEGER"
    " GENERATED ALWAYS AS (CAST(pnl_net AS REAL) > 0) VIRTUAL",
    "DROP INDEX trade_symbol",
    *_TRADE_INDEXES,
    "CREATE TABLE open_trade (trade_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID",
    "CREATE INDEX order_entry ON order_ (symbol, intended_ms) WHERE role = 'entry'",
    """CREATE TABLE downtime (
        seq INTEGER PRIMARY KEY, generation INTEGER NOT NULL, from_ms INTEGER NOT NULL,
        until_ms INTEGER NOT NULL, orderly INTEGER NOT NULL) STRICT""",
    """CREATE INDEX state_halted ON state (seq)
        WHERE "after" IN ('reduce_only', 'flattening')""",
    "CREATE INDEX config_first ON config (first_ms, digest)",
)

_TRADE_COLUMNS = (
    "trade_id, symbol, strategy, side, quantity, contract_size, entry_price, exit_price,"
    " stop_price, opened_ms, closed_ms, pnl_gross, fees, funding, slippage, pnl_net"
)

# A trade that no plan opened has no R. Older journals have a number for what was adopted.
_PLANNED_RISK = (
    f"""CREATE TABLE trade_before AS SELECT rowid AS place, {_TRADE_COLUMNS}, r_multiple,
        exit_reason FROM trade""",
    "DROP TABLE trade",
    """CREATE TABLE trade (
        trade_id TEXT PRIMARY KEY, symbol TEXT NOT NULL, strategy TEXT NOT NULL,
        side TEXT NOT NULL, quantity TEXT NOT NULL, contract_size TEXT NOT NULL,
        entry_price TEXT NOT NULL, exit_price TEXT NOT NULL, stop_price TEXT NOT NULL,
        opened_ms INTEGER NOT NULL, closed_ms INTEGER NOT NULL, pnl_gross TEXT NOT NULL,
        fees TEXT NOT NULL, funding TEXT NOT NULL, slippage TEXT NOT NULL, pnl_net TEXT NOT NULL,
        r_multiple REAL, exit_reason TEXT NOT NULL, planned_stop TEXT,
        won INTEGER GENERATED ALWAYS AS (CAST(pnl_net AS REAL) > 0) VIRTUAL) STRICT""",
    f"""INSERT INTO trade (rowid, {_TRADE_COLUMNS}, r_multiple, exit_reason)
        SELECT place, {_TRADE_COLUMNS},
            CASE WHEN strategy <> 'adopted' THEN r_multiple END, exit_reason
        FROM trade_before ORDER BY place""",
    "DROP TABLE trade_before",
    "CREATE INDEX trade_closed ON trade (closed_ms)",
    *_TRADE_INDEXES,
    "ALTER TABLE strategy_total ADD COLUMN with_r INTEGER NOT NULL DEFAULT 0",
    "UPDATE strategy_total SET with_r = trades WHERE strategy <> 'adopted'",
    "UPDATE strategy_total SET r = 0 WHERE strategy = 'adopted'",
    "ALTER TABLE day_strategy ADD COLUMN with_r INTEGER NOT NULL DEFAULT 0",
    "UPDATE day_strategy SET with_r = trades WHERE strategy <> 'adopted'",
    "UPDATE day_strategy SET r = 0 WHERE strategy = 'adopted'",
)

# The equity of a midnight is an event's own since it is computed for 00:00:00.000.
_MIDNIGHTS = (
    "ALTER TABLE boundary ADD COLUMN exact INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE boundary ADD COLUMN rebuilt TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE boundary ADD COLUMN corrections INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE day ADD COLUMN start_rebuilt TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE day ADD COLUMN end_rebuilt TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE day ADD COLUMN corrections INTEGER NOT NULL DEFAULT 0",
)

# A halt is one, however often its state changes; and it is found by how it began.
_PERIODS = (
    """CREATE TABLE command (
        seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, reason TEXT NOT NULL,
        note TEXT NOT NULL) STRICT""",
    *(
        f"CREATE INDEX state_{kind}_began ON state (seq) WHERE {condition}"
        for kind, condition in BEGAN.items()
    ),
    "INSERT OR IGNORE INTO total (name, value) VALUES ('halts', 0), ('reductions', 0)",
    *(
        f"UPDATE total SET value = (SELECT count(*) FROM state WHERE {BEGAN[kind]})"
        f" WHERE name = '{name}'"
        for kind, name in (("halt", "halts"), ("reduced_size", "reductions"))
    ),
)

# Downtime is where no cycle closed, not where no run was.
_DOWNTIME = (
    "ALTER TABLE run ADD COLUMN period_ms INTEGER",
    "DROP TABLE downtime",
    """CREATE TABLE downtime (
        seq INTEGER NOT NULL, number INTEGER NOT NULL, from_ms INTEGER NOT NULL,
        until_ms INTEGER NOT NULL, cause TEXT NOT NULL,
        PRIMARY KEY (seq, number)) STRICT, WITHOUT ROWID""",
    "DELETE FROM curve_mark WHERE kind = 'down'",
)

# Each deposit and withdrawal is found among thousands of funding payments.
_TRANSFERS = (
    "CREATE INDEX income_transfer ON income (at_ms) WHERE kind = 'transfer'",
    "INSERT OR IGNORE INTO total (name, value) VALUES ('transfers', 0)",
    "UPDATE total SET value = (SELECT count(*) FROM income WHERE kind = 'transfer')"
    " WHERE name = 'transfers'",
)


# A halt is found by how it began (0005) since it is a period.
_UNUSED = ("DROP INDEX state_halted",)

# The curve marks the transfers that are counted. Older rows also have one of the record's first
# moment, which is not counted, or lack one of the 00:00 that a record began with.
_TRANSFER_MARKS = ("DELETE FROM curve_mark WHERE kind = 'flow'",)

# A configuration that comes back is a change, too. Without a reason: as in the run before.
_CONFIG_CHANGES = (
    "ALTER TABLE run ADD COLUMN change_reason TEXT",
    """UPDATE run SET change_reason = coalesce((
        SELECT json_extract(CAST(event.body AS TEXT), '$.change_reason') FROM event
        WHERE event.kind = 'run_started'
        AND json_extract(CAST(event.body AS TEXT), '$.generation') = run.generation), '')
        WHERE config_digest IS NOT (SELECT earlier.config_digest FROM run AS earlier
            WHERE earlier.generation < run.generation ORDER BY earlier.generation DESC LIMIT 1)""",
    "CREATE INDEX run_changed ON run (started_ms) WHERE change_reason IS NOT NULL",
    "UPDATE total SET value = (SELECT count(*) FROM run WHERE change_reason IS NOT NULL)"
    " WHERE name = 'configs'",
)


MIGRATIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "0001_journal_and_read_models": (*_JOURNAL, *_SYSTEM, *_DECISIONS, *_EXECUTION, *_MONEY),
        "0002_daily_rows": (*_DAYS, *_TOTALS, *_CURVE, *_TRADE_PAGES),
        "0003_planned_risk": _PLANNED_RISK,
        "0004_midnights": _MIDNIGHTS,
        "0005_periods": _PERIODS,
        "0006_downtime": _DOWNTIME,
        "0007_transfers": _TRANSFERS,
        "0008_unused": _UNUSED,
        "0009_transfer_marks": _TRANSFER_MARKS,
        "0010_config_changes": _CONFIG_CHANGES,
    }
)
"""Name -> statements, in order; the number in front of the name is the schema version."""

FILLED: Mapping[str, Callable[[sqlite3.Connection], None]] = MappingProxyType(
    {
        "0004_midnights": rebuild,
        "0006_downtime": projected_downtime.rebuild,
        "0009_transfer_marks": lambda connection: projected_money.mark_flows(connection.cursor()),
        "0010_config_changes": mark_config_changes,
    }
)
"""What fills tables that a migration made, in its transaction. Those of 0002, unless they are
filled: with what the projections write now, so only once 0004 has added the newest columns. And the
downtime of 0006, from the cycles of the journal, the marks of 0009 from the transfers, and those of
0010 from the runs."""

TRIED: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "0002_daily_rows": ("0003_planned_risk", "0004_midnights"),
        "0003_planned_risk": ("0004_midnights",),
    }
)
"""What is tried, and undone, before a migration is committed: rows that do not add up are found
while the database still is as it was."""


def apply(connection: sqlite3.Connection) -> None:
    """Apply what is pending, each migration in its own transaction."""
    # Half a second of imports that readers, and writers of a current schema, do without.
    from sqlite_utils import Database, Migrations

    kamou = Migrations(MIGRATION_SET)
    for name, statements in MIGRATIONS.items():
        kamou(name=name)(_step(statements, FILLED.get(name), TRIED.get(name, ())))
    kamou.apply(Database(connection, execute_plugins=False))


def _step(
    statements: tuple[str, ...],
    fill: Callable[[sqlite3.Connection], None] | None,
    tried: tuple[str, ...],
) -> Callable[[Database], None]:
    def run(db: Database) -> None:
        for statement in statements:
            db.execute(statement)
        if fill is not None:
            fill(db.conn)
        if tried and all(name in MIGRATIONS for name in tried):
            db.execute("SAVEPOINT trial")
            for name in tried:
                _step(MIGRATIONS[name], FILLED.get(name), ())(db)
            db.execute("ROLLBACK TO trial")
            db.execute("RELEASE trial")

    return run
