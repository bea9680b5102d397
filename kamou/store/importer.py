"""Import of market data into a dataset, and opening of a dataset or a directory.

A directory of files is read and every row is checked. One invalid row makes the whole directory
invalid, because a backtest on wrong prices gives wrong results. The error has file, row, symbol,
time and reason, and nothing is stored. Only a dataset that this store wrote (``digests.py``) is
opened without these checks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import numpy as np

from kamou.core.market.bar_checks import (
    BarRows,
    Findings,
    count_grid_bars,
    find_problems,
    infer_period_ms,
    to_grid,
)
from kamou.core.market.bars import Bars, Dataset
from kamou.errors import InvalidDataError
from kamou.escaping import escape_text
from kamou.runtime.leveled_lines import Progress
from kamou.settings.config import DataSettings
from kamou.store.dataset_description import (
    BARS_FILE,
    FUNDING_FILE,
    GAPS_LISTED_MAX,
    META,
    OPEN_INTEREST_FILE,
    describe_dataset,
    description_differences,
    is_dataset_directory,
    read_meta,
)
from kamou.store.digests import dataset_digest, is_registered
from kamou.store.file_layouts import (
    FileColumns,
    FoundFile,
    Kind,
    SkippedFile,
    find_files,
    read_columns,
)
from kamou.store.foreign_files import show_name
from kamou.store.market_data import (
    NAME_PATTERN,
    DatasetSummary,
    FoundGaps,
    check_dataset_name,
    dataset_path,
    load_dataset,
    market_directory,
    verify_files,
    write_dataset,
)
from kamou.store.observations import (
    PROBLEMS_SHOWN,
    keep_finest,
    make_series,
    raise_row_errors,
    symbol_codes,
)
from kamou.store.read_budget import DEFAULT_LIMITS, MEGABYTE, Budget
from kamou.store.wide_tables import read_wide
from kamou.venue.market.recorded import RecordedMarket


@attrs.frozen(kw_only=True, eq=False)
class ReadOptions:
    """Options of reading and checking files of market data."""

    venue: str | None = None  # whose rows are read from files with a column ``venue``
    allow_gaps: bool = False  # keep missing bars as gaps; a dataset keeps its gaps in any case
    limits: DataSettings = DEFAULT_LIMITS  # the ``data.*`` settings
    # Takes the step, the number of steps done and their total.
    progress: Progress = lambda _step, _done, _total: None


READ_ALL = ReadOptions()


@attrs.frozen(kw_only=True, eq=False)
class StoreOptions:
    """Options of storing an imported dataset."""

    name: str | None = None  # None: the name of the directory of files
    replace: bool = False  # replace a different dataset of this name
    # Called when the data is valid; creates the data directory.
    before_storing: Callable[[], None] = lambda: None


STORE_NEW = StoreOptions()


@attrs.frozen(kw_only=True)
class ImportReport:
    """Result of an import; ``unchanged``: the same dataset was stored before."""

    summary: DatasetSummary
    skipped: tuple[SkippedFile, ...]
    notes: tuple[str, ...]
    unchanged: bool


@attrs.frozen(kw_only=True, eq=False)
class CheckedFiles:
    """The valid data of a directory, its gaps, and the files and symbols left out."""

    data: Dataset
    gaps: FoundGaps
    skipped: tuple[SkippedFile, ...]
    notes: tuple[str, ...]


def import_directory(
    source: Path,
    data_dir: Path,
    *,
    now_ms: int,
    reading: ReadOptions = READ_ALL,
    storing: StoreOptions = STORE_NEW,
) -> ImportReport:
    """Read the files of ``source``, check every row and store a dataset.

    An error leaves no part of the dataset; the data directory may have been created.

    Args:
        source: the directory of files.
        data_dir: the data directory.
        now_ms: a later bar or observation is invalid.
        reading: venue, gaps, limits and progress.
        storing: name and replacement of the dataset.

    Raises:
        InvalidDataError: the data or the name is invalid; a different or a damaged dataset has this
            name and ``replace`` is False; or another import stores a dataset at this moment.
        DiskFullError, StoreError: the dataset cannot be stored.
    """
    name = source.resolve().name if storing.name is None else storing.name
    check_dataset_name(name)
    checked = read_directory(source, now_ms=now_ms, name=name, options=reading)
    reading.progress("storing", 0, 1)
    storing.before_storing()
    summary, unchanged = write_dataset(
        checked.data,
        data_dir,
        source=source.resolve().name,
        gaps=checked.gaps,
        replace=storing.replace,
        limits=reading.limits,
    )
    reading.progress("storing", 1, 1)
    return ImportReport(
        summary=summary, skipped=checked.skipped, notes=checked.notes, unchanged=unchanged
    )


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
    return open_directory(directory, now_ms=now_ms, data_dir=data_dir, options=options)


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

    False if its files cannot be hashed: reading them gives the error.
    """
    if not is_dataset_directory(directory):
        return False
    try:
        digest = dataset_digest(directory, limits.unpacked_mb_max * MEGABYTE)
    except InvalidDataError:
        return False
    return is_registered(market_directory(data_dir), digest)


def read_directory(
    source: Path,
    *,
    now_ms: int,
    name: str,
    options: ReadOptions = READ_ALL,
) -> CheckedFiles:
    """Read and check the files of market data in the directory ``source``.

    A directory with ``meta.json`` and ``bars.parquet`` is read as a dataset, without ``venue`` and
    ``allow_gaps``, and is invalid if the rows differ from ``meta.json``.

    Raises:
        InvalidDataError: a file is corrupt or unfit, rows are invalid (the first ``PROBLEMS_SHOWN``
            are listed) or missing without ``allow_gaps``, there are no bars, a limit of the
            ``data.*`` settings is exceeded, or memory runs out.
    """
    budget = Budget(limits=options.limits)
    try:
        if is_dataset_directory(source):
            return _read_dataset(source, budget, now_ms=now_ms, name=name)
        return _read_files(source, budget, now_ms, name, options)
    except MemoryError as error:
        raise InvalidDataError(
            f"{show_name(source)}: not enough memory for its {budget.rows:,} rows; import "
            "fewer symbols or less time, or free some memory"
        ) from error


def _read_files(
    source: Path, budget: Budget, now_ms: int, name: str, options: ReadOptions
) -> CheckedFiles:
    files, skipped = find_files(source, options.venue, budget)
    parts: dict[Kind, list[FileColumns]] = {kind: [] for kind in Kind}
    for done, found in enumerate(files):
        options.progress(f"reading {show_name(found.path)}", done, len(files))
        parts[found.kind].append(_read(found, budget, options.venue))
    if not parts[Kind.BARS]:
        raise _no_bars(source, skipped)
    options.progress("checking", len(files), len(files))
    bars, findings = _checked_bars(
        source, parts[Kind.BARS], budget, now_ms, allow_gaps=options.allow_gaps
    )
    remarks = _Remarks(skipped=skipped)
    return CheckedFiles(
        data=_make_dataset(name, bars, parts, budget, now_ms, remarks),
        gaps=FoundGaps(listed=findings.gaps, total=findings.gaps_total),
        skipped=tuple(remarks.skipped),
        notes=tuple(remarks.notes),
    )


def _read(found: FoundFile, budget: Budget, venue: str | None) -> FileColumns:
    columns = read_columns(found, budget, venue)
    if not len(columns.ts):
        raise InvalidDataError(f"{columns.file}: no rows; remove the file or download it again")
    return columns


def _no_bars(source: Path, skipped: Sequence[SkippedFile]) -> InvalidDataError:
    reasons = "; ".join(f"{each.file}: {each.reason}" for each in skipped[:PROBLEMS_SHOWN])
    more = f"; and {len(skipped) - PROBLEMS_SHOWN} more" * (len(skipped) > PROBLEMS_SHOWN)
    return InvalidDataError(
        f"{show_name(source)}: no bars; add a file with the columns symbol, ts, open, high, low, "
        f"close, volume{f' (files left out: {reasons}{more})' if reasons else ''}"
    )


def _checked_bars(
    source: Path, parts: list[FileColumns], budget: Budget, now_ms: int, *, allow_gaps: bool
) -> tuple[Bars, Findings]:
    """Check the rows of all bar files; return bars and findings, and empty ``parts``."""
    shown = show_name(source)
    files = [part.file for part in parts]
    rows = _bar_rows(parts)
    try:
        period_ms = infer_period_ms(rows)
    except InvalidDataError as error:
        raise InvalidDataError(f"{shown}: {error}; nothing was imported") from error
    findings = find_problems(
        rows,
        period_ms=period_ms,
        now_ms=now_ms,
        allow_gaps=allow_gaps,
        limit=PROBLEMS_SHOWN,
        gaps_max=GAPS_LISTED_MAX,
    )
    if findings.problems_total:
        raise_row_errors(files, findings.problems, findings.problems_total, shown)
    budget.check_cells(shown, count_grid_bars(rows, period_ms), len(rows.symbols))
    return to_grid(rows, period_ms), findings


def _bar_rows(parts: list[FileColumns]) -> BarRows:
    """Concatenate the rows of all files, and empty ``parts`` to free memory."""
    symbols = tuple(sorted({symbol for part in parts for symbol in part.symbols}))
    code = np.concatenate([symbol_codes(part, symbols) for part in parts])
    source = np.repeat(np.arange(len(parts)), [len(part.ts) for part in parts])
    row = np.concatenate([part.row for part in parts])
    open_ms = np.concatenate([part.ts for part in parts])
    names = ("open", "high", "low", "close", "volume")
    columns = {name: np.concatenate([part.values.pop(name) for part in parts]) for name in names}
    parts.clear()
    return BarRows(symbols=symbols, code=code, source=source, row=row, open_ms=open_ms, **columns)


@attrs.frozen(kw_only=True, eq=False)
class _Remarks:
    """Files that were left out, and notes on rows; reading adds to both."""

    skipped: list[SkippedFile] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)


def _make_dataset(
    name: str,
    bars: Bars,
    parts: dict[Kind, list[FileColumns]],
    budget: Budget,
    now_ms: int,
    remarks: _Remarks,
) -> Dataset:
    open_interest = keep_finest(parts[Kind.OPEN_INTEREST], remarks.skipped)
    funding, open_interest_series = (
        make_series(each, bars.symbols, kind, now_ms=now_ms, budget=budget, notes=remarks.notes)
        for kind, each in ((Kind.FUNDING, parts[Kind.FUNDING]), (Kind.OPEN_INTEREST, open_interest))
    )
    return Dataset(name=name, bars=bars, funding=funding, open_interest=open_interest_series)


def _read_dataset(source: Path, budget: Budget, *, now_ms: int, name: str) -> CheckedFiles:
    """Read an unregistered dataset and compare its rows with its description."""
    meta = read_meta(source)
    verify_files(source, meta, budget.limits)
    found = FoundFile(
        path=source / BARS_FILE,
        kind=Kind.BARS,
        name_column="symbol",
        venue_column=False,
        short_names=False,
    )
    parts: dict[Kind, list[FileColumns]] = {Kind.BARS: [_read(found, budget, None)]}
    for kind, file in ((Kind.FUNDING, FUNDING_FILE), (Kind.OPEN_INTEREST, OPEN_INTEREST_FILE)):
        wide = read_wide(source / file, meta.symbols, budget)
        parts[kind] = [wide] if len(wide.ts) else []
    bars, findings = _checked_bars(
        source, parts[Kind.BARS], budget, now_ms, allow_gaps=meta.gaps_total > 0
    )
    data = _make_dataset(name, bars, parts, budget, now_ms, _Remarks())
    computed = describe_dataset(data, meta.source, findings.gaps, findings.gaps_total, meta.files)
    if wrong := description_differences(meta, computed):
        raise InvalidDataError(
            f"{show_name(source)}: {META} differs from the files in {', '.join(wrong)}; remove "
            f"{META} to read and check the files without it"
        )
    gaps = FoundGaps(listed=findings.gaps, total=findings.gaps_total)
    return CheckedFiles(data=data, gaps=gaps, skipped=(), notes=())
