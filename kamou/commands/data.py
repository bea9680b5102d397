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
    from kamou.store.file_choice import TakenFile
    from kamou.store.file_layouts import SkippedFile
    from kamou.store.importer import ImportReport
    from kamou.store.market_data import DatasetSummary


def parse_bar_period(
    ctx: click.Context, parameter: click.Parameter, value: str | None
) -> int | None:
    """Return ``15m`` in ms; None if the option is not given.

    Raises:
        click.BadParameter: the value is no period.
    """
    from kamou.store.file_names import parse_period

    found = None if value is None else parse_period(value)
    if value is not None and found is None:
        raise click.BadParameter(
            f"{value!r} is no period; expected a number and s, m, h or d, such as 15m",
            ctx,
            parameter,
        )
    return found


def parse_symbol(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """Return the symbol; None if the option is not given.

    A symbol without a capital letter becomes upper-case.

    Raises:
        click.BadParameter: the value is no symbol.
    """
    from kamou.core.market.symbols import SYMBOL_EXPECTED, is_symbol

    if value is None:
        return None
    symbol = value.strip()
    symbol = symbol.upper() if symbol.islower() else symbol
    if not is_symbol(symbol):
        raise click.BadParameter(
            f"{value!r} is no symbol; expected {SYMBOL_EXPECTED}", ctx, parameter
        )
    return symbol


@click.group()
def data() -> None:
    """Import recorded market data and list the datasets."""


@data.command("import")
@click.argument(
    "sources", type=UserPath(exists=True), metavar="DIR|FILE...", nargs=-1, required=True
)
@click.option("--name", metavar="NAME", help="The dataset's name (default: the directory's name).")
@click.option("--venue", metavar="VENUE", help="Of several venues, import only this one.")
@click.option(
    "--symbol",
    metavar="SYMBOL",
    callback=parse_symbol,
    help="The symbol of files that do not say theirs.",
)
@click.option(
    "--period",
    "period_ms",
    metavar="PERIOD",
    callback=parse_bar_period,
    help="Of several periods of bars, import only this one, such as 15m or 1h.",
)
@click.option("--allow-gaps", is_flag=True, help="Store the dataset although bars are missing.")
@click.option("--replace", is_flag=True, help="Replace a dataset of the same name.")
@click.option("--dry-run", is_flag=True, help="Check and show what each file is; store nothing.")
@config_option
@data_dir_option
@json_option
def import_(
    sources: tuple[Path, ...],
    name: str | None,
    venue: str | None,
    symbol: str | None,
    period_ms: int | None,
    allow_gaps: bool,
    replace: bool,
    dry_run: bool,
    config_path: Path | None,
    data_dir: Path | None,
    as_json: bool,
) -> None:
    """Check bars and the data beside them, and store them as a dataset.

    Beside the bars there may be funding, open interest, long/short ratios and the premium index.

    Several directories and files become one dataset. If a file has corrupt, unsorted, duplicate or
    future rows, or lacks rows without --allow-gaps, the error names the row and the reason, and
    nothing is stored. Without --replace, another dataset of the same name is an error.
    """
    from kamou.clock import SystemClock
    from kamou.store.importer import ReadOptions, StoreOptions, import_directory

    settings = resolve(config_path, data_dir=data_dir).settings
    directory = DataDirectory(settings.data_dir)
    existed = directory.path.exists()
    if existed and not dry_run:  # an unusable data directory is an error before minutes of reading
        directory.create(print_error_line)
    with show_progress(quiet=as_json) as report:
        done = import_directory(
            sources,
            directory.path,
            now_ms=SystemClock().now_ms(),
            reading=ReadOptions(
                venue=venue,
                symbol=symbol,
                period_ms=period_ms,
                allow_gaps=allow_gaps,
                limits=settings.data,
                progress=report,
            ),
            storing=StoreOptions(
                name=name,
                replace=replace,
                dry_run=dry_run,
                # Invalid data or a mistyped path creates no data directory.
                before_storing=lambda: None if existed else directory.create(print_error_line),
            ),
        )
    if as_json:
        print_json(attrs.asdict(done))
        return
    _print_import(done, dry_run=dry_run)


def _print_import(done: ImportReport, *, dry_run: bool) -> None:
    if dry_run:
        print_table("files", TAKEN_COLUMNS, group_taken(done.taken))
    for line in group_skipped(done.skipped):
        print_line(line, err=True)
    for note in done.notes:
        print_line(f"note: {note}", err=True)
    if done.unchanged:
        print_line("this dataset is already stored; nothing was changed")
    _print_datasets([done.summary])
    if dry_run:
        print_line("the data is valid; --dry-run stored nothing")


BY_ITS_NAME = " by its name"
SYMBOLS_SHOWN = 3  # of all files of one row
TAKEN_COLUMNS = ("files", "first", "kind", "format", "symbol", "period", "time", "rows")


def group_taken(taken: Sequence[TakenFile]) -> list[tuple[object, ...]]:
    """Return a row, in ``TAKEN_COLUMNS``, for each group of files read in one way.

    The files of a group have one kind, format, period and time, and either the same symbols or
    symbols from their names.
    """
    groups: dict[tuple[object, ...], list[TakenFile]] = {}
    for each in taken:
        by_name = each.symbols.endswith(BY_ITS_NAME)
        key = (each.kind, each.format, by_name or each.symbols, each.period_ms, each.time)
        groups.setdefault(key, []).append(each)
    rows: list[tuple[object, ...]] = []
    for files in groups.values():
        first = files[0]
        period = "" if first.period_ms is None else format_duration(first.period_ms)
        rows.append(
            (
                len(files),
                first.file,
                first.kind,
                first.format,
                _list_symbols(files),
                period,
                first.time,
                sum(each.rows for each in files),
            )
        )
    return rows


def _list_symbols(files: Sequence[TakenFile]) -> str:
    """Return the symbols of a row's files: if they differ, their number and a few."""
    said = list(dict.fromkeys(each.symbols for each in files))
    if len(said) == 1:
        return said[0]
    shown = ", ".join(each.removesuffix(BY_ITS_NAME) for each in said[:SYMBOLS_SHOWN])
    more = ", ..." * (len(said) > SYMBOLS_SHOWN)
    return f"{len(said):,} symbols by their names: {shown}{more}"


def group_skipped(skipped: Sequence[SkippedFile]) -> list[str]:
    """Return a line for each reason why files were left out, with a file and a count."""
    groups: dict[str, list[str]] = {}
    for each in skipped:
        groups.setdefault(each.reason, []).append(each.file)
    lines = []
    for reason, files in groups.items():
        more = f" and {count_words(len(files) - 1, 'more file', 'more files')}"
        lines.append(f"left out {files[0]}{more * (len(files) > 1)}: {reason}")
    return lines


@data.command("list")
@config_option
@data_dir_option
@json_option
def list_(config_path: Path | None, data_dir: Path | None, as_json: bool) -> None:
    """List the datasets with their bars, times and gaps, and the damaged datasets."""
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


def _list_inputs(summary: DatasetSummary) -> list[str]:
    """Return a line for each input that only some datasets have, with its number."""
    source = summary.ratio_source or "unknown"
    top = f" and {summary.top_ratio_rows:,} of top traders" * (summary.top_ratio_rows > 0)
    ratios = count_words(summary.ratio_rows, "long/short ratio")
    premium = count_words(summary.premium_rows, "premium index", "premium indices")
    lines = [f"{summary.name} has {ratios}{top}, source: {source}"] * (summary.ratio_rows > 0)
    return lines + [f"{summary.name} has {premium}"] * (summary.premium_rows > 0)


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
        for line in _list_inputs(each):
            print_line(line)
        for gap in each.gaps:
            lacks = (
                f"{count_words(gap.bars, 'bar')} from {format_time(gap.after_ms + each.period_ms)}"
            )
            print_line(f"gap in {each.name}: {gap.symbol} lacks {lacks}")
