"""``kamou gate explain``: the gate's arithmetic from the journal, line by line."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kamou.commands.book import open_database
from kamou.commands.options import (
    check_one_source,
    config_option,
    data_dir_option,
    database_option,
    json_option,
    resolve,
)
from kamou.commands.printing import format_time, output_size, print_json, print_lines
from kamou.commands.text_layout import align_columns, fit_line
from kamou.core.plain import to_plain
from kamou.data_directory.folder import DataDirectory
from kamou.runs.recorded_book import RecordedBook

if TYPE_CHECKING:
    from kamou.core.record.gate_explanation import GateExplanation
    from kamou.store.gate_changes import GateChangeRow

WATCHED_NAMES = {
    "rolling_mean": ("mean of the last 30 trades, R", "half size below"),
    "cusum": ("CUSUM since the canary, R", "shadow above"),
    "drawdown": ("drawdown since the canary, R", "shadow above"),
}
"""Names of the statistics in words, and what crossing their limit means."""


@click.command()
@click.argument("strategy", required=False)
@config_option
@data_dir_option
@database_option
@json_option
def explain(
    strategy: str | None,
    config_path: Path | None,
    data_dir: Path | None,
    database: Path | None,
    as_json: bool,
) -> None:
    """Print the promotion gate's arithmetic for STRATEGY, or for all strategies.

    Each block stands with its mean and the e-value after it, then what the strategy lacks, the
    limits that would demote it, and its changes so far.
    """
    from kamou.core.record.gate_explanation import explain_strategy
    from kamou.core.record.gate_transitions import GateRules
    from kamou.store.gate_changes import query_gate_changes
    from kamou.store.gate_records import find_gate_strategies

    check_one_source(database, data_dir)
    resolved = resolve(config_path, data_dir=data_dir)
    directory = DataDirectory(resolved.settings.data_dir)
    with contextlib.closing(open_database(directory, database)) as reader:
        book, now_ms = RecordedBook().follow(reader), _newest_ms(reader)
        known = find_gate_strategies(reader)
        wanted = known if strategy is None else [strategy]
        rules = GateRules(equity=float(resolved.settings.equity))
        found = [
            (explain_strategy(book, each, now_ms, rules), query_gate_changes(reader, each))
            for each in wanted
        ]
    if as_json:
        documents = [_document(each, changes) for each, changes in found]
        print_json({"as_of_ms": now_ms, "m0": rules.m0, "strategies": documents})
        return
    width = output_size()[0]
    lines = _all_lines(found, strategy, known)
    print_lines(part for line in lines for part in fit_line(line, width))


def _newest_ms(reader: sqlite3.Connection) -> int:
    """Return the time of the journal's newest event, in ms; 0 without one."""
    found = reader.execute("SELECT at_ms FROM event ORDER BY seq DESC LIMIT 1").fetchone()
    return int(found[0]) if found else 0


def _document(each: GateExplanation, changes: Sequence[GateChangeRow]) -> dict[str, object]:
    from kamou.core.record.promotion import LIVE_FACTOR

    look, comparison = each.look, each.look.comparison
    shortfall = comparison.shortfall
    return {
        "strategy": each.strategy,
        "state": each.gate.state,
        "half_size": each.gate.half_size,
        "attempt": each.gate.attempt,
        "from_ms": each.gate.from_ms,
        "until_ms": each.until_ms,
        "not_before_ms": each.gate.not_before_ms,
        "held_back": each.held_back,
        "evaluation": to_plain(look.evaluation),
        "e_value_min": look.live_e_value_min // LIVE_FACTOR,
        "e_value_min_live": look.live_e_value_min,
        "canary_closes": comparison.closes,
        "shortfall_r": None if shortfall is None else float(shortfall),
        "blocks": [to_plain(line) for line in each.blocks],
        "watched": [to_plain(line) for line in each.watched],
        "lacks": list(each.lacks),
        "data_hash": each.data_hash,
        "changes": [to_plain(row) for row in changes],
    }


def _all_lines(
    found: Sequence[tuple[GateExplanation, Sequence[GateChangeRow]]],
    wanted: str | None,
    known: Sequence[str],
) -> Iterator[str]:
    if not found or (wanted is not None and wanted not in known):
        named = "no strategy" if wanted is None else f"nothing of {wanted}"
        yield f"the journal has {named} at the gate; each strategy begins in SHADOW"
        return
    for number, (each, changes) in enumerate(found):
        if number:
            yield ""
        yield from _lines(each, changes)


def _lines(each: GateExplanation, changes: Sequence[GateChangeRow]) -> Iterator[str]:
    gate = each.gate
    size = ", half size" if gate.half_size else ""
    yield f"{each.strategy}: {gate.state}{size}, attempt {gate.attempt}"
    since = format_time(gate.from_ms)[:16] if gate.from_ms else "the first one"
    yield (
        f"  shadow trades from {since} until before {format_time(each.until_ms)[:16]}:"
        f" {len(each.look.counted)} count; {each.held_back} closed ones do not count yet"
    )
    yield from (f"  {line}" for line in align_columns(_block_rows(each), right=(1, 2, 3, 4, 5, 6)))
    yield from (f"  {line}" for line in align_columns(_figure_rows(each), right=(1,)))
    yield from (f"  {_lack_word(each)}: {reason}" for reason in each.lacks)
    yield f"  hash of the trades that count: {each.data_hash}"
    for row in changes:
        figures = ", ".join(f"{figure.name} {figure.value}" for figure in row.figures)
        half = ", half size" if row.half_size else ""
        yield (
            f"  {format_time(row.at_ms)[:16]} {row.from_state} -> {row.to_state}{half}, attempt"
            f" {row.attempt}: {row.reason} ({figures}); {row.counted} trades, hash {row.data_hash}"
        )


def _lack_word(each: GateExplanation) -> str:
    return "halted" if each.look.ruin is not None else "lacks"


def _block_rows(each: GateExplanation) -> list[tuple[str, ...]]:
    """Return the table of blocks, with products of the smallest and largest bet."""
    rows: list[tuple[str, ...]] = [
        ("block", "trades", "mean R", "less m0", "x (l .02)", "x (l .42)", "E")
    ]
    for line in each.blocks:
        figures = (line.mean_r, line.gain, line.products[0], line.products[-1], line.e_value)
        rows.append((line.day, str(line.trades), *(f"{figure:.4g}" for figure in figures)))
    return rows if len(rows) > 1 else []


def _figure_rows(each: GateExplanation) -> list[tuple[str, str, str]]:
    from kamou.commands.gate import figure_rows
    from kamou.core.record.promotion import LIVE_FACTOR

    look, comparison = each.look, each.look.comparison
    rows = figure_rows(look.evaluation, look.live_e_value_min // LIVE_FACTOR)
    rows.append(("", "", f"LIVE {look.live_e_value_min} of the e-value of blocks"))
    if each.gate.limits is not None:
        rows.append(("closed canary trades", str(comparison.closes), f"LIVE {look.live_closes}"))
        shortfall = comparison.shortfall
        shown = "none" if shortfall is None else f"{float(shortfall):.4g}"
        rows.append(("their mean below that of shadows, R", shown, "LIVE: at most 0.10"))
    for line in each.watched:
        name, meaning = WATCHED_NAMES[line.name]
        shown = "none" if line.level is None else f"{line.level:.4g}"
        rows.append((name, shown, f"{meaning} {line.limit:.4g}"))
    return rows
