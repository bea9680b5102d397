"""From a folder of files to validated market data: read, check, refuse or keep.

Corrupt data is worse than none: one bad row refuses the whole folder, naming file, row, symbol,
time and reason, and nothing is left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import attrs
import numpy as np

from kamou.core.bar_checks import (
    EPOCH_MIN_MS,
    BarRows,
    Gap,
    Problem,
    find_problems,
    infer_period_ms,
    to_grid,
)
from kamou.core.bars import Ints, MarketSet, Series, empty_series
from kamou.errors import DataRefusedError
from kamou.store.layouts import Columns, Found, Kind, Skipped, find_files, read_columns
from kamou.store.market_data import (
    META,
    NAME_PATTERN,
    SetSummary,
    load_set,
    set_path,
    write_set,
)
from kamou.store.recorded import RecordedMarket

PROBLEMS_SHOWN = 10
FUNDING_RATE_MAX = 0.05  # per interval: venues cap at 2 to 4 %; beyond it the file is in percent
FUNDING_JITTER_MS = 60_000  # settlements are stamped some milliseconds late; keep the minute
FUNDING_PERIOD_MS = 8 * 3_600_000

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many steps are done, and of how many."""


@attrs.frozen(kw_only=True)
class ImportReport:
    """What an import did. ``unchanged``: exactly this set was already stored."""

    summary: SetSummary
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    unchanged: bool


@attrs.frozen(kw_only=True, eq=False)
class Reading:
    """A folder, read and found fit."""

    data: MarketSet
    gaps: tuple[Gap, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


def _quiet(_what: str, _done: int, _total: int) -> None:
    """No progress shown."""


def import_folder(
    source: Path,
    data_dir: Path,
    *,
    now_ms: int,
    name: str | None = None,
    venue: str | None = None,
    allow_gaps: bool = False,
    replace: bool = False,
    progress: Progress = _quiet,
) -> ImportReport:
    """Read the folder ``source``, check every row and store it under ``data_dir``.

    Raises:
        DataRefusedError: anything is wrong with the data, the name or a set already stored.
        DiskFullError, StoreError: it could not be stored. Nothing is left behind in any case.
    """
    name = source.resolve().name if name is None else name
    set_path(data_dir, name)
    reading = read_folder(
        source, now_ms=now_ms, name=name, venue=venue, allow_gaps=allow_gaps, progress=progress
    )
    progress("storing", 0, 1)
    summary, unchanged = write_set(
        reading.data,
        data_dir,
        source=source.resolve().name,
        gaps=reading.gaps,
        replace=replace,
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
    progress: Progress = _quiet,
) -> RecordedMarket:
    """A stored set by its name, or any folder of files, read and checked in memory.

    Raises:
        DataRefusedError: neither exists, or the data is unfit.
    """
    folder = Path(name_or_folder)
    if NAME_PATTERN.fullmatch(name_or_folder):
        stored = set_path(data_dir, name_or_folder)
        if (stored / META).exists():
            return load_set(stored)
    if folder.is_dir():
        return open_folder(
            folder, now_ms=now_ms, venue=venue, allow_gaps=allow_gaps, progress=progress
        )
    raise DataRefusedError(
        f"{name_or_folder!r} is neither a stored set nor a folder; "
        "`kamou data list` shows the stored sets, `kamou data import DIR` stores one"
    )


def open_folder(
    folder: Path,
    *,
    now_ms: int,
    venue: str | None = None,
    allow_gaps: bool = False,
    progress: Progress = _quiet,
) -> RecordedMarket:
    """A folder as a market: a stored set when it has ``meta.json``, else files to be checked.

    Raises:
        DataRefusedError: the data is unfit.
    """
    if (folder / META).exists():
        return load_set(folder)
    name = folder.resolve().name
    return RecordedMarket(
        read_folder(
            folder, now_ms=now_ms, name=name, venue=venue, allow_gaps=allow_gaps, progress=progress
        ).data
    )


def read_folder(
    source: Path,
    *,
    now_ms: int,
    name: str,
    venue: str | None = None,
    allow_gaps: bool = False,
    progress: Progress = _quiet,
) -> Reading:
    """Read and check all files of one market in ``source``.

    Raises:
        DataRefusedError: a file is corrupt or a row unfit; the first ten are named.
    """
    files, skipped = find_files(source, venue)
    parts: dict[Kind, list[Columns]] = {kind: [] for kind in Kind}
    for done, found in enumerate(files):
        progress(f"reading {found.path.name}", done, len(files))
        parts[found.kind].append(_read(found, venue))
    if not parts[Kind.CANDLES]:
        reasons = "; ".join(f"{each.file}: {each.reason}" for each in skipped)
        raise DataRefusedError(
            f"{source.name}: no candles here: a file with the columns symbol, ts, open, high, low, "
            f"close, volume is needed{f' ({reasons})' if reasons else ''}"
        )
    progress("checking", len(files), len(files))
    rows = _bar_rows(parts[Kind.CANDLES])
    try:
        period_ms = infer_period_ms(rows)
        problems, total, gaps = find_problems(
            rows,
            period_ms=period_ms,
            now_ms=now_ms,
            allow_gaps=allow_gaps,
            limit=PROBLEMS_SHOWN,
        )
        if total:
            _refuse([part.file for part in parts[Kind.CANDLES]], problems, total)
        candles = to_grid(rows, period_ms)
    except DataRefusedError as error:
        raise DataRefusedError(f"{source.name}: {error}; nothing was imported") from error
    notes: list[str] = []
    interest = _finest(parts[Kind.INTEREST], skipped)
    data = MarketSet(
        name=name,
        candles=candles,
        funding=_series(parts[Kind.FUNDING], candles.symbols, Kind.FUNDING, now_ms, notes),
        interest=_series(interest, candles.symbols, Kind.INTEREST, now_ms, notes),
    )
    return Reading(data=data, gaps=gaps, skipped=tuple(skipped), notes=tuple(notes))


def _read(found: Found, venue: str | None) -> Columns:
    columns = read_columns(found, venue)
    if not len(columns.ts):
        raise DataRefusedError(f"{columns.file}: has no rows; remove the file or fetch it again")
    return columns


def _bar_rows(parts: Sequence[Columns]) -> BarRows:
    symbols = tuple(sorted({symbol for part in parts for symbol in part.symbols}))
    return BarRows(
        symbols=symbols,
        code=np.concatenate([_codes(part, symbols) for part in parts]),
        source=np.concatenate([np.full(len(part.ts), at) for at, part in enumerate(parts)]),
        row=np.concatenate([part.row for part in parts]),
        open_ms=np.concatenate([part.ts for part in parts]),
        **{
            name: np.concatenate([part.values[name] for part in parts])
            for name in ("open", "high", "low", "close", "volume")
        },
    )


def _codes(part: Columns, symbols: tuple[str, ...]) -> Ints:
    """Each row's index into ``symbols``; -1 for a symbol that is not among them."""
    place = {symbol: at for at, symbol in enumerate(symbols)}
    return np.array([place.get(symbol, -1) for symbol in part.symbols], dtype=np.int64)[part.code]


def _refuse(files: list[str], problems: Sequence[Problem], total: int) -> None:
    lines = [
        f"  {files[each.source]}: row {each.row}, {each.symbol}, {_utc(each.at_ms)}: {each.reason}"
        for each in problems
    ]
    if total > len(lines):
        lines.append(f"  ... and {total - len(lines)} more")
    raise DataRefusedError(
        f"{total} row{'s' if total > 1 else ''} refused (rows count from 1, header not counted):",
        *lines,
        "Repair or remove these rows; gaps alone can be kept with --allow-gaps",
    )


def _utc(at_ms: int) -> str:
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"time {at_ms}"


# --- funding and open interest ---------------------------------------------------------------


def _finest(parts: list[Columns], skipped: list[Skipped]) -> list[Columns]:
    """Of several open-interest files the one with the closest observations."""
    if len(parts) < 2:
        return parts
    ranked = sorted(parts, key=lambda part: (_commonest_step_ms(part.code, part.ts), part.file))
    for part in ranked[1:]:
        skipped.append(Skipped(file=part.file, reason=f"{ranked[0].file} is finer"))
    return ranked[:1]


def _commonest_step_ms(code: Ints, ts: Ints) -> int:
    """The commonest distance between a symbol's observations; a day when there is none."""
    order = np.lexsort((ts, code))
    steps = np.diff(ts[order])[np.diff(code[order]) == 0]
    distances, counts = np.unique(steps[steps > 0], return_counts=True)
    return int(distances[counts.argmax()]) if len(distances) else 86_400_000


def _series(
    parts: list[Columns], symbols: tuple[str, ...], kind: Kind, now_ms: int, notes: list[str]
) -> Series:
    """Observations as columns over the candles' symbols; others are left out and noted."""
    if not parts:
        return empty_series(symbols, FUNDING_PERIOD_MS)
    for part in parts:
        _check_observations(part, kind, now_ms)
    code = np.concatenate([_codes(part, symbols) for part in parts])
    at_ms = np.concatenate([part.ts for part in parts])
    value = np.concatenate([next(iter(part.values.values())) for part in parts])
    strangers = sorted({name for part in parts for name in part.symbols} - set(symbols))
    if strangers:
        notes.append(f"{kind.value} of {', '.join(strangers)} left out: there are no candles")
    if kind is Kind.FUNDING:
        at_ms = at_ms - at_ms % FUNDING_JITTER_MS
    kept = code >= 0
    code, at_ms, value = code[kept], at_ms[kept], value[kept]
    times, row = np.unique(at_ms, return_inverse=True)
    values = np.full((len(times), len(symbols)), np.nan)
    values[row, code] = value
    differs = np.flatnonzero(values[row, code] != value)
    if len(differs):
        at = int(differs[0])
        raise DataRefusedError(
            f"{parts[0].file}: two different {kind.value} values of {symbols[code[at]]} at "
            f"{_utc(int(at_ms[at]))}: {value[at]:g} and {values[row[at], code[at]]:g}; "
            "remove the wrong one; nothing was imported"
        )
    return Series(
        symbols=symbols,
        available_ms=times,
        values=values,
        period_ms=_commonest_step_ms(code, at_ms) if len(at_ms) else FUNDING_PERIOD_MS,
    )


def _check_observations(part: Columns, kind: Kind, now_ms: int) -> None:
    value = next(iter(part.values.values()))
    order = np.lexsort((np.arange(len(part.ts)), part.code))
    back = np.zeros(len(value), dtype=bool)
    back[order[1:]] = (np.diff(part.code[order]) == 0) & (np.diff(part.ts[order]) < 0)
    checks = [
        (~np.isfinite(value), "the value is NaN, infinite or missing"),
        (part.ts < EPOCH_MIN_MS, "is before 2009: times must be in milliseconds"),
        (part.ts > now_ms, "is in the future"),
        (back, "is earlier than the symbol's row before it: not sorted by time"),
    ]
    if kind is Kind.FUNDING:
        checks.append((np.abs(value) > FUNDING_RATE_MAX, "is beyond 5 %: rates are fractions"))
    else:
        checks.append((value < 0, "open interest is negative"))
    bad = np.zeros(len(value), dtype=bool)
    for mask, _ in checks:
        bad |= mask
    found = np.flatnonzero(bad)
    if not len(found):
        return
    problems = [
        Problem(
            source=0,
            row=int(part.row[at]),
            symbol=part.symbols[part.code[at]],
            at_ms=int(part.ts[at]),
            reason="; ".join(reason for mask, reason in checks if mask[at]) + f" ({value[at]:g})",
        )
        for at in map(int, found[:PROBLEMS_SHOWN])
    ]
    _refuse([part.file], problems, len(found))
