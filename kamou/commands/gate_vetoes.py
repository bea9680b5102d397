"""``kamou gate vetoes``: false vetoes of hours, symbols and win rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import click

from kamou.commands.gate_power import PATHS_MAX, PATHS_MIN, seed_option
from kamou.commands.options import json_option
from kamou.commands.printing import print_json, print_line, print_text_table

if TYPE_CHECKING:
    from kamou.core.record.veto_rates import Rate


@click.command()
@click.option(
    "--paths",
    type=click.IntRange(PATHS_MIN, PATHS_MAX),
    default=20_000,
    show_default=True,
    help="Simulated records for each figure.",
)
@seed_option
@json_option
def vetoes(paths: int, seed: int, as_json: bool) -> None:
    """Print false vetoes of hours, symbols and win rates, by simulation.

    Beside them stand those of naive rules. No strategy, hour or symbol has an edge, so every veto
    is false. The last column is the share of losing cells that are vetoed, from other records in
    which every sixth cell is expected to lose 0.5 R a trade.
    """
    from kamou.core.record import veto_rates

    cells = [veto_rates.simulate_cell_vetoes(case, paths, seed) for case in veto_rates.CASES]
    wins = veto_rates.simulate_win_rate_vetoes(paths, seed)
    if as_json:
        document = {"paths": paths, "seed": seed, "cells": [attrs.asdict(each) for each in cells]}
        print_json({**document, "win_rate": attrs.asdict(wins)})
        return
    print_line(f"{paths:,} records, seed {seed}; standard errors in brackets")
    header = (
        "cells",
        "naive, %",
        "gain it shows, R",
        "Benjamini-Hochberg, %",
        "shrunken, %",
        "either, %",
        "losing cells found, %",
    )
    rows = [
        [
            f"{each.case.cells} {each.case.kind}, {each.case.trades} trades",
            format_rate(each.naive, 100),
            format_rate(each.naive_gain_r),
            *(format_rate(r, 100) for r in (each.benjamini_hochberg, each.shrunken, each.either)),
            format_rate(each.found, 100),
        ]
        for each in cells
    ]
    print_text_table("false vetoes of cells", header, rows)
    row = [format_rate(each, 100) for each in (wins.naive, wins.wilson, wins.wilson_ever)]
    title = (
        f"false vetoes of a win rate at break-even, {wins.trades} trades, b {wins.reward_to_risk:g}"
    )
    names = ("naive, %", "Wilson at the end, %", "Wilson after any trade, %")
    print_text_table(title, names, [row])


def format_rate(rate: Rate, scale: float = 1) -> str:
    """Return a rate and its standard error, both times ``scale``."""
    return f"{scale * rate.mean:.2f} ({scale * rate.standard_error:.2f})"
