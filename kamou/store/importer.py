"""From a folder of files to validated market data: read, check, refuse or keep.

Corrupt data is worse than none: one bad row refuses the whole folder, naming file, row, symbol,
time and reason, and nothing is left behind. Only a set that this store wrote itself
(``digests.py``) is opened without these checks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import numpy as np

from kamou.core.market.bar_checks import (
    BarRows,
    Findings,
    Gap,
    find_problems,
    grid_bars,
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

"""Called with what is being done, how many steps are done, and of how many."""


@attrs.frozen(kw_only=True)
class ImportReport:
    """What an import did. ``unchanged``: exactly this set was already stored."""

    summary: DatasetSummary
    skipped: tuple[SkippedFile, ...]
    notes: tuple[str, ...]
    unchanged: bool


@attrs.frozen(kw_only=True, eq=False)
class CheckedFiles:
    """A folder, read and found fit. ``gaps`` are the first of ``gaps_total``."""

    data: Dataset
    gaps: tuple[Gap, ...]
    gaps_total: int
    skipped: tuple[SkippedFile, ...]
    notes: tuple[str, ...]


def _quiet(_what: str, _done: int, _total: int) -> None:
    """No progress shown."""


def import_directory(
    source: Path,
    data_dir: Path,
    *,
    now_ms: int,
    name: str | None = None,
    venue: str | None = None,
    allow_gaps: bool = False,
    replace: bool = False,
    limits: DataSettings = DEFAULT_LIMITS,
    progress: Progress = _quiet,
    before_storing: Callable[[], None] = lambda: None,
) -> ImportReport:
    """Read the folder ``source``, check every row and store it under ``data_dir``.

    Args:
        before_storing: is called once the data was found fit; it makes the data directory.

    Raises:
        InvalidDataError: anything is wrong with the data, the name or a set already stored.
        DiskFullError, StoreError: it could not be stored. Nothing is left behind in any case.
    """
    name = source.resolve().name if name is None else name
    check_dataset_name(name)
    reading = read_directory(
        source,
        now_ms=now_ms,
        name=name,
        venue=venue,
        allow_gaps=allow_gaps,
        limits=limits,
        progress=progress,
    )
    progress("storing", 0, 1)
    before_storing()
    summary, unchanged = write_dataset(
        reading.data,
        data_dir,
        source=source.resolve().name,
        gaps=reading.gaps,
        gaps_total=reading.gaps_total,
        replace=replace,
        limits=limits,
    )
    progress("storing", 1, 1)
    return ImportReport(
        summary=summary, skipped=reading.skipped, notes=reading.notes, unchanged=unchanged
    )


def open_market(
    data_dir: Path,
    name_or_folder: str,
    *,
    now_ms: int,
    venue: str | None = None,
    allow_gaps: bool = False,
    limits: DataSettings = DEFAULT_LIMITS,
    progress: Progress = _quiet,
) -> RecordedMarket:
    """Open a dataset by its name, or any folder of files, read and checked in memory.

    Raises:
        InvalidDataError: neither exists, or the data is unfit.
    """
    folder = Path(name_or_folder)
    if NAME_PATTERN.fullmatch(name_or_folder):
        stored = dataset_path(data_dir, name_or_folder)
        if (stored / META).exists():
            folder = stored
    if not folder.is_dir():
        raise InvalidDataError(
            f"'{escape_text(name_or_folder)}' is neither a dataset nor a folder; "
            "`kamou data list` shows the datasets, `kamou data import DIR` stores one"
        )
    return open_directory(
        folder,
        now_ms=now_ms,
        data_dir=data_dir,
        venue=venue,
        allow_gaps=allow_gaps,
        limits=limits,
        progress=progress,
    )


def open_directory(
    folder: Path,
    *,
    now_ms: int,
    data_dir: Path | None = None,
    venue: str | None = None,
    allow_gaps: bool = False,
    limits: DataSettings = DEFAULT_LIMITS,
    progress: Progress = _quiet,
) -> RecordedMarket:
    """Open a folder as a market: a set that ``data_dir``'s store wrote, else files to be checked.

    Raises:
        InvalidDataError: the data is unfit.
    """
    if data_dir is not None and _is_registered(folder, data_dir, limits):
        return load_dataset(folder)
    reading = read_directory(
        folder,
        now_ms=now_ms,
        name=show_name(folder.resolve()),
        venue=venue,
        allow_gaps=allow_gaps,
        limits=limits,
        progress=progress,
    )
    return RecordedMarket(reading.data)


def _is_registered(folder: Path, data_dir: Path, limits: DataSettings) -> bool:
    """Return True if the store of ``data_dir`` wrote this set. What cannot be hashed is not ours:
    reading it says why.
    """
    if not is_dataset_directory(folder):
        return False
    try:
        digest = dataset_digest(folder, limits.unpacked_mb_max * MEGABYTE)
    except InvalidDataError:
        return False
    return is_registered(market_directory(data_dir), digest)


def read_directory(
    source: Path,
    *,
    now_ms: int,
    name: str,
    venue: str | None = None,
    allow_gaps: bool = False,
    limits: DataSettings = DEFAULT_LIMITS,
    progress: Progress = _quiet,
) -> CheckedFiles:
    """Read and check all files of one market in ``source``.

    A folder with a ``meta.json`` of ours is read as the set that it says it is, and refused if it
    says anything that its rows do not.

    Raises:
        InvalidDataError: a file is corrupt or a row unfit; the first ten are named. A limit of
            the ``data.*`` settings is passed, or memory runs out.
    """
    budget = Budget(limits=limits)
    try:
        if is_dataset_directory(source):
            return _read_set(source, budget, now_ms=now_ms, name=name)
        return _read_files(source, budget, now_ms, name, venue, allow_gaps, progress)
    except MemoryError as error:
        raise InvalidDataError(
            f"{show_name(source)}: not enough memory for its {budget.rows:,} rows; import less, "
            "or lower data.rows_max and data.cells_max to what this machine has"
        ) from error


def _read_files(
    source: Path,
    budget: Budget,
    now_ms: int,
    name: str,
    venue: str | None,
    allow_gaps: bool,
    progress: Progress,
) -> CheckedFiles:
    files, skipped = find_files(source, venue, budget)
    parts: dict[Kind, list[FileColumns]] = {kind: [] for kind in Kind}
    for done, found in enumerate(files):
        progress(f"reading {show_name(found.path)}", done, len(files))
        parts[found.kind].append(_read(found, budget, venue))
    if not parts[Kind.BARS]:
        raise _no_bars(source, skipped)
    progress("checking", len(files), len(files))
    bars, findings = _checked_bars(source, parts[Kind.BARS], budget, now_ms, allow_gaps)
    notes: list[str] = []
    return CheckedFiles(
        data=_assembled(name, bars, parts, budget, now_ms, skipped, notes),
        gaps=findings.gaps,
        gaps_total=findings.gaps_total,
        skipped=tuple(skipped),
        notes=tuple(notes),
    )


def _read(found: FoundFile, budget: Budget, venue: str | None) -> FileColumns:
    columns = read_columns(found, budget, venue)
    if not len(columns.ts):
        raise InvalidDataError(f"{columns.file}: has no rows; remove the file or fetch it again")
    return columns


def _no_bars(source: Path, skipped: Sequence[SkippedFile]) -> InvalidDataError:
    reasons = "; ".join(f"{each.file}: {each.reason}" for each in skipped[:PROBLEMS_SHOWN])
    more = f"; and {len(skipped) - PROBLEMS_SHOWN} more" * (len(skipped) > PROBLEMS_SHOWN)
    return InvalidDataError(
        f"{show_name(source)}: no bars here: a file with the columns symbol, ts, open, high, "
        f"low, close, volume is needed{f' ({reasons}{more})' if reasons else ''}"
    )


def _checked_bars(
    source: Path, parts: list[FileColumns], budget: Budget, now_ms: int, allow_gaps: bool
) -> tuple[Bars, Findings]:
    """All bar files' rows, checked, as columns. ``parts`` is emptied: memory is let go."""
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
    budget.check_cells(shown, grid_bars(rows, period_ms), len(rows.symbols))
    return to_grid(rows, period_ms), findings


def _bar_rows(parts: list[FileColumns]) -> BarRows:
    """The rows of all files after each other. ``parts`` is emptied on the way."""
    symbols = tuple(sorted({symbol for part in parts for symbol in part.symbols}))
    code = np.concatenate([symbol_codes(part, symbols) for part in parts])
    source = np.repeat(np.arange(len(parts)), [len(part.ts) for part in parts])
    row = np.concatenate([part.row for part in parts])
    open_ms = np.concatenate([part.ts for part in parts])
    names = ("open", "high", "low", "close", "volume")
    columns = {name: np.concatenate([part.values.pop(name) for part in parts]) for name in names}
    parts.clear()
    return BarRows(symbols=symbols, code=code, source=source, row=row, open_ms=open_ms, **columns)


def _assembled(
    name: str,
    bars: Bars,
    parts: dict[Kind, list[FileColumns]],
    budget: Budget,
    now_ms: int,
    skipped: list[SkippedFile],
    notes: list[str],
) -> Dataset:
    open_interest = keep_finest(parts[Kind.OPEN_INTEREST], skipped)
    funding, open_interest_series = (
        make_series(each, bars.symbols, kind, now_ms=now_ms, budget=budget, notes=notes)
        for kind, each in ((Kind.FUNDING, parts[Kind.FUNDING]), (Kind.OPEN_INTEREST, open_interest))
    )
    return Dataset(name=name, bars=bars, funding=funding, open_interest=open_interest_series)


def _read_set(source: Path, budget: Budget, *, now_ms: int, name: str) -> CheckedFiles:
    """Read a folder that calls itself a dataset, and hold its rows against what it says."""
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
    data = _assembled(name, bars, parts, budget, now_ms, [], [])
    true = describe_dataset(data, meta.source, findings.gaps, findings.gaps_total, meta.files)
    if wrong := description_differences(meta, true):
        raise InvalidDataError(
            f"{show_name(source)}: {META} does not agree with the files: {', '.join(wrong)}; "
            f"remove {META}, and the files are read and checked without it"
        )
    return CheckedFiles(
        data=data, gaps=findings.gaps, gaps_total=findings.gaps_total, skipped=(), notes=()
    )
