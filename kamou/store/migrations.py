"""The schema of the journal's database, and its migrations by sqlite-utils.

The table ``event`` is the journal. Projections write the other tables in the transaction of each
event, except ``snapshot``, ``meta`` and ``detail``. Prices, quantities and money are exact TEXT,
but ``signal`` has REAL prices and distances, and ``day_strategy`` REAL sums. Money is in the
account's currency, and ``*_ms`` are INTEGER.

A released migration never changes; later ones follow it. There is no release yet, so the first
migration has the whole schema, and its number identifies it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from kamou.store.projected_totals import TOTAL_NAMES
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
"""The table in which sqlite-utils records applied migrations, exactly as it creates it."""

# One index for each combination of the filters of /trades, so that a page reads only its rows.
_TRADE_INDEXES = tuple(
    f"CREATE INDEX trade_{'_'.join(columns)} ON trade ({', '.join(columns)}, closed_at_ms)"
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

_JOURNAL = (
    """CREATE TABLE event (
        seq INTEGER PRIMARY KEY, run_number INTEGER NOT NULL, at_ms INTEGER NOT NULL,
        kind TEXT NOT NULL, key TEXT, cause_id TEXT NOT NULL, schema INTEGER NOT NULL,
        body BLOB NOT NULL CHECK (typeof(body) = 'blob'), UNIQUE (kind, key)) STRICT""",
    # UNIQUE (kind, key) also serves queries by kind. This index omits events without a cause.
    "CREATE INDEX event_cause ON event (cause_id) WHERE cause_id <> ''",
    """CREATE TRIGGER event_never_changes BEFORE UPDATE ON event
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    """CREATE TRIGGER event_never_leaves BEFORE DELETE ON event
        BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END""",
    """CREATE TABLE snapshot (
        seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, code_hash TEXT NOT NULL,
        state BLOB NOT NULL, state_hash TEXT NOT NULL) STRICT""",
    """CREATE TABLE meta (
        key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT""",
    """CREATE TABLE detail (
        cycle_at_ms INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT""",
)

_SYSTEM = (
    """CREATE TABLE run (
        run_number INTEGER PRIMARY KEY, mode TEXT NOT NULL, version TEXT NOT NULL,
        config_digest TEXT NOT NULL, started_at_ms INTEGER NOT NULL, stopped_at_ms INTEGER,
        stop_reason TEXT, period_ms INTEGER, change_reason TEXT) STRICT""",
    "CREATE INDEX run_changed ON run (started_at_ms) WHERE change_reason IS NOT NULL",
    """CREATE TABLE config (
        digest TEXT PRIMARY KEY, first_ms INTEGER NOT NULL, body TEXT NOT NULL,
        reason TEXT NOT NULL) STRICT""",
    "CREATE INDEX config_first ON config (first_ms, digest)",
    """CREATE TABLE cycle (
        cycle_at_ms INTEGER PRIMARY KEY, bar_closed_at_ms INTEGER NOT NULL,
        symbols INTEGER NOT NULL, candidates INTEGER NOT NULL, abstained INTEGER NOT NULL,
        late_shards INTEGER NOT NULL, vetoed INTEGER NOT NULL DEFAULT 0,
        refused INTEGER NOT NULL DEFAULT 0, positions INTEGER, open_orders INTEGER,
        drift INTEGER, closed_at_ms INTEGER) STRICT""",
    "CREATE INDEX cycle_bar ON cycle (bar_closed_at_ms) WHERE bar_closed_at_ms > 0",
    """CREATE TABLE state (
        seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, "before" TEXT NOT NULL,
        "after" TEXT NOT NULL, reason TEXT NOT NULL, figures TEXT NOT NULL) STRICT""",
    *(
        f"CREATE INDEX state_{kind}_began ON state (seq) WHERE {condition}"
        for kind, condition in BEGAN.items()
    ),
    """CREATE TABLE command (
        seq INTEGER PRIMARY KEY, at_ms INTEGER NOT NULL, reason TEXT NOT NULL,
        note TEXT NOT NULL) STRICT""",
    """CREATE TABLE downtime (
        seq INTEGER NOT NULL, number INTEGER NOT NULL, from_ms INTEGER NOT NULL,
        until_ms INTEGER NOT NULL, cause TEXT NOT NULL,
        PRIMARY KEY (seq, number)) STRICT, WITHOUT ROWID""",
)

_DECISIONS = (
    """CREATE TABLE signal (
        signal_id TEXT PRIMARY KEY, cycle_at_ms INTEGER NOT NULL, strategy TEXT NOT NULL,
        symbol TEXT NOT NULL, side TEXT NOT NULL, score REAL NOT NULL,
        bar_opened_at_ms INTEGER NOT NULL, bar_closed_at_ms INTEGER NOT NULL,
        stop_distance REAL NOT NULL, target_distance REAL NOT NULL, close REAL NOT NULL,
        features TEXT NOT NULL, proxy TEXT NOT NULL, verdict TEXT NOT NULL,
        size_multiplier TEXT NOT NULL) STRICT""",
    "CREATE INDEX signal_symbol ON signal (symbol, bar_closed_at_ms)",
    """CREATE TABLE refusal (
        seq INTEGER NOT NULL, number INTEGER NOT NULL, at_ms INTEGER NOT NULL,
        tier TEXT NOT NULL, signal_id TEXT NOT NULL, strategy TEXT NOT NULL, symbol TEXT NOT NULL,
        codes TEXT NOT NULL, PRIMARY KEY (seq, number)) STRICT, WITHOUT ROWID""",
    "CREATE INDEX refusal_symbol ON refusal (symbol, seq, number)",
    """CREATE TABLE permit (
        permit_id TEXT PRIMARY KEY, signal_id TEXT NOT NULL, symbol TEXT NOT NULL,
        side TEXT NOT NULL, quantity TEXT NOT NULL, entry_price TEXT NOT NULL,
        stop_price TEXT NOT NULL, target_price TEXT NOT NULL, risk TEXT NOT NULL,
        notional TEXT NOT NULL, bound_by TEXT NOT NULL, granted_at_ms INTEGER NOT NULL,
        expires_at_ms INTEGER NOT NULL, consumed_at_ms INTEGER, client_order_id TEXT,
        released_at_ms INTEGER, release_reason TEXT) STRICT""",
)

_SHADOWS = (
    """CREATE TABLE shadow_trade (
        shadow_id TEXT PRIMARY KEY, strategy TEXT NOT NULL, symbol TEXT NOT NULL,
        side TEXT NOT NULL, score REAL NOT NULL, verdict TEXT NOT NULL,
        size_multiplier TEXT NOT NULL, p_win_pct INTEGER, quantity TEXT NOT NULL,
        contract_size TEXT NOT NULL, planned_entry TEXT NOT NULL, entry_price TEXT NOT NULL,
        stop_price TEXT NOT NULL, target_price TEXT NOT NULL, planned_risk TEXT NOT NULL,
        opened_at_ms INTEGER NOT NULL, closes_by_ms INTEGER NOT NULL, closed_at_ms INTEGER,
        reason TEXT, exit_price TEXT, gross TEXT, fees TEXT, funding TEXT, slippage TEXT,
        pnl TEXT, r TEXT) STRICT""",
    "CREATE INDEX shadow_trade_opened ON shadow_trade (strategy, opened_at_ms)",
    "CREATE INDEX shadow_trade_closed ON shadow_trade (strategy, closed_at_ms)",
)

_GATE = (
    """CREATE TABLE gate_change (
        strategy TEXT NOT NULL, number INTEGER NOT NULL, at_ms INTEGER NOT NULL,
        from_state TEXT NOT NULL, to_state TEXT NOT NULL, half_size INTEGER NOT NULL,
        attempt INTEGER NOT NULL, reason TEXT NOT NULL, figures TEXT NOT NULL,
        from_ms INTEGER NOT NULL, until_ms INTEGER NOT NULL, counted INTEGER NOT NULL,
        data_hash TEXT NOT NULL, not_before_ms INTEGER NOT NULL,
        PRIMARY KEY (strategy, number)) STRICT, WITHOUT ROWID""",
)

_EXECUTION = (
    """CREATE TABLE order_ (
        client_order_id TEXT PRIMARY KEY, trade_id TEXT NOT NULL, permit_id TEXT NOT NULL,
        role TEXT NOT NULL, attempt INTEGER NOT NULL, symbol TEXT NOT NULL, side TEXT NOT NULL,
        type TEXT NOT NULL, quantity TEXT NOT NULL, limit_price TEXT, trigger_price TEXT,
        status TEXT NOT NULL, filled TEXT NOT NULL DEFAULT '0',
        venue_order_id TEXT NOT NULL DEFAULT '', intended_at_ms INTEGER NOT NULL,
        accepted_at_ms INTEGER, closed_at_ms INTEGER, reason TEXT NOT NULL DEFAULT '') STRICT""",
    "CREATE INDEX order_trade ON order_ (trade_id)",
    "CREATE INDEX order_open ON order_ (intended_at_ms) WHERE closed_at_ms IS NULL",
    "CREATE INDEX order_entry ON order_ (symbol, intended_at_ms) WHERE role = 'entry'",
    """CREATE TABLE fill (
        key TEXT PRIMARY KEY, symbol TEXT NOT NULL, client_order_id TEXT NOT NULL,
        trade_id TEXT, side TEXT NOT NULL, quantity TEXT NOT NULL, price TEXT NOT NULL,
        fee TEXT NOT NULL, slippage TEXT NOT NULL, maker INTEGER NOT NULL, reason TEXT NOT NULL,
        at_ms INTEGER NOT NULL, source TEXT NOT NULL) STRICT""",
    "CREATE INDEX fill_trade ON fill (trade_id)",
    "CREATE INDEX fill_unattributed ON fill (symbol) WHERE trade_id IS NULL",
    "CREATE INDEX fill_at ON fill (at_ms)",
    """CREATE TABLE trade (
        trade_id TEXT PRIMARY KEY, symbol TEXT NOT NULL, strategy TEXT NOT NULL,
        side TEXT NOT NULL, quantity TEXT NOT NULL, contract_size TEXT NOT NULL,
        entry_price TEXT NOT NULL, exit_price TEXT NOT NULL, stop_price TEXT NOT NULL,
        opened_at_ms INTEGER NOT NULL, closed_at_ms INTEGER NOT NULL, pnl_gross TEXT NOT NULL,
        fees TEXT NOT NULL, funding TEXT NOT NULL, slippage TEXT NOT NULL,
        pnl_net TEXT NOT NULL, r_multiple REAL, exit_reason TEXT NOT NULL, planned_stop TEXT,
        won INTEGER GENERATED ALWAYS AS (CAST(pnl_net AS REAL) > 0) VIRTUAL) STRICT""",
    "CREATE INDEX trade_closed ON trade (closed_at_ms)",
    *_TRADE_INDEXES,
    """CREATE TABLE open_trade (
        trade_id TEXT PRIMARY KEY) STRICT, WITHOUT ROWID""",
)

_MONEY = (
    """CREATE TABLE income (
        income_id TEXT PRIMARY KEY, kind TEXT NOT NULL, symbol TEXT NOT NULL,
        amount TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT""",
    "CREATE INDEX income_at ON income (at_ms)",
    "CREATE INDEX income_transfer ON income (at_ms) WHERE kind = 'transfer'",
    """CREATE TABLE equity (
        at_ms INTEGER PRIMARY KEY, equity TEXT NOT NULL, wallet_balance TEXT NOT NULL,
        unrealized_pnl TEXT NOT NULL, margin_used TEXT NOT NULL, open_risk TEXT NOT NULL,
        net_deposits TEXT NOT NULL) STRICT""",
)

_RECORD = (
    """CREATE TABLE boundary (
        at_ms INTEGER PRIMARY KEY, read_at_ms INTEGER NOT NULL, equity TEXT NOT NULL,
        midnight INTEGER NOT NULL, exact INTEGER NOT NULL DEFAULT 0,
        rebuilt TEXT NOT NULL DEFAULT '', corrections INTEGER NOT NULL DEFAULT 0) STRICT""",
    """CREATE TABLE day (
        day TEXT PRIMARY KEY, last_day TEXT NOT NULL, start_ms INTEGER NOT NULL,
        end_ms INTEGER NOT NULL, complete INTEGER NOT NULL, equity_start TEXT NOT NULL,
        equity_end TEXT NOT NULL, "return" REAL, net_deposits TEXT NOT NULL,
        trades INTEGER NOT NULL, fees TEXT NOT NULL, funding TEXT NOT NULL, pnl TEXT NOT NULL,
        start_rebuilt TEXT NOT NULL DEFAULT '', end_rebuilt TEXT NOT NULL DEFAULT '',
        corrections INTEGER NOT NULL DEFAULT 0) STRICT""",
    "CREATE INDEX day_last ON day (last_day)",
    """CREATE TABLE day_strategy (
        day TEXT NOT NULL, strategy TEXT NOT NULL, trades INTEGER NOT NULL,
        wins INTEGER NOT NULL, r REAL NOT NULL, profit REAL NOT NULL, loss REAL NOT NULL,
        with_r INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (day, strategy)) STRICT, WITHOUT ROWID""",
    """CREATE TABLE month (
        month TEXT PRIMARY KEY, equity_end TEXT NOT NULL, "return" REAL, change TEXT NOT NULL,
        net_deposits TEXT NOT NULL, trades INTEGER NOT NULL, fees TEXT NOT NULL,
        funding TEXT NOT NULL, complete INTEGER NOT NULL, gaining INTEGER NOT NULL,
        losing INTEGER NOT NULL, unseparated INTEGER NOT NULL) STRICT""",
    """CREATE TABLE total (
        name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID""",
    """CREATE TABLE strategy_total (
        strategy TEXT PRIMARY KEY, trades INTEGER NOT NULL DEFAULT 0,
        wins INTEGER NOT NULL DEFAULT 0, r REAL NOT NULL DEFAULT 0,
        profit TEXT NOT NULL DEFAULT '0', loss TEXT NOT NULL DEFAULT '0',
        pnl_net TEXT NOT NULL DEFAULT '0', fees TEXT NOT NULL DEFAULT '0',
        funding TEXT NOT NULL DEFAULT '0', slippage TEXT NOT NULL DEFAULT '0',
        with_r INTEGER NOT NULL DEFAULT 0) STRICT""",
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

_FIRST_ROWS = tuple(f"INSERT INTO total (name, value) VALUES ('{name}', 0)" for name in TOTAL_NAMES)

JOURNAL_MIGRATIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "0016_candidates_by_strategy": (
            *_JOURNAL,
            *_SYSTEM,
            *_DECISIONS,
            *_SHADOWS,
            *_GATE,
            *_EXECUTION,
            *_MONEY,
            *_RECORD,
            *_CURVE,
            *_FIRST_ROWS,
        ),
    }
)
"""The statements of each migration by name, in order; a name begins with its schema's number."""


def apply_migrations(connection: sqlite3.Connection) -> None:
    """Apply the pending migrations, each in its own transaction.

    Raises:
        sqlite3.Error: the database cannot be written.
    """
    # Imported here: it takes half a second, which only a migration needs.
    from sqlite_utils import Database, Migrations

    kamou = Migrations(MIGRATION_SET)
    for name, statements in JOURNAL_MIGRATIONS.items():
        kamou(name=name)(_make_step(statements))
    kamou.apply(Database(connection, execute_plugins=False))


def _make_step(statements: tuple[str, ...]) -> Callable[[Database], None]:
    def run(db: Database) -> None:
        for statement in statements:
            db.execute(statement)

    return run
