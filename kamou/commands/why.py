"""``kamou why``: answers of tiers and venue about a symbol, with their figures."""

from __future__ import annotations

import contextlib
import difflib
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import click

from kamou.commands.book import describe_loss, open_database, query_day_budget
from kamou.commands.options import (
    check_one_source,
    config_option,
    data_dir_option,
    database_option,
    json_option,
    resolve,
)
from kamou.commands.printing import format_time, print_json, print_line
from kamou.core.codes import MEANINGS
from kamou.core.kinds import RefinerVerdict, Tier
from kamou.core.model import Figure
from kamou.core.refiner_codes import REFINER_MEANINGS
from kamou.core.words import figure_words, figures_words, strategy_name
from kamou.data_directory.folder import DataDirectory
from kamou.runs.recorded_book import RecordedBook

WANTED = "wanted"  # name of the figure with a strategy's requirement
TIER_NAMES = {
    Tier.STRATEGY: "strategy (T1)",
    Tier.VETO: "veto (T2)",
    Tier.REFINER: "refiner (T3)",
    Tier.GOVERNOR: "denial",  # by the order manager or the risk governor
    Tier.VENUE: "exchange",
}
"""Names of the tiers in words."""
GRANTED = "GRANTED"
REJECTED = "the exchange rejected the entry"
ANSWERS = {
    GRANTED: "the entry may be sent",
    "SCORED": "the strategy gave a score",
    RefinerVerdict.APPROVE: "the signal passes",
    RefinerVerdict.OFF: "the refiner is off, and the signal passes unchanged",
    RefinerVerdict.ADVISORY: "the refiner only advises, and the signal passes unchanged",
    RefinerVerdict.UNANSWERED: "the model gave no valid answer, and the signal passes unchanged",
    RefinerVerdict.REFUSE: "the refiner refuses the signal",
    RefinerVerdict.SHRINK: "the signal passes with a smaller size",
}
"""Meanings of the answers that have no code in ``MEANINGS``."""


@click.command()
@click.argument("symbol")
@config_option
@data_dir_option
@database_option
@json_option
@click.option(
    "--cycles",
    type=click.IntRange(1, 60),
    default=12,
    metavar="N",
    help="Show the newest N cycles.",
)
def why(
    symbol: str,
    config_path: Path | None,
    data_dir: Path | None,
    database: Path | None,
    as_json: bool,
    cycles: int,
) -> None:
    """Print what each tier and the exchange answered about SYMBOL in the last cycles.

    The day's loss and its limit are printed, too.
    """
    check_one_source(database, data_dir)
    resolved = resolve(config_path, data_dir=data_dir)
    directory = DataDirectory(resolved.settings.data_dir)
    with contextlib.closing(open_database(directory, database)) as reader:
        rows = query_reasons(reader, symbol.upper(), cycles)
        scanned = frozenset() if rows else _newest_symbols(reader)
        recorded = bool(rows) or _is_recorded(reader, symbol.upper())
        nearest = None if recorded else _suggest_symbol(reader, scanned, symbol.upper())
        day = query_day_budget(reader, RecordedBook())
    if as_json:
        found = {"symbol": symbol.upper(), "nearest": nearest, "day": day, "reasons": rows}
        print_json(found)
        return
    print_line(f"the day's loss: {describe_loss(day)}")
    if not rows:
        why_not = "it was not a candidate, or it is not one of the symbols"
        if recorded or symbol.upper() in scanned:
            why_not = "it was not a candidate"
        elif scanned:
            why_not = "it is not one of the symbols"
        if nearest is not None:
            why_not += f"; did you mean {nearest}?"
        print_line(
            f"the journal has nothing about {symbol.upper()} in {_cycles_text(cycles)}: {why_not}"
        )
        return
    print_line(f"{symbol.upper()}, {_cycles_text(cycles)}, times in UTC:")
    for row in rows:
        print_line(_format_reason(row))


def _cycles_text(cycles: int) -> str:
    return "the last cycle" if cycles == 1 else f"the last {cycles} cycles"


def _newest_symbols(reader: sqlite3.Connection) -> frozenset[str]:
    """Return the symbols of the newest scan; empty if no scan detail is stored yet."""
    from kamou.core.ranking import scan_detail
    from kamou.store import queries

    scans = (
        scan_detail.read_symbols(body) for _, body in queries.query_scan_details(reader, limit=1)
    )
    return frozenset().union(*scans)


def _is_recorded(reader: sqlite3.Connection, symbol: str) -> bool:
    """Return True if the journal has a trade or a signal of the symbol that passed T2."""
    from kamou.store import queries

    return (
        any(row.symbol == symbol for row in queries.query_open_trades(reader))
        or bool(queries.query_trades(reader, queries.TradeFilter(symbol=symbol), limit=1))
        or bool(queries.query_signals(reader, symbol=symbol, limit=1))
    )


def _suggest_symbol(reader: sqlite3.Connection, scanned: frozenset[str], symbol: str) -> str | None:
    """Return a known symbol that the operator may have meant; None without one.

    ``symbol`` may be the id of a trade or signal, which ends in its symbol, the beginning of a
    symbol, or a misspelled symbol. A symbol that was scanned needs no suggestion. Without a scan
    the symbols are those of the newest refusals. That list is incomplete, so misspelled symbols get
    no suggestion then.
    """
    from kamou.store import queries

    if symbol in scanned:
        return None
    known = scanned or {row.symbol for row in queries.query_refusals(reader, limit=NEWEST)} - {
        symbol
    }
    named = [name for name in known if symbol.endswith(f".{name}")]  # the id of a trade or signal
    begins = sorted((name for name in known if name.startswith(symbol)), key=lambda s: (len(s), s))
    close = difflib.get_close_matches(symbol, sorted(scanned), n=1)
    return next(iter([*named, *begins, *close]), None)


class ReasonRow(TypedDict):
    """One answer of a tier or of the venue, for `--json`."""

    at_ms: int
    tier: Tier
    strategy: str
    answer: str  # a code or a verdict
    figures: str  # as NAME=VALUE, separated by spaces
    words: str  # answer and figures in words


NEWEST = 2_000  # number of the newest refusals in which symbols are searched


def query_reasons(reader: sqlite3.Connection, symbol: str, cycles: int) -> list[ReasonRow]:
    """Return the answers of tiers and venue about a symbol in the newest cycles.

    They are sorted by time, newest first. Permits are answers of the governor. Of the refusals and
    of the signals only the newest 500 are read.
    """
    from kamou.core.ranking import scan_detail
    from kamou.store import queries
    from kamou.store.latest_events import rejected_entries

    seen = queries.query_cycles(reader, limit=cycles)
    since_ms = seen[-1].cycle_at_ms if seen else 0
    rows = [
        _make_reason(refusal.at_ms, refusal.tier, refusal.strategy, denial.code, denial.figures)
        for refusal in queries.query_refusals(reader, symbol=symbol, since_ms=since_ms, limit=500)
        for denial in refusal.denials
    ]
    rows += [
        _make_reason(
            at_ms,
            Tier.VENUE,
            signal_id.split(".")[1],  # BAR.STRATEGY.SYMBOL
            reason.partition(": ")[0],
            (Figure(name="reason", value=reason.partition(": ")[2] or "none given"),),
        )
        for at_ms, signal_id, reason in rejected_entries(reader, symbol, since_ms)
    ]
    signals = [
        signal
        for signal in queries.query_signals(reader, symbol=symbol, limit=500)
        if signal.cycle_at_ms >= since_ms
    ]
    for signal in signals:
        sized = {"score": f"{signal.score:.3f}", "size": str(signal.size_multiplier)}
        figures = tuple(Figure(name=name, value=value) for name, value in sized.items())
        rows.append(
            _make_reason(signal.cycle_at_ms, Tier.REFINER, signal.strategy, signal.verdict, figures)
        )
        rows += [
            _make_reason(granted.at_ms, Tier.GOVERNOR, signal.strategy, GRANTED, granted.figures)
            for granted in queries.query_grants(reader, signal.signal_id)
        ]
    for cycle_at_ms, body in queries.query_scan_details(reader, limit=cycles):
        for reason in scan_detail.read_reasons(body, symbol):
            answer, figures = reason.abstain.name, reason.figures
            if reason.score is not None:
                answer, figures = "SCORED", (Figure(name="score", value=f"{reason.score:.3f}"),)
            rows.append(_make_reason(cycle_at_ms, Tier.STRATEGY, reason.strategy, answer, figures))
    return sorted(rows, key=lambda row: -row["at_ms"])


def _make_reason(
    at_ms: int, tier: Tier, strategy: str, answer: str, figures: Sequence[Figure]
) -> ReasonRow:
    """Return one answer for `--json`; ``words`` has answer and figures in words."""
    return {
        "at_ms": at_ms,
        "tier": tier,
        "strategy": strategy,
        "answer": answer,
        "figures": " ".join(f"{each.name}={each.value}" for each in figures),
        "words": explain(answer, figures, tier),
    }


def explain(code: str, figures: Sequence[Figure], tier: Tier | None = None) -> str:
    """Return the meaning of a code, with its figures, in words."""
    meaning = REJECTED if tier is Tier.VENUE else _meaning(code)
    found = figures_words((each for each in figures if each.name != WANTED), _names_key(code, tier))
    wanted = [figure_words(each) for each in figures if each.name == WANTED]
    shown = "; ".join([*([found] if found else []), *wanted])
    return ": ".join(part for part in (meaning, shown) if part)


def _meaning(code: str) -> str:
    return MEANINGS.get(code) or REFINER_MEANINGS.get(code) or ANSWERS.get(code, "")


def _names_key(code: str, tier: Tier | None) -> str:
    """Return the key of the figures' names: the code, or T3 for its verdicts."""
    return tier if tier is Tier.REFINER else code


def _format_reason(row: ReasonRow) -> str:
    """Return one answer as one line."""
    tier = "permit" if row["answer"] == GRANTED else TIER_NAMES[row["tier"]]
    strategy = strategy_name(row["strategy"])
    return f"{format_time(row['at_ms'])} {tier}, {strategy}: {row['answer']}: {row['words']}"
