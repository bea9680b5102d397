"""Import of market data into a dataset, and opening of a dataset or a directory.

Directories and files are read and every row is checked (``joined_files.py``). If a row is invalid,
the error has file, row, symbol, time and reason, and nothing is stored. Only a dataset that this
store wrote (``digests.py``) is opened without these checks.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import pyarrow as pa

from kamou.errors import InvalidDataError
from kamou.escaping import escape_text
from kamou.runtime.leveled_lines import Progress
from kamou.settings.config import DataSettings
from kamou.store.column_meanings import Kind, find_columns
from kamou.store.dataset_description import (
    BARS_FILE,
    FUNDING_FILE,
    META,
    OPEN_INTEREST_FILE,
    PREMIUM_FILE,
    RATIOS_FILE,
    TOP_RATIOS_FILE,
    data_files,
    describe_dataset,
    description_differences,
    is_dataset_directory,
    read_meta,
)
from kamou.store.digests import dataset_digest, is_registered
from kamou.store.file_choice import TakenFile
from kamou.store.file_layouts import Choice, Format, FoundFile, SkippedFile
from kamou.store.file_names import FILE_SUFFIXES, read_names_of
from kamou.store.file_rows import FileColumns, read_columns
from kamou.store.foreign_files import show_name, source_of
from kamou.store.joined_files import (
    CheckedFiles,
    JoinOptions,
    Remarks,
    check_bars,
    join_files,
    make_dataset,
)
from kamou.store.market_data import (
    NAME_PATTERN,
    DatasetSummary,
    FoundGaps,
    check_dataset_name,
    dataset_path,
    load_dataset,
    market_directory,
    summarize_meta,
    verify_files,
    write_dataset,
)
from kamou.store.parquet_tables import read_schema
from kamou.store.read_budget import DEFAULT_LIMITS, MEGABYTE, Budget
from kamou.store.wide_tables import read_wide
from kamou.venue.market.recorded import RecordedMarket

FILE_OF_KIND = {
    Kind.FUNDING: FUNDING_FILE,
    Kind.OPEN_INTEREST: OPEN_INTEREST_FILE,
    Kind.RATIOS: RATIOS_FILE,
    Kind.TOP_RATIOS: TOP_RATIOS_FILE,
    Kind.PREMIUM: PREMIUM_FILE,
}
Sources = Path | Sequence[Path]
"""A directory or file of market data, or several that are one dataset."""


@attrs.frozen(kw_only=True, eq=False)
class ReadOptions:
    """Options of reading and checking files of market data."""

    venue: str | None = None  # the venue whose files, and rows of a column of venues, are read
    symbol: str | None = None  # the symbol of files that have none in a column or in their name
    period_ms: int | None = None  # of the bars, if the files have several periods
    allow_gaps: bool = False  # keep missing bars as gaps; a dataset keeps its gaps in any case
    limits: DataSettings = DEFAULT_LIMITS  # the ``data.*`` settings
    # Takes the step, the number of steps done and their total.
    progress: Progress = lambda _step, _done, _total: None

    def join_options(self, now_ms: int) -> JoinOptions:
        """Return these options as options of ``join_files``, with the time now."""
        return JoinOptions(
            choice=Choice(venue=self.venue, symbol=self.symbol, period_ms=self.period_ms),
            allow_gaps=self.allow_gaps,
            now_ms=now_ms,
            progress=self.progress,
        )


READ_ALL = ReadOptions()


@attrs.frozen(kw_only=True, eq=False)
class StoreOptions:
    """Options of storing an imported dataset."""

    name: str | None = None  # None: the name of the directory or file that is imported
    dry_run: bool = False  # read and check only
    replace: bool = False  # replace a different dataset of this name
    # Called when the data is valid; creates the data directory.
    before_storing: Callable[[], None] = lambda: None


STORE_NEW = StoreOptions()


@attrs.frozen(kw_only=True)
class ImportReport:
    """Result of an import.

    ``unchanged`` is True if the same dataset was stored before; a dry run does not look. ``taken``
    has the layout of each file that was read, ``skipped`` the files that were left out, and
    ``notes`` what the reader of the import should know of the data, a sentence each.
    """

    summary: DatasetSummary
    skipped: tuple[SkippedFile, ...]
    notes: tuple[str, ...]
    taken: tuple[TakenFile, ...]
    unchanged: bool


def import_directory(
    sources: Sources,
    data_dir: Path,
    *,
    now_ms: int,
    reading: ReadOptions = READ_ALL,
    storing: StoreOptions = STORE_NEW,
) -> ImportReport:
    """Read the files of ``sources``, check every row and store a dataset.

    An error leaves no part of the dataset; the data directory may have been created.

    Args:
        sources: the directory of files, or several directories and files of one dataset.
        data_dir: the data directory.
        now_ms: a later bar or observation is invalid.
        reading: choice of files, gaps, limits and progress.
        storing: name and replacement of the dataset.

    Raises:
        InvalidDataError: the data or the name is invalid; a different or a damaged dataset has this
            name and ``replace`` is False; or another import stores a dataset at this moment.
        DiskFullError, StoreError: the dataset cannot be stored.
    """
    source = _source_name(sources)
    name = source if storing.name is None else storing.name
    check_dataset_name(name)
    checked = read_directory(sources, now_ms=now_ms, name=name, options=reading)
    unchanged = False
    if storing.dry_run:
        meta = describe_dataset(
            checked.data,
            source,
            checked.gaps.listed,
            checked.gaps.total,
            dict.fromkeys(data_files(checked.data), ""),
        )
        summary = summarize_meta(dataset_path(data_dir, name), meta)
    else:
        reading.progress("storing", 0, 1)
        storing.before_storing()
        summary, unchanged = write_dataset(
            checked.data,
            data_dir,
            source=source,
            gaps=checked.gaps,
            replace=storing.replace,
            limits=reading.limits,
        )
        reading.progress("storing", 1, 1)
    return ImportReport(
        summary=summary,
        skipped=checked.skipped,
        notes=checked.notes,
        taken=checked.taken,
        unchanged=unchanged,
    )


def _listed(sources: Sources) -> tuple[Path, ...]:
    return (sources,) if isinstance(sources, Path) else tuple(sources)


def _source_name(sources: Sources) -> str:
    """Return the name of the source, or of the directory that has all sources.

    The endings of a file's name are removed.
    """
    paths = [each.resolve() for each in _listed(sources)]
    if len(paths) > 1:
        return Path(os.path.commonpath(paths)).name
    return paths[0].name if paths[0].is_dir() else FILE_SUFFIXES.sub("", paths[0].name)


def open_market(
    data_dir: Path,
    name_or_path: str,
    *,
    now_ms: int,
    options: ReadOptions = READ_ALL,
) -> RecordedMarket:
    """Open a dataset by its name, or any directory of files by its path.

    Raises:
        InvalidDataError: neither exists; or as ``open_directory``.
    """
    directory = Path(name_or_path)
    if NAME_PATTERN.fullmatch(name_or_path):
        stored = dataset_path(data_dir, name_or_path)
        if (stored / META).exists():
            directory = stored
    if not directory.is_dir():
        raise InvalidDataError(
            f"'{escape_text(name_or_path)}' is neither a dataset nor a directory; "
            "`kamou data list` shows the datasets, `kamou data import DIR` stores one"
        )
    market = open_directory(directory, now_ms=now_ms, data_dir=data_dir, options=options)
    # Arrow keeps the memory in which it decoded files; the run after this reads no more of them.
    pa.default_memory_pool().release_unused()
    return market


def open_directory(
    directory: Path,
    *,
    now_ms: int,
    data_dir: Path | None = None,
    options: ReadOptions = READ_ALL,
) -> RecordedMarket:
    """Open a directory as a recorded market.

    A dataset that the store of ``data_dir`` wrote is loaded; all other files are read and checked.

    Raises:
        InvalidDataError: the stored dataset cannot be loaded; or as ``read_directory``.
    """
    if data_dir is not None and _is_registered(directory, data_dir, options.limits):
        return load_dataset(directory)
    name = show_name(directory.resolve())
    checked = read_directory(directory, now_ms=now_ms, name=name, options=options)
    return RecordedMarket(checked.data)


def _is_registered(directory: Path, data_dir: Path, limits: DataSettings) -> bool:
    """Return True if the store of ``data_dir`` wrote this dataset.

    Return False if the files cannot be hashed; the later read then raises the error.
    """
    if not is_dataset_directory(directory):
        return False
    try:
        digest = dataset_digest(directory, limits.unpacked_mb_max * MEGABYTE)
    except InvalidDataError:
        return False
    return is_registered(market_directory(data_dir), digest)


def read_directory(
    sources: Sources,
    *,
    now_ms: int,
    name: str,
    options: ReadOptions = READ_ALL,
) -> CheckedFiles:
    """Read and check the files of market data below ``sources``.

    A directory with ``meta.json`` and ``bars.parquet`` is read as a dataset; it is invalid if its
    rows differ from ``meta.json``. For a dataset only the limits of ``options`` are used.

    Args:
        sources: the directory of files, or several directories and files of one dataset.
        now_ms: a later bar or observation is invalid.
        name: the name of the dataset.
        options: choice of files, gaps, limits and progress.

    Raises:
        InvalidDataError: a file is corrupt or unfit, rows are invalid (each kind is listed with its
            first row) or missing without ``allow_gaps``, there are no bars, a limit of the
            ``data.*`` settings is exceeded, or memory runs out.
    """
    paths = _listed(sources)
    shown = show_name(Path(_source_name(sources)))
    budget = Budget(limits=options.limits)
    try:
        if len(paths) == 1 and is_dataset_directory(paths[0]):
            return _read_dataset(paths[0], budget, now_ms=now_ms, name=name)
        return join_files(paths, name, shown, budget, options.join_options(now_ms))
    except MemoryError as error:
        raise InvalidDataError(
            f"{shown}: not enough memory for its {budget.rows:,} rows; import "
            "fewer symbols or less time, or free some memory"
        ) from error


def _read_dataset(source: Path, budget: Budget, *, now_ms: int, name: str) -> CheckedFiles:
    """Read an unregistered dataset and compare its rows with its description.

    Raises:
        InvalidDataError: as ``read_directory``.
    """
    meta = read_meta(source)
    verify_files(source, meta, budget.limits)
    parts: dict[Kind, list[FileColumns]] = {kind: [] for kind in Kind}
    parts[Kind.BARS].append(_read_bars(source / BARS_FILE, budget))
    for kind, file in FILE_OF_KIND.items():
        if file in meta.files:
            wide = read_wide(source / file, meta.symbols, budget)
            parts[kind] += [wide] if len(wide.ts) else []
    options = ReadOptions(allow_gaps=meta.gaps_total > 0).join_options(now_ms)
    bars, findings = check_bars(show_name(source), parts[Kind.BARS], budget, options)
    data = make_dataset(name, bars, parts, budget, now_ms, Remarks())
    data = attrs.evolve(data, ratio_source=meta.ratio_source if data.ratios is not None else "")
    computed = describe_dataset(data, meta.source, findings.gaps, findings.gaps_total, meta.files)
    if wrong := description_differences(meta, computed):
        raise InvalidDataError(
            f"{show_name(source)}: {META} differs from the files in {', '.join(wrong)}; remove "
            f"{META} to read and check the files without it"
        )
    gaps = FoundGaps(listed=findings.gaps, total=findings.gaps_total)
    return CheckedFiles(data=data, gaps=gaps)


def _read_bars(path: Path, budget: Budget) -> FileColumns:
    """Return the rows of a dataset's file of bars.

    Raises:
        InvalidDataError: a column is missing, there are no rows, or as ``read_columns``.
    """
    source = source_of(path)
    try:
        columns = find_columns(read_schema(source, budget).names)
    except ValueError as error:
        raise InvalidDataError(
            f"{source.shown}: two columns have one name, {error}; remove {META} to read and check"
            " the files without it"
        ) from error
    if isinstance(columns, str) or columns.kind is not Kind.BARS or columns.symbol is None:
        raise InvalidDataError(
            f"{source.shown}: it has no columns symbol, ts, open, high, low, close and volume; "
            f"remove {META} to read and check the files without it"
        )
    found = FoundFile(
        source=source, format=Format.PARQUET, columns=columns, name=read_names_of(source)
    )
    rows = read_columns(found, budget)
    if not len(rows.ts):
        raise InvalidDataError(f"{source.shown}: no rows; remove the dataset and import it again")
    return rows
