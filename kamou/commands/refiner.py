"""``kamou refiner``: what the verdicts of the refiner (T3) are worth."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from kamou.commands.book import open_database
from kamou.commands.gate_power import seed_option
from kamou.commands.options import (
    UserPath,
    check_one_source,
    config_option,
    data_dir_option,
    database_option,
    json_option,
    resolve,
)
from kamou.commands.printing import print_json, print_line, print_text_table
from kamou.data_directory.folder import DataDirectory

if TYPE_CHECKING:
    from kamou.core.record.refiner_value import RefinerValue
    from kamou.store.verdict_rows import JudgedRecord


@click.group()
def refiner() -> None:
    """Show what the refiner's verdicts are worth."""


@refiner.command()
@click.argument("file", type=UserPath(dir_okay=False), metavar="[FILE.csv]", required=False)
@config_option
@data_dir_option
@database_option
@seed_option
@json_option
def value(
    file: Path | None,
    config_path: Path | None,
    data_dir: Path | None,
    database: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Measure the verdicts on closed shadow trades, of a run or of a file.

    FILE.csv has the columns of `kamou gate evaluate` and also verdict (approve, refuse or shrink;
    other lines are left out), score, p_win_pct and cost_usd. The last two may be blank. Without
    FILE.csv the trades and verdicts are those of the data directory.
    """
    from kamou.core.record.refiner_value import measure_refiner_value
    from kamou.store.verdict_file import read_verdict_file
    from kamou.store.verdict_rows import JudgedRecord

    if file is not None:
        if database is not None or data_dir is not None:
            raise click.UsageError("give either FILE.csv or a data directory or database")
        record = JudgedRecord(trades=read_verdict_file(file), models=(), cost_usd=None)
    else:
        record = _read_record(config_path, data_dir, database)
    found = measure_refiner_value(record.trades, seed)
    if record.cost_usd is not None:
        found = attrs.evolve(found, cost_usd=record.cost_usd)
    if as_json:
        print_json({"seed": seed, "models": list(record.models), **attrs.asdict(found)})
        return
    named = f" of {', '.join(record.models)}" if record.models else ""
    print_line(f"{found.n} closed shadow trades with a verdict{named}, opened on {found.days} days")
    arms = [
        [str(each.verdict), str(each.n), _show(each.mean_r), _show(each.deviation_r)]
        for each in found.arms
    ]
    print_text_table("R by verdict", ("verdict", "trades", "mean R", "deviation"), arms)
    print_text_table("value", ("figure", "value"), list(_value_rows(found)))


def _read_record(
    config_path: Path | None, data_dir: Path | None, database: Path | None
) -> JudgedRecord:
    from kamou.store.verdict_rows import query_judged_trades

    check_one_source(database, data_dir)
    resolved = resolve(config_path, data_dir=data_dir)
    directory = DataDirectory(resolved.settings.data_dir)
    with contextlib.closing(open_database(directory, database)) as reader:
        return query_judged_trades(reader)


def _value_rows(found: RefinerValue) -> Iterator[list[str]]:
    from kamou.core.record.refiner_value import POWER, SIGNIFICANCE

    yield ["uplift: mean R approved - refused", _show(found.uplift_r)]
    if found.p_value is not None and found.placebo_r is not None:
        how = "all" if found.counted_all else "drawn"
        yield [
            f"p-value, verdicts exchanged within days ({found.arrangements:,} {how})",
            f"{found.p_value:.4g}",
        ]
        low, high = found.placebo_r
        yield ["uplift of a random veto, 5 % to 95 %", f"{low:+.4f} to {high:+.4f}"]
        yield ["uplift if refused by score", _show(found.score_uplift_r)]
    yield [
        f"Brier score ({found.p_wins} stated probabilities)",
        "none" if found.brier is None else f"{found.brier:.4f}",
    ]
    yield ["Brier skill over the share of gains", _show(found.brier_skill)]
    yield ["cost of the calls", f"{found.cost_usd:f} USD"]
    test = f"one-sided {SIGNIFICANCE:.0%}, power {POWER:.0%}"
    for effect, trades in found.trades_per_arm or ():
        yield [f"trades per arm to show {effect:g} R ({test})", f"{trades:,}"]


def _show(number: float | None) -> str:
    return "none" if number is None else f"{number:+.4f}"
