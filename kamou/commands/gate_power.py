"""``kamou gate power``: false promotions and power of the gate, by simulation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs
import click

from kamou.commands.gate import m0_option
from kamou.commands.options import json_option
from kamou.commands.printing import print_json, print_line, print_text_table

if TYPE_CHECKING:
    from kamou.core.record.gate_power import PromotionShare

PATHS_MIN = 100
PATHS_MAX = 200_000
TRADES_MAX = 1_000
PER_DAY_MAX = 100
ANY_OF_SIX = "canary: any of six such strategies"

seed_option = click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    default=1,
    show_default=True,
    help="Seed of all draws; the same seed prints the same figures.",
)


def check_edges(
    ctx: click.Context, parameter: click.Parameter, values: tuple[float, ...]
) -> tuple[float, ...]:
    """Return the expected R of trades if wins and losses can have it."""
    from kamou.core.record.gate_power import LOSS_R, WIN_R

    for value in values:
        if not LOSS_R < value < WIN_R:
            raise click.BadParameter(
                f"{value} is not between {LOSS_R:g} and {WIN_R:g}", ctx, parameter
            )
    return values


@click.command()
@click.option(
    "--paths",
    type=click.IntRange(PATHS_MIN, PATHS_MAX),
    default=20_000,
    show_default=True,
    help="Simulated strategies for each figure.",
)
@seed_option
@m0_option
@click.option(
    "--edge",
    "edges",
    type=float,
    multiple=True,
    default=(0.0, 0.32),
    show_default=True,
    callback=check_edges,
    help="Expected R of a trade; 0 is no edge. Repeatable.",
)
@click.option(
    "--per-day",
    type=click.IntRange(1, PER_DAY_MAX),
    multiple=True,
    default=(2, 5, 10),
    show_default=True,
    help="Trades a day, which make a block. Repeatable.",
)
@click.option(
    "--trades",
    type=click.IntRange(1, TRADES_MAX),
    default=300,
    show_default=True,
    help="Trades until which promotions count; whole days only.",
)
@json_option
def power(
    paths: int,
    seed: int,
    m0: float,
    edges: tuple[float, ...],
    per_day: tuple[int, ...],
    trades: int,
    as_json: bool,
) -> None:
    """Print false promotions and power of the gate, by simulation.

    Beside them stand those of the original rule. A strategy wins 2.3 R or loses 1 R, independently,
    a fixed number of times a day. A rule promotes it at the first look at which all conditions
    hold.
    """
    from kamou.core.record.gate_power import PowerPlan, simulate_promotions
    from kamou.core.record.promotion import GateTerms

    if max(per_day) > trades:
        raise click.UsageError(f"--per-day {max(per_day)} is above --trades {trades}; no whole day")
    plan = PowerPlan(paths=paths, seed=seed, trades=trades, terms=GateTerms(m0=m0))
    found = {
        edge: [simulate_promotions(plan, edge, each) for each in dict.fromkeys(per_day)]
        for edge in dict.fromkeys(edges)
    }
    if as_json:
        shares = [attrs.asdict(each) for rates in found.values() for rate in rates for each in rate]
        document = {"paths": paths, "seed": seed, "m0": m0, "trades": trades}
        print_json({**document, "promotions": shares})
        return
    print_line(
        f"{paths:,} strategies, seed {seed}, {trades} trades, m0 {m0:g}: promoted in % (standard"
        " error), at median closed trades (standard error)"
    )
    for rates in found.values():
        header = ("rule", *(f"{r[0].trades_per_day} a day" for r in rates))
        print_text_table(_edge_title(rates[0][0].edge_r), header, list(_promotion_rows(rates)))


def _edge_title(edge_r: float) -> str:
    from kamou.core.record.gate_power import win_probability

    named = f"edge {edge_r:+g} R" if edge_r else "no edge"
    return f"{named} ({win_probability(edge_r):.1%} wins)"


def _promotion_rows(rates: list[tuple[PromotionShare, ...]]) -> Iterator[list[str]]:
    from kamou.core.record.gate_power import PromotionRule

    for row in zip(*rates, strict=True):
        yield [row[0].rule, *map(format_promotion, row)]
        if row[0].rule is PromotionRule.CANARY:
            yield [ANY_OF_SIX, *(format_any_of_six(each) for each in row)]


def format_promotion(share: PromotionShare) -> str:
    """Return a share in % and the median of trades, each with its standard error."""
    text = f"{100 * share.share:.2f} ({100 * share.standard_error:.2f})"
    if share.median_trades is None:
        return text
    text += f" at {share.median_trades:g}"
    error = share.median_trades_standard_error
    return text if error is None else f"{text} ({error:g})"


def format_any_of_six(share: PromotionShare) -> str:
    """Return the probability for any of six strategies in %, with its standard error."""
    return f"{100 * share.any_of_six:.2f} ({100 * share.any_of_six_standard_error:.2f})"
