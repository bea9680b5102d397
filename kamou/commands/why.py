"""``kamou why``."""

from __future__ import annotations

import contextlib
import difflib
from pathlib import Path
from typing import Any

import click

from kamou.commands.book import day_budget, loss_words, open_database
from kamou.commands.options import config_option, data_dir_option, json_option, resolve
from kamou.commands.printing import print_json, print_table, say, when
from kamou.data_directory.folder import DataFolder


@click.command()
@click.argument("symbol")
@config_option
@data_dir_option
@json_option
@click.option("--cycles", type=click.IntRange(1, 60), default=12, metavar="N", help="How many.")
def why(
    symbol: str, config_path: Path | None, data_dir: Path | None, as_json: bool, cycles: int
) -> None:
    """Print what each tier answered about SYMBOL in the last cycles, with its figures."""
    resolved = resolve(config_path, data_dir=data_dir)
    with contextlib.closing(open_database(DataFolder(resolved.settings.data_dir))) as reader:
        rows = reasons(reader, symbol.upper(), cycles)
        nearest = None if rows else _nearest(reader, symbol.upper())
        day = day_budget(reader)
    if as_json:
        found = {"symbol": symbol.upper(), "nearest": nearest, "day": day, "reasons": rows}
        print_json(found)
        return
    say(f"the day's loss: {loss_words(day)}")
    if not rows:
        why_not = "it was not a candidate, or it is not one of the symbols"
        if nearest is not None:
            why_not = f"it is not one of the symbols; did you mean {nearest}?"
        say(f"nothing is recorded of {symbol.upper()} in the last {cycles} cycles: {why_not}")
        return
    columns = ("time", "tier", "strategy", "answer", "figures")
    cells = ((when(row["at_ms"]), *(row[key] for key in columns[1:])) for row in rows)
    print_table(f"{symbol.upper()}: the last {cycles} cycles", columns, cells)


def _nearest(reader: Any, symbol: str) -> str | None:
    """The symbol of the newest scan that is most like this one: it begins so, or is spelt so."""
    from kamou.core.ranking import scan_detail
    from kamou.store import queries

    known = [
        name for _, body in queries.details(reader, limit=1) for name in scan_detail.symbols(body)
    ]
    begins = [name for name in known if name.startswith(symbol)]
    close = difflib.get_close_matches(symbol, known, n=1)
    return next(iter([*sorted(begins, key=len), *close]), None)


def reasons(reader: Any, symbol: str, cycles: int) -> list[dict[str, Any]]:
    """Every answer about one symbol, newest first: T1's scans, T2, T3, the governor, signals."""
    from kamou.core.ranking import scan_detail
    from kamou.store import queries

    seen = queries.cycles(reader, limit=cycles)
    since_ms = seen[-1].cycle_ms if seen else 0
    rows = [
        {
            "at_ms": refusal.at_ms,
            "tier": refusal.tier,
            "strategy": refusal.strategy,
            "answer": denial.code,
            "figures": " ".join(f"{each.name}={each.value}" for each in denial.figures),
        }
        for refusal in queries.refusals(reader, symbol=symbol, since_ms=since_ms, limit=500)
        for denial in refusal.denials
    ]
    signals = [
        signal
        for signal in queries.signals(reader, symbol=symbol, limit=500)
        if signal.cycle_ms >= since_ms
    ]
    rows += [
        {
            "at_ms": signal.cycle_ms,
            "tier": "T3",
            "strategy": signal.strategy,
            "answer": signal.verdict,
            "figures": f"score={signal.score:.3f} size={signal.size_multiplier}",
        }
        for signal in signals
    ]
    rows += [
        {
            "at_ms": granted.at_ms,
            "tier": "governor",
            "strategy": signal.strategy,
            "answer": "GRANTED",
            "figures": " ".join(f"{each.name}={each.value}" for each in granted.figures),
        }
        for signal in signals
        for granted in queries.grants_of(reader, signal.signal_id)
    ]
    for cycle_ms, body in queries.details(reader, limit=cycles):
        rows += [
            {
                "at_ms": cycle_ms,
                "tier": "T1",
                "strategy": reason.strategy,
                "answer": "SCORED" if reason.score is not None else reason.abstain.name,
                "figures": "" if reason.score is None else f"score={reason.score:.3f}",
            }
            for reason in scan_detail.reasons(body, symbol)
        ]
    return sorted(rows, key=lambda row: -int(row["at_ms"]))
