"""``kamou data``: import and list the datasets of a data directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from kamou.commands.options import UserPath, config_option, data_dir_option, json_option, resolve
from kamou.commands.printing import (
    format_time,
    print_error_line,
    print_json,
    print_line,
    print_table,
    show_progress,
)
from kamou.core.words import count_words, format_duration
from kamou.data_directory.folder import DataDirectory
from kamou.errors import NotRunningError

if TYPE_CHECKING:
    from kamou.store.market_data import DatasetSummary


@click.group()
def data() -> None:
    """Import recorded market data and list the datasets."""


@data.command("import")
@click.argument("source", type=UserPath(exists=True, file_okay=False), metavar="DIR")
@click.option("--name", metavar="NAME", help="The dataset's name (default: the directory's name).")
@click.option(
    "--venue", metavar="VENUE", help="Only rows of this venue, if the files have several."
)
@click.option("--allow-gaps", is_flag=True, help="Store the dataset although bars are missing.")
@click.option("--replace", is_flag=True, help="Replace a dataset of the same name.")
@config_option
@data_dir_option
@json_option
def import_(
    source: Path,
    name: str | None,
    venue: str | None,
    allow_gaps: bool,
    replace: bool,
    config_path: Path | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Check the bars, funding and open interest in DIR and store them as a dataset.

    If a file has corrupt, unsorted, duplicate or future rows, or lacks rows without --allow-gaps,
    the error names the row and the reason, and nothing is stored. Without --replace, another
    dataset of the same name is an error.
    """
    from kamou.clock import SystemClock
    from kamou.store.importer import ReadOptions, StoreOptions, import_directory

    settings = resolve(config_path, data_dir=data_dir).settings
    directory = DataDirectory(settings.data_dir)
    existed = directory.path.exists()
    if existed:  # an unusable data directory is an error before minutes of reading
        directory.create(print_error_line)
    with show_progress(quiet=as_json) as report:
        done = import_directory(
            source,
            directory.path,
            now_ms=SystemClock().now_ms(),
            reading=ReadOptions(
                venue=venue, allow_gaps=allow_gaps, limits=settings.data, progress=report
            ),
            storing=StoreOptions(
                name=name,
                replace=replace,
                # Invalid data or a mistyped path creates no data directory.
                before_storing=lambda: None if existed else directory.create(print_error_line),
            ),
        )
    if as_json:
        print_json(attrs.asdict(done))
        return
    for skipped in done.skipped:
        print_line(f"left out {skipped.file}: {skipped.reason}", err=True)
    for note in done.notes:
        print_line(f"note: {note}", err=True)
    if done.unchanged:
        print_line("this dataset is already stored; nothing was changed")
    _print_datasets([done.summary])


@data.command("list")
@config_option
@data_dir_option
@json_option
def list_(config_path: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """List the datasets with their periods and gaps, and the damaged datasets."""
    from kamou.store.market_data import DamagedDataset, DatasetSummary, list_datasets

    stored_in = resolve(config_path, data_dir=data_dir).settings.data_dir
    found = list_datasets(stored_in)
    if not found and not stored_in.exists():
        raise NotRunningError(
            f"the data directory {stored_in} does not exist; `kamou data import DIR` creates it and"
            " stores a directory of bars, or name another with --data-dir"
        )
    sets = [each for each in found if isinstance(each, DatasetSummary)]
    damaged = [each for each in found if isinstance(each, DamagedDataset)]
    if as_json:
        print_json(
            {
                "sets": [attrs.asdict(each) for each in sets],
                "damaged": [attrs.asdict(each) for each in damaged],
            }
        )
        return
    if sets:
        _print_datasets(sets)
    elif not damaged:
        print_line("no dataset is stored yet; `kamou data import DIR` stores a directory of bars")
    for each in damaged:
        print_error_line(f"damaged: {each.name}: {each.reason}")


def _print_datasets(sets: Sequence[DatasetSummary]) -> None:
    columns = (
        "name",
        "symbols",
        "bars",
        "period",
        "from",
        "to",
        "gaps",
        "funding",
        "open_interest",
    )
    rows = (
        (
            each.name,
            each.symbols,
            each.bars,
            format_duration(each.period_ms),
            format_time(each.first_ms),
            format_time(each.last_ms),
            each.gaps_total,
            each.funding_rows,
            each.open_interest_rows,
        )
        for each in sets
    )
    print_table("", columns, rows)
    for each in sets:
        for gap in each.gaps:
            lacks = (
                f"{count_words(gap.bars, 'bar')} from {format_time(gap.after_ms + each.period_ms)}"
            )
            print_line(f"gap in {each.name}: {gap.symbol} lacks {lacks}")
