"""Every setting once: its unit, its description and the values that it accepts.

`kamou init`, `kamou show-config`, the range checks and the table in docs/settings.md all read
``settings_table``: these rows, and the parameters that each strategy's file declares. A test
compares its keys with the fields of ``Settings``. A description completes "This is the ...".
"""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.model import Bound


@attrs.frozen
class Setting:
    """One setting. ``low`` and ``high`` are the bounds that it accepts, inclusive."""

    key: str
    unit: str
    about: str  # completes "This is the ..."
    low: Bound = None
    high: Bound = None
    why: str = ""  # the rule of the product behind a bound; part of the error message
    choices: tuple[str, ...] = ()
    decides: bool = True  # False: it does not change a trade, and is left out of the digest

    def refusal(self, value: object) -> str | None:
        """Return why the value is invalid; None if it is valid."""
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
        """Return the accepted values in words; empty if all are accepted."""
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

# A table: the formatter would give each argument a line of its own.
# fmt: off
_GENERAL = (
    _S("mode", "",
       "mode of the run: demo needs no network and no key", choices=("demo", "paper", "live")),
    _S("data_dir", "", "data directory; one per mode and account", decides=False),
    _S("equity", "USDT", "wallet balance with which demo and paper start", 10, "1000000000"),
    _S("currency", "", "currency of the account", choices=("USDT",)),
    _S("change_reason", "", "reason why this configuration differs from the last", decides=False),
    _S("cycle.period_s", "s",
       "time between two scans and two reconciliations, aligned to UTC; at least demo.bar_s in a "
       "demo, and at least the bar length of the data in a backtest or replay", 10, 86_400),
    _S("cycle.bar_delay_ms", "ms",
       "wait after a bar's close, because venues publish bars late", 0, 60_000),
    _S("cycle.timeframe_s", "s", "length of the bars on which the strategies trade", 60, 86_400),
    _S("cycle.shards", "", "number of scanners; each scans its part of the symbols", 1, 64),
    _S("cycle.shard_deadline_ms", "ms",
       "time after which a shard is left out of the cycle", 1, 60_000),
    _S("cycle.candidate_ttl_s", "s", "time after which an unused candidate expires", 1, 3_600),
    _S("cycle.candidates_max", "", "maximum number of candidates a cycle passes to T2", 1, 1_000),
)

_RISK = (
    _S("risk.risk_per_trade", Q,
       "maximum risk of one trade, with costs and gap buffer", 0, "0.01", HARD_1),
    _S("risk.exposure_per_symbol", Q, "maximum notional in one symbol", 0, "0.15", HARD_2),
    _S("risk.leverage_max", "times", "maximum isolated leverage", 1, 5, CAP),
    _S("risk.open_risk_max", Q, "maximum sum of the worst cases of all trades", 0, "0.04", CAP),
    _S("risk.daily_loss_max", "of equity",
       "daily loss limit, which stops new entries", 0, "0.04", HARD_4),
    _S("risk.cluster_risk_max", Q,
       "maximum risk in altcoins of one side, which move together", 0, "0.02", CAP),
    _S("risk.shock_move", "of price",
       "BTC move whose loss must fit the daily budget", "0.10", 1, FLOOR),
    _S("risk.budget_share_min", "of its size",
       "minimum part of a trade's size that the headroom must allow", 0, 1),
    _S("risk.gap_buffer_min", "of stop distance",
       "minimum reserve for fills beyond the stop", "0.25", 10, FLOOR),
    _S("risk.gap_memory_days", "days",
       "time for which a measured overshoot counts", 30, 365, FLOOR),
    _S("risk.notional_total_max", "times sizing equity",
       "maximum notional of all positions", 0, 3, CAP),
    _S("risk.margin_total_max", Q, "maximum margin of all positions", 0, "0.8", CAP),
    _S("risk.order_value_max", "USDT",
       "maximum notional of one order, independent of sizing", 0, "100000000"),
    _S("risk.order_contracts_max", "contracts",
       "maximum quantity of one order, independent of sizing", 0),
    _S("risk.collar_min", "of mark", "minimum width of the price collar", 0, "0.05"),
    _S("risk.collar_spreads", "spreads",
       "minimum width of the price collar, in spreads of the quote", 0, 10),
    _S("risk.liquidation_multiple", "times",
       "minimum distance to liquidation, in stop distances with gap buffer", 2, 100, FLOOR),
    _S("risk.entries_per_strategy_hour", "",
       "maximum number of entries of one strategy in an hour; further entries are denied, and a "
       "fill beyond it disables the strategy", 0, 1_000),
    _S("risk.reentries_per_symbol_day", "",
       "maximum number of entries into one symbol in a UTC day after the first; further entries "
       "are denied, and a fill beyond it disables the strategy", 0, 1_000),
    _S("risk.cooldown_after_stop_s", "s",
       "time after a stop-loss in which its symbol is not entered", 0, 604_800),
    _S("risk.messages_per_s", "per s",
       "maximum rate of messages to the venue; at most half its limit", 1, 1_000),
    _S("risk.quote_age_max_s", "s", "maximum age of the quote for an entry", 1, 60),
    _S("risk.account_age_max_s", "s", "maximum age of the account read for an entry", 1, 3_600),
    _S("risk.stale_halt_s", "s",
       "time past its age limit after which a stale account or mark price makes the state "
       "REDUCE_ONLY", 1, 3_600),
    _S("risk.permit_ttl_s", "s", "time after which an unused permit expires", 1, 300),
    _S("risk.protection_deadline_s", "s",
       "time after which a position without a confirmed stop is closed", 6, 10, HARD_3),
    _S("risk.reduced_size", "of the size", "size of entries in the state REDUCED_SIZE", 0, 1),
    _S("risk.reduced_at", "of the daily loss limit",
       "day's loss at which the state becomes REDUCED_SIZE", 0, 1),
    _S("risk.flatten_at", "of the daily loss limit",
       "day's loss at which all positions are closed", 1, "1.5", CAP),
    _S("risk.equity_tolerance", "of equity",
       "maximum difference between the two equity reads that open a day", 0, 1),
    _S("risk.equity_confirm_s", "s",
       "minimum time between two equity reads that confirm a loss", 5, 60),
    _S("costs.taker_bps", "bp", "taker fee: charged in demo, the least assumed elsewhere", 0, 100),
    _S("costs.maker_bps", "bp", "maker fee: charged in demo", -10, 100),
    _S("costs.slippage_bps", "bp", "assumed slippage beyond half the spread", 0, 1_000),
    _S("costs.entry_limit_offset_bps", "bp",
       "distance of an entry's limit price beyond the quote", 0, 100),
    _S("costs.funding_bps_per_8h", "bp", "funding rate assumed when no rate is known", 0, 100),
)

_SIGNALS = (
    _S("veto.reward_to_risk_min", "", "minimum ratio of reward to risk, net of costs", 0, 100),
    _S("veto.bar_periods_max", "periods", "maximum age of a bar before it is stale", 1, 10),
    _S("veto.excluded", "", "list of symbols that are never traded"),
    _S("strategies.enabled", "", "list of strategies that trade, by file name, each once"),
)

_READERS = (
    _S("web.connections_max", "connections",
       "maximum number of open connections of the public listener; one more gets 503 (the "
       "descriptor limit less 64 caps it)", 1, 100_000, decides=False),
    _S("web.connections_per_address_max", "connections",
       "maximum number of open connections from one address (IPv6: one /64), so that one reader "
       "cannot take all", 1, 100_000, decides=False),
    _S("web.trusted_proxies", "",
       "list of addresses or networks of reverse proxies, which are not limited by address",
       decides=False),
    _S("web.header_bytes_max", "bytes",
       "maximum size of a request's line and headers; browsers send about 1 KB",
       1_024, 65_536, decides=False),
    _S("web.headers_max", "lines",
       "maximum number of headers of a request; each takes 1 us to parse, browsers send about 20",
       16, 1_000, decides=False),
    _S("web.pipelined_max", "requests",
       "maximum number of requests sent ahead while one is answered; no browser sends any",
       0, 1_000, decides=False),
    _S("web.request_s", "s",
       "maximum time from a request's first byte to the last of its response; 100 KB take 20 s "
       "at 5 KB/s", 1, 3_600, decides=False),
    _S("web.stall_s", "s",
       "maximum time in which a peer reads nothing of its response", 1, 3_600, decides=False),
    _S("web.keep_alive_s", "s",
       "time after which an idle connection is closed", 1, 3_600, decides=False),
)

_MACHINE = (
    _S("exchange.latency_ms", "ms", "latency of the embedded exchange, one way", 0, 60_000),
    _S("exchange.attached_stop", "", "switch with which an entry carries its stop and target"),
    _S("exchange.volume_participation", "of a bar's volume",
       "maximum fill of one order in one bar", 0, 1),
    _S("exchange.gap_range_atr", ATR,
       "range of a bar beyond which stops fill past their trigger", 0, 1_000),
    _S("exchange.gap_depth", "",
       "position of such a fill between the trigger (0) and the extreme (1)", 0, 1),
    _S("demo.seed", "", "seed of the generated market; the same seed gives the same market", 0),
    _S("demo.symbols", "", "number of perpetuals in the generated market", 2, 2_000),
    _S("demo.days", "days", 'length of the simulated trading before "now"', 0, 3_650),
    _S("demo.warmup_days", "days",
       "length of the market history before the first trading day", 0, 365),
    _S("demo.bar_s", "s", "length of the generated market's bars", 60, 3_600),
    _S("web.host", "", "address of the public listener", decides=False),
    _S("web.port", "", "port of the public listener", 0, 65_535, decides=False),
    _S("web.operator_host", "", "address of the operator listener", decides=False),
    _S("web.operator_port", "", "port of the operator listener", 0, 65_535, decides=False),
    _S("web.operator_tcp", "",
       "switch of the operator listener over TCP (health, metrics, REST); the command line uses "
       "the Unix socket", decides=False),
    _S("web.pricing_file", "",
       "Markdown file for /pricing; empty: the page says free", decides=False),
    *_READERS,
    _S("web.site_nice", "", "niceness added to the public site's process", 0, 19, decides=False),
    _S("web.site_memory_max_mb", "MB",
       "resident memory beyond which the public site's process is replaced", 128, decides=False),
    _S("web.site_address_space_max_mb", "MB",
       "address space limit of the public site's process; 0 sets none", 0, decides=False),
    _S("web.site_descriptors_max", "",
       "maximum number of open files and connections of the public site's process",
       128, 1_048_576, decides=False),
    _S("web.site_render_max_s", "s",
       "time for one page beyond which the public site's process is replaced",
       1, 3_600, decides=False),
    _S("web.site_silence_max_s", "s",
       "time without a heartbeat after which the public site's process is replaced",
       5, 3_600, decides=False),
    _S("web.site_start_max_s", "s",
       "time to start serving beyond which the public site's process is replaced",
       5, 3_600, decides=False),
    _S("site.public_url", "",
       "address where readers find the site, for canonical links, sitemap and preview; empty: "
       "none is sent", decides=False),
    _S("store.group_commit_ms", "ms",
       "time for which events that can wait are collected into one write", 0, 1_000),
    _S("store.snapshot_every", "events",
       "number of events between two snapshots of the position book", 1_000),
    _S("store.batch_max", "events", "maximum number of events in one transaction", 1, 100_000),
    _S("data.rows_max", "rows",
       "maximum number of rows in one folder's files; 160 B of memory each", 1, decides=False),
    _S("data.symbols_max", "symbols",
       "maximum number of symbols in one folder's files", 1, 100_000, decides=False),
    _S("data.columns_max", "columns",
       "maximum number of columns of one file", 1, 100_000, decides=False),
    _S("data.files_max", "files",
       "maximum number of files in one folder", 1, 1_000_000, decides=False),
    _S("data.cells_max", "cells",
       "maximum number of bars times symbols; 36 B of memory each", 1, decides=False),
    _S("data.unpacked_mb_max", "MB",
       "maximum unpacked size of one folder's files", 1, decides=False),
    _S("supervision.intensity", "restarts",
       "maximum number of restarts in the period; one more escalates", 1, 1_000),
    _S("supervision.period_s", "s", "period over which restarts are counted", 1, 86_400),
    _S("supervision.backoff_base_ms", "ms", "wait before the first restart", 1, 60_000),
    _S("supervision.backoff_cap_ms", "ms", "maximum wait before a restart", 1, 3_600_000),
    _S("supervision.backoff_reset_s", "s",
       "time without a crash after which the wait starts again at its base", 1, 86_400),
    _S("supervision.handler_deadline_s", "s",
       "maximum time of one handler; a longer one counts as a crash", 1, 3_600),
    _S("supervision.grace_s", "s", "maximum time of an orderly stop", 1, 600),
    _S("supervision.heartbeat_s", "s",
       "maximum time for which the loop may be blocked before the process ends", 1, 3_600),
)
# fmt: on

_ROWS = {setting.key: setting for setting in (*_GENERAL, *_RISK, *_SIGNALS, *_MACHINE)}


def settings_table() -> dict[str, Setting]:
    """Return every setting by its dotted key, with the parameters of the strategies' files."""
    # Imported here because the strategies import numpy, which many verbs do not need.
    from kamou.core.strategies import parameter_classes
    from kamou.core.strategies.base import declared_parameters

    table = dict(_ROWS)
    for name, kind in parameter_classes().items():
        for field, declared in declared_parameters(kind).items():
            key = f"strategies.{name}.{field}"
            table[key] = Setting(key, declared.unit, declared.about, declared.low, declared.high)
    return table
