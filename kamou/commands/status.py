"""``kamou status`` and ``kamou why``."""

from __future__ import annotations

import contextlib
import difflib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from kamou.commands.book import day_budget, describe, loss_words, open_database
from kamou.commands.operator import Operator
from kamou.commands.options import config_option, data_dir_option, json_option, resolve
from kamou.commands.printing import grouped, print_json, print_table, say, show, table, when
from kamou.data_directory.folder import DataFolder
from kamou.errors import KamouError, NotRunningError
from kamou.settings.config import Resolved

Tables = list[object]


@click.command()
@config_option
@data_dir_option
@json_option
@click.option("--watch", is_flag=True, help="Look again until interrupted.")
@click.option(
    "--interval", type=click.FloatRange(0.2, 3600), default=2.0, metavar="S", help="For --watch."
)
def status(
    config_path: Path | None, data_dir: Path | None, as_json: bool, watch: bool, interval: float
) -> None:
    """Show the supervision tree, positions and their stops, and today's loss budget.

    Exit code 3 when nothing runs; what the database last said is printed all the same.
    """
    resolved = resolve(config_path, data_dir=data_dir)
    if watch:
        _watch(resolved, interval, as_json)
        return
    seen = look(resolved)
    if as_json:
        print_json(seen)
    else:
        show(*status_tables(seen))
    if not seen["running"]:
        raise NotRunningError(str(seen["why_not"]))


def look(resolved: Resolved) -> dict[str, Any]:
    """One look: what the running system says, if one answers, and what the database says."""
    folder = DataFolder(resolved.settings.data_dir)
    seen: dict[str, Any] = {"running": False, "why_not": None, "system": None, "book": None}
    try:
        operator = Operator.find(folder)
        seen["run"] = {"pid": operator.record.pid, "started_ms": operator.record.started_ms}
        seen["run"] |= {"port": operator.record.port, "mode": operator.record.mode}
        seen["system"] = operator.status()
        seen["running"] = True
    except KamouError as error:
        seen["why_not"] = str(error)
    with contextlib.suppress(NotRunningError), contextlib.closing(open_database(folder)) as reader:
        seen["book"] = describe(reader, resolved.settings)
    return seen


def status_tables(seen: dict[str, Any]) -> Tables:
    """What one look saw, as tables."""
    shown: Tables = []
    book = seen["book"]
    if seen["running"]:
        shown += system_tables(seen["system"])
    if book is None:
        return shown
    day = book["day"]
    rows = [
        ("state", f"{book['state']} {book['state_reason'] or ''}".strip()),
        ("disabled strategies", ", ".join(book["disabled_strategies"]) or None),
        ("mode", book["mode"]),
        ("equity", book["equity"]),
        ("today", f"{day['result']:+.2%}" if day else None),
        ("loss today", loss_words(day)),
        ("loss budget left", f"{day['loss_budget_left']:.2%}" if day else None),
        ("last cycle", when(book["cycle_ms"])),
        ("as of", when(book["as_of_ms"])),
    ]
    shown.append(table("account", ("", ""), rows))
    columns = ("symbol", "side", "quantity", "entry_price", "stop_price", "stop_status")
    positions = [[row[column] for column in columns] for row in book["positions"]]
    shown.append(table("positions", columns, positions))
    return shown


def system_tables(system: dict[str, Any]) -> Tables:
    """The supervision tree and the mailboxes of a snapshot."""
    children: list[tuple[object, ...]] = []
    boxes: list[tuple[object, ...]] = []
    for depth, node in _nodes(system.get("supervision", {}), 0):
        facts = ("state", "incarnation", "restarts", "last_error")
        children.append(("  " * depth + str(node.get("id")), *(node.get(key) for key in facts)))
        boxes += [
            tuple(box[key] for key in ("name", "depth", "peak", "dropped", "expired"))
            for box in node.get("mailboxes", ())
        ]
    site = system.get("site") or {}
    lag = [
        (name, f"{1000 * value:.1f} ms")
        for name, key in (("max", "loop_lag_max_seconds"), ("p99", "loop_lag_p99_seconds"))
        if (value := system.get("gauges", {}).get(key)) is not None
    ]
    trouble = [
        (name.replace("_", " "), words)
        for name, words in (
            ("disk_full", "the disk is full: nothing can be journalled; free some space"),
            ("held", "entries are held by this run; the halt is not journalled yet"),
        )
        if system.get(name)
    ]
    return [
        *([table("trouble", ("", ""), trouble)] if trouble else []),
        table("public site", ("", ""), [(name.replace("_", " "), site[name]) for name in site]),
        *([table("loop lag", ("", ""), lag)] if lag else []),
        table("system", ("child", "state", "incarnation", "restarts", "last error"), children),
        table("mailboxes", ("mailbox", "depth", "peak", "dropped", "expired"), boxes),
    ]


def _nodes(node: dict[str, Any], depth: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The tree, parents before children, each with its depth."""
    yield depth, node
    for child in node.get("children", ()):
        yield from _nodes(child, depth + 1)


def _watch(resolved: Resolved, interval: float, as_json: bool) -> None:
    """Look again and again; Ctrl-C ends it. With --json a line for each look."""
    if as_json:
        while True:
            print_json(look(resolved), indent=None)
            pause(interval)
    from rich.live import Live

    with Live(auto_refresh=False, screen=False) as live:
        while True:
            seen = look(resolved)
            shown = status_tables(seen)
            if not seen["running"]:
                shown.append(str(seen["why_not"]))
            live.update(grouped(*shown), refresh=True)
            pause(interval)


def pause(seconds: float) -> None:
    """Wait; Ctrl-C ends the wait at once."""
    threading.Event().wait(seconds)


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
        day = day_budget(reader, resolved.settings)
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
