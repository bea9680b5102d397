"""``kamou data``: import and list the datasets of a data directory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from kamou.commands.options import UserPath, config_option, data_dir_option, json_option, resolve
from kamou.commands.printing import print_json, print_table, progress, say, say_error, when
from kamou.data_directory.folder import DataDirectory
from kamou.errors import NotRunningError

if TYPE_CHECKING:
    from kamou.store.market_data import SetSummary


@click.group()
def data() -> None:
    """Import recorded market data and list the datasets."""


@data.command("import")
@click.argument("source", type=UserPath(exists=True, file_okay=False), metavar="DIR")
@click.option("--name", metavar="NAME", help="The dataset's name (default: the folder's name).")
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
    """Check the bars, funding and open interest in DIR and store them.

    If a file has corrupt, missing, unsorted, duplicate or future rows, the error names the row and
    the reason, and nothing is stored.
    """
    from kamou.clock import SystemClock
    from kamou.store.importer import import_folder

    settings = resolve(config_path, data_dir=data_dir).settings
    folder = DataDirectory(settings.data_dir)
    existed = folder.path.exists()
    if existed:  # an unusable directory is reported before minutes of reading
        folder.create(say_error)
    with progress(quiet=as_json) as report:
        done = import_folder(
            source,
            folder.path,
            now_ms=SystemClock().now_ms(),
            name=name,
            venue=venue,
            allow_gaps=allow_gaps,
            replace=replace,
            limits=settings.data,
            progress=report,
            # Invalid data or a mistyped path leaves no empty directory.
            before_storing=lambda: None if existed else folder.create(say_error),
        )
    if as_json:
        print_json(attrs.asdict(done))
        return
    for skipped in done.skipped:
        say(f"left out {skipped.file}: {skipped.reason}", err=True)
    for note in done.notes:
        say(f"note: {note}", err=True)
    if done.unchanged:
        say("this dataset is already stored; nothing was changed")
    _print_sets([done.summary])


@data.command("list")
@config_option
@data_dir_option
@json_option
def list_(config_path: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """List the datasets with their ranges and gaps; damaged ones on standard error."""
    from kamou.store.market_data import DamagedSet, SetSummary, list_sets

    stored_in = resolve(config_path, data_dir=data_dir).settings.data_dir
    found = list_sets(stored_in)
    if not found and not stored_in.exists():
        raise NotRunningError(
            f"the data directory {stored_in} does not exist; `kamou data import DIR` creates it and"
            " stores a folder of bars, or name another with --data-dir"
        )
    sets = [each for each in found if isinstance(each, SetSummary)]
    damaged = [each for each in found if isinstance(each, DamagedSet)]
    if as_json:
        print_json(
            {
                "sets": [attrs.asdict(each) for each in sets],
                "damaged": [attrs.asdict(each) for each in damaged],
            }
        )
        return
    if sets:
        _print_sets(sets)
    elif not damaged:
        say("no dataset is stored yet; `kamou data import DIR` stores a folder of bars")
    for each in damaged:
        say_error(f"damaged: {each.name}: {each.reason}")


def _print_sets(sets: Sequence[SetSummary]) -> None:
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
            f"{each.period_ms // 60_000} min",
            when(each.first_ms),
            when(each.last_ms),
            each.gaps_total,
            each.funding_rows,
            each.open_interest_rows,
        )
        for each in sets
    )
    print_table("", columns, rows)
    for each in sets:
        for gap in each.gaps:
            lacks = f"{gap.bars} bars from {when(gap.after_ms + each.period_ms)}"
            say(f"gap in {each.name}: {gap.symbol} lacks {lacks}")
