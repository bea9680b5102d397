"""Every setting once: its unit, the values it may take, and what it is for.

`kamou init`, `kamou show-config`, the range checks and the table in docs/settings.md all read
``settings_table``: these rows, and what each strategy's file declares of its parameters. A test
holds it equal to the fields of ``Settings``. A bound with a ``why`` is a
promise of the product rather than a matter of taste, and its message says so.
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.model import Bound


@attrs.frozen
class Setting:
    key: str
    unit: str
    about: str
    low: Bound = None
    high: Bound = None
    why: str = ""  # shown when a bound is broken
    choices: tuple[str, ...] = ()
    decides: bool = True  # False: where it runs or is shown, not how it trades; not in the digest

    def refusal(self, value: object) -> str | None:
        """Why this value may not be had, or None."""
        if self.choices and value not in self.choices:
            return f"expects one of {', '.join(self.choices)}, got {value!r}"
        for item in value if isinstance(value, tuple) else (value,):
            number = isinstance(item, int | float | Decimal) and not isinstance(item, bool)
            if number and not self._allows(Decimal(str(item))):
                because = f" ({self.why})" if self.why else ""
                return f"must be {self.range_text()}, got {item}{because}"
        return None

    def _allows(self, number: Decimal) -> bool:
        above = self.low is None or number >= Decimal(self.low)
        return above and (self.high is None or number <= Decimal(self.high))

    def range_text(self) -> str:
        """The bounds in words; empty without any."""
        if self.choices:
            return " | ".join(self.choices)
        unit = f" {self.unit}" if self.unit else ""
        if self.low is not None and self.high is not None:
            return f"between {self.low} and {self.high}{unit}"
        if self.low is not None:
            return f"at least {self.low}{unit}"
        return "" if self.high is None else f"at most {self.high}{unit}"


HARD_1 = "hard rule 1: at most 1 % of equity at risk per trade; a setting may only lower it"
HARD_2 = "hard rule 2: at most 15 % of equity in one symbol; a setting may only lower it"
HARD_3 = "hard rule 3: a position without a stop is closed; a setting may only hasten it"
HARD_4 = "hard rule 4: the daily loss limit; a setting may only lower it"
CAP = "a cap of the product; a setting may only lower it"
FLOOR = "a floor of the product; a setting may only raise it"

Q = "of sizing equity"
ATR = "ATR"
_S = Setting

_GENERAL = (
    _S(
        "mode",
        "",
        "what trades: demo needs no network and no key",
        choices=("demo", "paper", "live"),
    ),
    _S("data_dir", "", "where this track is kept; one per mode and account", decides=False),
    _S("equity", "USDT", "what demo and paper start with", 10, "1000000000"),
    _S("currency", "", "the account currency", choices=("USDT",)),
    _S("change_reason", "", "why this configuration differs from the last", decides=False),
    _S(
        "cycle.period_s",
        "s",
        "one scan and one reconciliation; aligned to UTC; at least demo.bar_s in a demo, and"
        " in a backtest or replay never shorter than the bars of the data",
        10,
        86_400,
    ),
    _S("cycle.bar_delay_ms", "ms", "venues publish a closed bar a little late", 0, 60_000),
    _S("cycle.timeframe_s", "s", "bars the strategies trade on", 60, 86_400),
    _S("cycle.shards", "", "scanners; each takes its part of the symbols", 1, 64),
    _S("cycle.shard_deadline_ms", "ms", "a later shard is left out of the cycle", 1, 60_000),
    _S("cycle.candidate_ttl_s", "s", "a candidate not acted on by then expires", 1, 3_600),
    _S("cycle.candidates_max", "", "candidates journalled and offered to T2", 1, 1_000),
)

_RISK = (
    _S("risk.risk_per_trade", Q, "at risk per trade, costs and gap included", 0, "0.01", HARD_1),
    _S("risk.exposure_per_symbol", Q, "notional in one symbol", 0, "0.15", HARD_2),
    _S("risk.leverage_max", "times", "isolated leverage", 1, 5, CAP),
    _S("risk.open_risk_max", Q, "all open worst-case risk together", 0, "0.04", CAP),
    _S("risk.daily_loss_max", "of equity", "a day's loss that halts new risk", 0, "0.04", HARD_4),
    _S("risk.cluster_risk_max", Q, "same-direction alts, which move together", 0, "0.02", CAP),
    _S("risk.shock_move", "of price", "BTC move whose loss must fit the day", "0.10", 1, FLOOR),
    _S("risk.budget_share_min", "of its size", "room for less of a trade is no room", 0, 1),
    _S("risk.gap_buffer_min", "of stop distance", "stops fill beyond", "0.25", 10, FLOOR),
    _S("risk.gap_memory_days", "days", "how long a fill beyond its stop counts", 30, 365, FLOOR),
    _S("risk.notional_total_max", "times sizing equity", "all notional together", 0, 3, CAP),
    _S("risk.margin_total_max", Q, "all margin together", 0, "0.8", CAP),
    _S("risk.order_value_max", "USDT", "one order, independent of sizing", 0, "100000000"),
    _S("risk.order_contracts_max", "contracts", "one order, independent of sizing", 0),
    _S("risk.collar_min", "of mark", "least distance of the price collar", 0, "0.05"),
    _S("risk.collar_spreads", "spreads", "the collar is at least this wide", 0, 10),
    _S("risk.liquidation_multiple", "times", "(stop + gap) to liquidation", 2, 100, FLOOR),
    _S(
        "risk.entries_per_strategy_hour",
        "",
        "beyond it entries are denied; one that fills all the same disables the strategy",
        0,
        1_000,
    ),
    _S(
        "risk.reentries_per_symbol_day",
        "",
        "per UTC day, after the first entry into it; beyond it as in an hour",
        0,
        1_000,
    ),
    _S(
        "risk.cooldown_after_stop_s",
        "s",
        "time in which a symbol is not entered again after a stop-loss",
        0,
        604_800,
    ),
    _S("risk.messages_per_s", "per s", "at most half the venue's limit", 1, 1_000),
    _S("risk.quote_age_max_s", "s", "no entry on an older quote", 1, 60),
    _S("risk.account_age_max_s", "s", "no entry on an older account read", 1, 3_600),
    _S(
        "risk.stale_halt_s",
        "s",
        "account or marks so far past their age limit: REDUCE_ONLY",
        1,
        3_600,
    ),
    _S("risk.permit_ttl_s", "s", "a permit not used by then is void", 1, 300),
    _S("risk.protection_deadline_s", "s", "no stop read back by then: closed", 6, 10, HARD_3),
    _S("risk.reduced_size", "of the size", "what the reduced state trades", 0, 1),
    _S("risk.reduced_at", "of the day limit", "where the reduced state begins", 0, 1),
    _S("risk.flatten_at", "of the day limit", "where everything is closed", 1, "1.5", CAP),
    _S(
        "risk.equity_tolerance",
        "of equity",
        "two reads that open a day differ by at most this",
        0,
        1,
    ),
    _S("risk.equity_confirm_s", "s", "two reads this far apart trip the breaker", 5, 60),
    _S("costs.taker_bps", "bp", "fee of a taking fill: charged in demo, the least assumed", 0, 100),
    _S("costs.maker_bps", "bp", "fee of a making fill: charged in demo", -10, 100),
    _S("costs.slippage_bps", "bp", "on top of half the spread", 0, 1_000),
    _S("costs.entry_limit_offset_bps", "bp", "an entry's limit reaches beyond the quote", 0, 100),
    _S("costs.funding_bps_per_8h", "bp", "assumed when no rate is known", 0, 100),
)

_SIGNALS = (
    _S("veto.reward_to_risk_min", "", "net of costs", 0, 100),
    _S("veto.bar_periods_max", "periods", "an older bar is stale", 1, 10),
    _S("veto.excluded", "", "symbols never traded"),
    _S("strategies.enabled", "", "by file name; no two alike"),
)

_READERS = (
    _S(
        "web.connections_max",
        "connections",
        "open on the public listener; one more gets 503 (the descriptor limit less 64 caps it)",
        1,
        100_000,
        decides=False,
    ),
    _S(
        "web.connections_per_address_max",
        "connections",
        "open from one address (IPv6: one /64), so that one reader cannot take all of them",
        1,
        100_000,
        decides=False,
    ),
    _S(
        "web.trusted_proxies",
        "",
        "addresses or networks of reverse proxies, which are not limited by address",
        decides=False,
    ),
    _S(
        "web.header_bytes_max",
        "bytes",
        "request line and headers of one request; browsers send about 1 KB",
        1_024,
        65_536,
        decides=False,
    ),
    _S(
        "web.headers_max",
        "lines",
        "headers of one request; each costs 1 us to parse, browsers send about 20",
        16,
        1_000,
        decides=False,
    ),
    _S(
        "web.pipelined_max",
        "requests",
        "sent ahead while one is answered; no browser sends any",
        0,
        1_000,
        decides=False,
    ),
    _S(
        "web.request_s",
        "s",
        "from a request's first byte to the last of its answer; 100 KB take 20 s at 5 KB/s",
        1,
        3_600,
        decides=False,
    ),
    _S(
        "web.stall_s",
        "s",
        "in which a peer must read something of its answer, or it is cut",
        1,
        3_600,
        decides=False,
    ),
    _S(
        "web.keep_alive_s",
        "s",
        "that an idle connection stays open; a reader turns the page within it",
        1,
        3_600,
        decides=False,
    ),
)

_MACHINE = (
    _S("exchange.latency_ms", "ms", "of the embedded exchange, one way", 0, 60_000),
    _S("exchange.attached_stop", "", "entries carry their stop and target"),
    _S("exchange.volume_participation", "of a bar's volume", "one order may take", 0, 1),
    _S("exchange.gap_range_atr", ATR, "a wider bar fills stops beyond the trigger", 0, 1_000),
    _S("exchange.gap_depth", "", "how far from the trigger to the extreme", 0, 1),
    _S("demo.seed", "", "of the generated market; the same seed, the same market", 0),
    _S("demo.symbols", "", "perpetuals in the generated market", 2, 2_000),
    _S("demo.days", "days", 'simulated trading before "now"', 0, 3_650),
    _S("demo.warmup_days", "days", "market history before the first trading day", 0, 365),
    _S("demo.bar_s", "s", "the generated market's own bars", 60, 3_600),
    _S("web.host", "", "the public listener's address", decides=False),
    _S("web.port", "", "the public listener's port", 0, 65_535, decides=False),
    _S("web.operator_host", "", "the operator listener's address", decides=False),
    _S("web.operator_port", "", "the operator listener's port", 0, 65_535, decides=False),
    _S(
        "web.operator_tcp",
        "",
        "health, metrics and REST over TCP; the verbs do without",
        decides=False,
    ),
    _S("web.pricing_file", "", "Markdown for /pricing; none: free", decides=False),
    *_READERS,
    _S("web.site_nice", "", "lower priority of the public site's process", 0, 19, decides=False),
    _S(
        "web.site_memory_max_mb",
        "MB",
        "resident memory beyond which the public site's process is replaced",
        128,
        decides=False,
    ),
    _S(
        "web.site_address_space_max_mb",
        "MB",
        "address space limit of the public site's process; 0 sets none",
        0,
        decides=False,
    ),
    _S(
        "web.site_descriptors_max",
        "",
        "open files and connections of the public site's process",
        128,
        1_048_576,
        decides=False,
    ),
    _S(
        "web.site_render_max_s",
        "s",
        "time for one page, beyond which the public site's process is replaced",
        1,
        3_600,
        decides=False,
    ),
    _S(
        "web.site_silence_max_s",
        "s",
        "time without a heartbeat after which the public site's process is replaced",
        5,
        3_600,
        decides=False,
    ),
    _S(
        "web.site_start_max_s",
        "s",
        "time for the public site's process to serve, beyond which it is replaced",
        5,
        3_600,
        decides=False,
    ),
    _S(
        "site.public_url",
        "",
        "where readers find the site, for canonical links, sitemap and preview; none: none is sent",
        decides=False,
    ),
    _S("store.group_commit_ms", "ms", "events that can wait are written together", 0, 1_000),
    _S("store.snapshot_every", "events", "between two snapshots of the book", 1_000),
    _S("store.batch_max", "events", "in one transaction", 1, 100_000),
    _S("data.rows_max", "rows", "of one folder's files; 160 B of memory each", 1, decides=False),
    _S("data.symbols_max", "symbols", "in one folder's files", 1, 100_000, decides=False),
    _S("data.columns_max", "columns", "of one file", 1, 100_000, decides=False),
    _S("data.files_max", "files", "in one folder", 1, 1_000_000, decides=False),
    _S("data.cells_max", "cells", "bars times symbols; 36 B of memory each", 1, decides=False),
    _S("data.unpacked_mb_max", "MB", "one folder's files, unpacked", 1, decides=False),
    _S("supervision.intensity", "restarts", "more than these in the period escalate", 1, 1_000),
    _S("supervision.period_s", "s", "over which restarts are counted", 1, 86_400),
    _S("supervision.backoff_base_ms", "ms", "before the first restart", 1, 60_000),
    _S("supervision.backoff_cap_ms", "ms", "before any restart", 1, 3_600_000),
    _S("supervision.backoff_reset_s", "s", "without a crash, the back-off starts again", 1, 86_400),
    _S("supervision.handler_deadline_s", "s", "a longer handler counts as crashed", 1, 3_600),
    _S("supervision.grace_s", "s", "for an orderly stop", 1, 600),
    _S("supervision.heartbeat_s", "s", "a loop blocked for longer is ended", 1, 3_600),
)

_ROWS = {setting.key: setting for setting in (*_GENERAL, *_RISK, *_SIGNALS, *_MACHINE)}


def settings_table() -> dict[str, Setting]:
    """Every setting by its dotted key; the strategies' files are read when it is first asked."""
    from kamou.core.strategies import parameter_classes  # numpy, which many a verb does without
    from kamou.core.strategies.base import declared_parameters

    table = dict(_ROWS)
    for name, kind in parameter_classes().items():
        for field, said in declared_parameters(kind).items():
            key = f"strategies.{name}.{field}"
            table[key] = Setting(key, said.unit, said.about, said.low, said.high)
    return table
