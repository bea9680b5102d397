"""Table of all settings: unit, description and accepted values of each.

`kamou init`, `kamou show-config`, the range checks and the table in docs/settings.md all read
``settings_table``: these rows, and the parameters that each strategy's file declares. A test
compares its keys with the fields of ``Settings``. A description completes "This is the ...".
"""

from __future__ import annotations

from kamou.core.kinds import MarketEdges, RunMode
from kamou.settings.refiner_table import REFINER_ROWS
from kamou.settings.setting import Setting
from kamou.settings.strategies import ParameterTypes, strategy_parameter_classes
from kamou.settings.veto_table import VETO_ROWS

HARD_1 = "hard rule 1: at most 1 % of equity at risk per trade; a setting may only lower it"
HARD_2 = "hard rule 2: at most 15 % of equity in one symbol; a setting may only lower it"
HARD_3 = "hard rule 3: a position without a stop is closed; a setting may only shorten the time"
HARD_4 = "hard rule 4: the daily loss limit; a setting may only lower it"
CAP = "a cap of the product; a setting may only lower it"
FLOOR = "a floor of the product; a setting may only raise it"

Q = "of sizing equity"
ATR = "ATR"
BASIS_POINTS = "bps"
_S = Setting

# A table: the formatter would give each argument a line of its own.
# fmt: off
_GENERAL = (
    _S("mode", "",
       "mode of the run; this release runs demo only, which needs neither network nor API key",
       choices=(RunMode.DEMO, RunMode.PAPER, RunMode.LIVE)),
    _S("data_dir", "",
       "data directory, which holds all files of one mode and one account", decides=False),
    _S("equity", "USDT", "initial wallet balance in demo, paper and backtests", 10, "1000000000"),
    _S("currency", "", "currency of the account", choices=("USDT",)),
    _S("change_reason", "",
       "reason why this configuration differs from the last, published with the change",
       decides=False),
    _S("cycle.period_s", "s",
       "time between two cycles, aligned to UTC; each reconciles, and scans if a bar has closed; "
       "a demo needs at least demo.bar_s, and a backtest or replay uses at least the data's bar "
       "length",
       10, 86_400),
    _S("cycle.bar_delay_ms", "ms",
       "wait between a bar's close and its scan, because venues publish bars late", 0, 60_000),
    _S("cycle.timeframe_s", "s", "length of the bars on which the strategies trade", 60, 86_400),
    _S("cycle.shards", "shards",
       "number of scanners; each scans its part of the symbols", 1, 64),
    _S("cycle.shard_deadline_ms", "ms",
       "time that a cycle waits for the other shards after the first shard's scores; it leaves out "
       "later ones", 1, 60_000),
    _S("cycle.candidate_ttl_s", "s",
       "lifetime of an unused candidate, from the veto (T2)", 1, 3_600),
    _S("cycle.candidates_max", "candidates",
       "maximum number of each strategy's candidates that a cycle passes to the vetoes (T2)", 1,
       1_000),
)

_RISK = (
    _S("risk.risk_per_trade", Q,
       "maximum worst case of one trade: loss at the stop, costs and gap buffer",
       0, "0.01", HARD_1),
    _S("risk.exposure_per_symbol", Q, "maximum notional in one symbol", 0, "0.15", HARD_2),
    _S("risk.leverage_max", "times", "maximum isolated leverage", 1, 5, CAP),
    _S("risk.open_risk_max", Q,
       "maximum sum of the worst cases, from the mark price, of all positions and reserved "
       "entries; risk.daily_loss_max applies if it is lower", 0, "0.04", CAP),
    _S("risk.daily_loss_max", "of the day's first equity",
       "daily loss limit; a loss of this size, with unrealized losses and exit costs, stops new "
       "entries", 0, "0.04", HARD_4),
    _S("risk.cluster_risk_max", Q,
       "maximum sum of the worst cases of all altcoin positions and reserved altcoin entries of "
       "one side, because altcoins move together", 0, "0.02", CAP),
    _S("risk.shock_move", "of price",
       "move of all prices at once whose loss must fit the rest of the daily loss limit; an entry "
       "that lowers this loss is allowed anyway",
       "0.10", 1, FLOOR),
    _S("risk.budget_share_min", "of full size",
       "minimum size that the headroom, the unused part of the portfolio's limits, must allow a "
       "trade; a smaller trade is denied", 0, 1),
    _S("risk.gap_buffer_min", "of stop distance",
       "minimum gap buffer, which is the reserve for fills beyond the stop", "0.25", 10, FLOOR),
    _S("risk.gap_memory_days", "days",
       "time for which a measured overshoot, the distance of a fill beyond the stop over the stop "
       "distance, counts in the gap buffer",
       30, 365, FLOOR),
    _S("risk.notional_total_max", "times sizing equity",
       "maximum notional of all positions and reserved entries", 0, 3, CAP),
    _S("risk.margin_total_max", Q,
       "maximum margin of all positions and reserved entries", 0, "0.8", CAP),
    _S("risk.order_value_max", "USDT",
       "maximum notional of one entry, whatever size the other limits allow", 0, 100_000_000),
    _S("risk.order_contracts_max", "contracts",
       "maximum quantity of one entry, whatever size the other limits allow", 0),
    _S("risk.collar_min", "of mark price",
       "maximum distance of an entry's price from the mark price (price collar), if "
       "risk.collar_spreads does not allow more", 0, "0.05"),
    _S("risk.collar_spreads", "spreads",
       "maximum distance of an entry's price from the mark price (price collar), if "
       "risk.collar_min does not allow more", 0, 10),
    _S("risk.liquidation_multiple", "times",
       "minimum distance from entry to liquidation price, as a multiple of the stop distance "
       "with gap buffer", 2, 100, FLOOR),
    _S("risk.entries_per_strategy_hour", "entries",
       "maximum number of entries of one strategy in an hour; further entries are denied, and a "
       "strategy that opened more trades is disabled", 0, 1_000),
    _S("risk.reentries_per_symbol_day", "entries",
       "maximum number of entries of all strategies into one symbol in a UTC day after the first; "
       "further entries are denied, and a strategy that exceeds it alone is disabled",
       0, 1_000),
    _S("risk.cooldown_after_stop_s", "s",
       "time after a stop-loss or a liquidation for which entries into its symbol are vetoed or "
       "denied", 0, 604_800),
    _S("risk.messages_per_s", "messages per s",
       "maximum rate of messages to the venue, above which entries are denied; choose at most "
       "half of the venue's limit", 1, 1_000),
    _S("risk.quote_age_max_s", "s",
       "maximum age of the quote and of open positions' mark prices for an entry, and the age "
       "of a mark price from which risk.stale_halt_s counts", 1, 60),
    _S("risk.account_age_max_s", "s",
       "maximum age of the account read and of the last reconciliation for an entry, and the age "
       "of the account read from which risk.stale_halt_s counts", 1, 3_600),
    _S("risk.stale_halt_s", "s",
       "time by which the account or a mark price may exceed its maximum age before the trading "
       "state becomes reduce_only", 1, 3_600),
    _S("risk.permit_ttl_s", "s", "lifetime of an unused permit, from the time of planning", 1, 300),
    _S("risk.protection_deadline_s", "s",
       "maximum time for which a position may be without a confirmed stop before Kamou closes it; "
       "time in which the venue is unreachable does not count",
       6, 10, HARD_3),
    _S("risk.reduced_size", "of full size",
       "size of entries in the trading state reduced_size", 0, 1),
    _S("risk.reduced_at", "of the daily loss limit",
       "loss of the UTC day at which the trading state becomes reduced_size", 0, 1),
    _S("risk.flatten_at", "of the daily loss limit",
       "loss of the UTC day at which the trading state becomes flattening: Kamou closes all "
       "positions", 1, "1.5", CAP),
    _S("risk.equity_tolerance", "of equity",
       "maximum difference between the two equity reads that open a UTC day, and between an "
       "account's equity and the equity that its positions explain", 0, 1),
    _S("risk.equity_confirm_s", "s",
       "minimum time between two equity reads that together confirm a loss, a recovery or a new "
       "day's first equity", 5, 60),
    _S("costs.taker_bps", BASIS_POINTS,
       "taker fee of the embedded exchange, and the minimum taker fee that decisions assume",
       0, 100),
    _S("costs.maker_bps", BASIS_POINTS, "maker fee of the embedded exchange", -10, 100),
    _S("costs.slippage_bps", BASIS_POINTS,
       "slippage of a market order beyond half the spread, assumed by decisions and charged by the "
       "embedded exchange (more for an order beyond exchange.volume_participation)", 0, 1_000),
    _S("costs.entry_limit_offset_bps", BASIS_POINTS,
       "distance of an entry's limit price beyond the quote's ask (long) or bid (short)", 0, 100),
    _S("costs.funding_bps_per_8h", BASIS_POINTS,
       "funding rate per 8 h that decisions assume, and the embedded exchange charges, while the "
       "rate is unknown", 0, 100),
)

_SIGNALS = (
    *VETO_ROWS,
    *REFINER_ROWS,
    _S("strategies.enabled", "", "list of strategies that trade, by file name, each once"),
    _S("strategies.path", "",
       "folder of your own strategies, whose files Kamou runs as its own code; empty: none. The "
       "digest has the files' hashes instead of the folder", decides=False),
)

_CONNECTIONS = (
    _S("web.connections_max", "connections",
       "maximum number of open connections of the public listener; a further connection gets 503 "
       "(the process's descriptor limit less 64 is a second maximum)", 1, 100_000, decides=False),
    _S("web.connections_per_address_max", "connections",
       "maximum number of open connections from one address (IPv6: one /64), so that one client "
       "cannot use them all", 1, 100_000, decides=False),
    _S("web.trusted_proxies", "",
       "list of addresses or networks of reverse proxies, to which "
       "web.connections_per_address_max does not apply", decides=False),
    _S("web.header_bytes_max", "bytes",
       "maximum size of a request's line and headers; browsers send about 1 KB",
       1_024, 65_536, decides=False),
    _S("web.headers_max", "headers",
       "maximum number of headers of a request; each takes 1 us to parse, browsers send about 20",
       16, 1_000, decides=False),
    _S("web.pipelined_max", "requests",
       "maximum number of further requests that a client may send while one is answered; "
       "browsers send none", 0, 1_000, decides=False),
    _S("web.request_s", "s",
       "maximum time from a request's first byte to the last byte of its response; 100 KB take "
       "20 s at 5 KB/s", 1, 3_600, decides=False),
    _S("web.stall_s", "s",
       "maximum time for which a client may read nothing of its response", 1, 3_600,
       decides=False),
    _S("web.keep_alive_s", "s",
       "time after which an idle connection is closed", 1, 3_600, decides=False),
)

_MACHINE = (
    _S("exchange.latency_ms", "ms",
       "time from sending an order or a cancel until the embedded exchange executes it",
       0, 60_000),
    _S("exchange.attached_stop", "",
       "switch for attached orders: true lets an entry carry its stop loss and take profit"),
    _S("exchange.volume_participation", "of a bar's volume",
       "maximum quantity that one entry or limit order may fill in one bar", 0, 1),
    _S("exchange.gap_range_atr", ATR,
       "range of a bar above which stops fill beyond their trigger price, by exchange.gap_depth",
       0, 1_000),
    _S("exchange.gap_depth", "of the distance from trigger to extreme",
       "fill price of a stop in a bar wider than exchange.gap_range_atr, from the trigger price "
       "(0) to the bar's extreme (1)", 0, 1),
    _S("demo.seed", "", "seed of the generated market; another seed gives another market", 0),
    _S("demo.symbols", "symbols", "number of perpetuals in the generated market", 2, 2_000),
    _S("demo.days", "days",
       "length of the simulated trading before the start of a new demo; a new replay trades the "
       "last demo.days of its data", 0, 3_650),
    _S("demo.warmup_days", "days",
       "length of the generated market history before the first trading day", 0, 365),
    _S("demo.bar_s", "s", "length of the generated market's bars", 60, 3_600),
    _S("demo.edges", "",
       "planted edges of the generated market: by_seed plants those that the seed has in the table "
       "of docs/gate.md, none plants none", choices=tuple(MarketEdges)),
    _S("demo.scripted_refiner", "",
       "switch for a script in place of a language model in a demo on the generated market: it "
       "only advises, with a small planted skill, and only while refiner.mode is off"),
    _S("web.host", "", "address of the public listener", decides=False),
    _S("web.port", "", "port of the public listener; 0: any free port", 0, 65_535, decides=False),
    _S("web.operator_host", "", "address of the operator listener", decides=False),
    _S("web.operator_port", "",
       "port of the operator listener; 0: any free port", 0, 65_535, decides=False),
    _S("web.operator_tcp", "",
       "switch for the operator listener over TCP (health, metrics, REST); the commands use the "
       "Unix socket in the data directory, or TCP if its file system has no sockets",
       decides=False),
    _S("web.pricing_file", "",
       "Markdown file for /pricing; empty: the page says that Kamou is free", decides=False),
    *_CONNECTIONS,
    _S("web.site_nice", "",
       "niceness added to the site process, so that the trading process gets the CPU first",
       0, 19, decides=False),
    _S("web.site_memory_max_mb", "MiB",
       "resident memory above which the site process is replaced; `kamou site` does not check it",
       128, decides=False),
    _S("web.site_address_space_max_mb", "MiB",
       "address space limit of the site process; 0: no limit", 0, decides=False),
    _S("web.site_descriptors_max", "descriptors",
       "maximum number of open files and connections of the site process",
       128, 1_048_576, decides=False),
    _S("web.site_render_max_s", "s",
       "time for one page after which the site process is replaced (with `kamou site`: ends)",
       1, 3_600, decides=False),
    _S("web.site_silence_max_s", "s",
       "time without a heartbeat after which the site process is replaced",
       5, 3_600, decides=False),
    _S("web.site_start_max_s", "s",
       "maximum time in which a new site process reads its handover, and then again until it "
       "serves; a slower one is replaced",
       5, 3_600, decides=False),
    _S("site.public_url", "",
       "address where visitors find the site, for canonical links, sitemap and link previews; "
       "empty: the pages have none of these", decides=False),
    _S("store.group_commit_ms", "ms",
       "time for which the journal collects events that nobody waits for into one transaction",
       0, 1_000),
    _S("store.snapshot_every", "events",
       "minimum number of events between two snapshots of the position book", 1_000),
    _S("store.batch_max", "events",
       "number of collected events at which the journal writes without waiting for "
       "store.group_commit_ms, and maximum number of them in one such transaction", 1, 100_000),
    _S("data.rows_max", "rows",
       "maximum number of rows in the files of one dataset; each takes 160 B of memory",
       1, decides=False),
    _S("data.symbols_max", "symbols",
       "maximum number of symbols of one dataset", 1, 100_000, decides=False),
    _S("data.columns_max", "columns",
       "maximum number of columns of one data file; a series in a dataset's directory may have "
       "data.symbols_max and one more", 1, 100_000, decides=False),
    _S("data.files_max", "names",
       "maximum number of names (files and subdirectories) in a directory of data files",
       1, 1_000_000, decides=False),
    _S("data.cells_max", "cells",
       "maximum number of bars times symbols of one dataset; each cell takes 36 B of memory",
       1, decides=False),
    _S("data.unpacked_mb_max", "MB",
       "maximum unpacked size of the files of one dataset", 1, decides=False),
    _S("supervision.intensity", "restarts",
       "maximum number of restarts by one supervisor in supervision.period_s; one more makes the "
       "supervisor fail (those of the site and of the operator listeners have no maximum)",
       1, 1_000),
    _S("supervision.period_s", "s",
       "period for which a supervisor counts its restarts; waits before restarts lengthen it",
       1, 86_400),
    _S("supervision.backoff_base_ms", "ms", "wait before the first restart", 1, 60_000),
    _S("supervision.backoff_cap_ms", "ms", "maximum wait before a restart", 1, 3_600_000),
    _S("supervision.backoff_reset_s", "s",
       "time without a crash after which the wait before a restart is again "
       "supervision.backoff_base_ms", 1, 86_400),
    _S("supervision.handler_deadline_s", "s",
       "maximum time of one message handler, tick or last step of an actor; a longer one counts as "
       "a crash of the actor",
       1, 3_600),
    _S("supervision.grace_s", "s",
       "maximum time of an orderly stop, after which the process ends at once", 1, 600),
    _S("supervision.heartbeat_s", "s",
       "maximum time for which the event loop may be blocked before the process ends", 1, 3_600),
)
# fmt: on

_ROWS = {setting.key: setting for setting in (*_GENERAL, *_RISK, *_SIGNALS, *_MACHINE)}


def settings_table(types: ParameterTypes | None = None) -> dict[str, Setting]:
    """Return all settings by dotted key, with those that strategies' files declare.

    Args:
        types: classes of the strategies' parameters; None: those of the package's strategies.
    """
    # Imported here because the strategies import numpy, which many verbs do not need.
    from kamou.core.strategies.base import Parameters, declared_parameters

    table = dict(_ROWS)
    for name, kind in (strategy_parameter_classes() if types is None else types).items():
        assert issubclass(kind, Parameters)
        for field, declared in declared_parameters(kind).items():
            key = f"strategies.{name}.{field}"
            table[key] = Setting(key, declared.unit, declared.about, declared.low, declared.high)
    return table
