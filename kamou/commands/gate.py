"""``kamou gate``: what the promotion gate decides, and why."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from kamou.commands.options import UserPath, json_option
from kamou.commands.printing import format_time, output_size, print_json, print_lines
from kamou.commands.text_layout import align_columns, fit_line

if TYPE_CHECKING:
    from kamou.core.record.promotion import GateEvaluation, GateTerms

ATTEMPT_MAX = 50  # thresholds double with each attempt
EQUITY_MAX = 1e15


def parse_time(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Return a day, a time in ISO 8601, or ms, as ms UTC; None without the option.

    A time without a zone is UTC.

    Raises:
        click.BadParameter: the value is no time, or not between 2009 and 2100.
    """
    if value is None:
        return None
    try:
        at_ms = int(value) if value.isdecimal() and len(value) > 8 else _iso_ms(value)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{value!r} is no time; expected 2025-10-01, 2025-10-01T12:00:00Z or ms since 1970",
            ctx,
            parameter,
        ) from error
    if not 2009 <= _year(at_ms) < 2100:
        raise click.BadParameter(
            f"{value} is not between 2009 and 2100; expected 2025-10-01 or ms since 1970",
            ctx,
            parameter,
        )
    return at_ms


def _iso_ms(text: str) -> int:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return round(moment.timestamp() * 1000)


def _year(at_ms: int) -> int:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).year
    except (ValueError, OverflowError, OSError):
        return 0


def check_equity(ctx: click.Context, parameter: click.Parameter, value: float) -> float:
    """Return the equity if it is above 0 and at most ``EQUITY_MAX``.

    Raises:
        click.BadParameter: it is not.
    """
    if not (math.isfinite(value) and 0 < value <= EQUITY_MAX):
        raise click.BadParameter(f"{value} is not above 0 and at most 1e15", ctx, parameter)
    return value


def check_m0(ctx: click.Context, parameter: click.Parameter, value: float) -> float:
    """Return m0 if it is from 0 to ``M0_MAX``.

    Raises:
        click.BadParameter: it is not.
    """
    from kamou.core.record.promotion import M0_MAX

    if not 0 <= value <= M0_MAX:
        raise click.BadParameter(f"{value} is not from 0 to {M0_MAX}", ctx, parameter)
    return value


m0_option = click.option(
    "--m0",
    type=float,
    default=0.05,
    show_default=True,
    callback=check_m0,
    help="Mean R of a block that counts as no edge, 0 to 0.15.",
)


@click.group()
def gate() -> None:
    """Show what the promotion gate decides."""


@gate.command()
@click.argument("file", type=UserPath(dir_okay=False), metavar="FILE.csv")
@click.option(
    "--equity",
    type=float,
    default=10_000.0,
    show_default=True,
    callback=check_equity,
    help="Equity at the start, from which daily returns compound.",
)
@click.option(
    "--from",
    "from_ms",
    callback=parse_time,
    metavar="TIME",
    help="Only trades that opened at or after TIME (a day, ISO 8601 or ms).",
)
@click.option(
    "--to",
    "to_ms",
    callback=parse_time,
    metavar="TIME",
    help="Only trades that opened before TIME.",
)
@m0_option
@click.option(
    "--attempt",
    type=click.IntRange(1, ATTEMPT_MAX),
    default=1,
    show_default=True,
    help="Number of the attempt; the e-value needed doubles with each.",
)
@json_option
def evaluate(
    file: Path,
    equity: float,
    from_ms: int | None,
    to_ms: int | None,
    m0: float,
    attempt: int,
    as_json: bool,
) -> None:
    """Evaluate closed shadow trades as the promotion gate does.

    FILE.csv has the columns strategy, opened_at_ms, closed_at_ms, symbol, r and pnl_usd. All its
    trades are closed and all its days are over. A file can show SHADOW, CANARY or HALTED; LIVE also
    needs real fills.
    """
    from kamou.core.record.promotion import GateTerms, evaluate_strategies
    from kamou.store.gate_file import read_gate_file

    if from_ms is not None and to_ms is not None and from_ms >= to_ms:
        raise click.UsageError("--from must be before --to")
    terms = GateTerms(equity=equity, m0=m0, attempt=attempt, from_ms=from_ms, to_ms=to_ms)
    found = evaluate_strategies(read_gate_file(file), terms)
    if as_json:
        given = attrs.asdict(terms, filter=lambda field, _: field.name != "minima")
        document = {**given, "e_value_min": terms.e_value_min}
        print_json({**document, "strategies": [attrs.asdict(each) for each in found]})
        return
    width = output_size()[0]
    print_lines(part for line in _lines(found, terms) for part in fit_line(line, width))


def _lines(found: tuple[GateEvaluation, ...], terms: GateTerms) -> Iterator[str]:
    first, last = (
        format_time(at_ms)[:16] if at_ms is not None else "any time"
        for at_ms in (terms.from_ms, terms.to_ms)
    )
    yield f"trades that opened from {first} until before {last}"
    yield (
        f"equity at the start {terms.equity:,.2f}; no edge: blocks with a mean of up to"
        f" {terms.m0:g} R; attempt {terms.attempt}"
    )
    for each in found:
        yield ""
        yield f"{each.strategy}: {each.decision}"
        rows = figure_rows(each, terms.e_value_min)
        yield from (f"  {line}" for line in align_columns(rows, right=(1,)))
        start = "halted" if each.halted else "lacks"
        yield from (f"  {start}: {reason}" for reason in each.reasons)


def figure_rows(each: GateEvaluation, e_value_min: int) -> list[tuple[str, str, str]]:
    """Return the rows of a table of the figures, each with what is needed."""
    from kamou.core.record import promotion as p
    from kamou.core.record.performance import TRADES_MIN

    return [
        ("figure", "value", "needed"),
        ("closed trades", str(each.n), f"original rule {TRADES_MIN}, canary {p.CANARY_TRADES_MIN}"),
        ("blocks (UTC days)", str(each.blocks), f"canary {p.CANARY_BLOCKS_MIN}"),
        ("symbols", str(each.symbols), f"canary {p.CANARY_SYMBOLS_MIN}"),
        (
            "Sharpe ratio, daily x sqrt(365)",
            _show(each.sharpe_daily_annualised),
            f"original rule: above {p.SHARPE_MIN}",
        ),
        (
            "expectancy, USD per 100 trades",
            _show(each.expectancy_usd_per_100),
            f"original rule: above {p.EXPECTANCY_USD_MIN}",
        ),
        ("expectancy in R", _show(each.expectancy_r), ""),
        ("original rule", "passes" if each.original_rule_passes else "fails", "passes"),
        ("e-value of blocks", _show(each.e_value_blocks), f"canary {e_value_min}"),
        ("e-value of single trades", _show(each.e_value), "only displayed"),
    ]


def _show(value: float | None) -> str:
    return "none" if value is None else f"{value:.6g}"
