"""Checked series of what is beside the bars, symbol codes, and errors of rows.

Each observation is checked and then assigned to a symbol of the bars. If several files of one kind
cover a time of a symbol, ``keep_finest`` keeps the rows with the shortest period.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kamou.core.arrays import Floats, Ints, Mask
from kamou.core.day import DAY_MS, show_utc
from kamou.core.market.bar_checks import (
    EPOCH_MIN_MS,
    GAP_REASON,
    VOLUME_MAX,
    CheckedRows,
    Problem,
    find_commonest_step,
    find_kinds,
)
from kamou.core.market.bars import Series, empty_series
from kamou.core.market.instruments import FUNDING_JITTER_MS, FUNDING_PERIOD_MS
from kamou.errors import InvalidDataError
from kamou.store.column_meanings import RATIO_KINDS, Kind
from kamou.store.file_layouts import SkippedFile
from kamou.store.file_names import plain_symbol
from kamou.store.file_rows import FileColumns
from kamou.store.read_budget import Budget

PREMIUM_MAX = 0.5  # a fraction of the index price; more is a price or in percent
RATIO_MAX = 1e6  # of long to short accounts; more is another figure
UNKNOWN_SHOWN = 10  # symbols without bars, in one note
FILES_SHOWN = 3  # in an error that may have its cause in several files
FUNDING_RATE_MAX = 0.05  # per interval; venues cap it at 2 to 4 %, so more is probably in percent


def symbol_codes(part: FileColumns, symbols: tuple[str, ...]) -> Ints:
    """Return each row's index into ``symbols``, for any writing of the symbol.

    The index is -1 for a symbol that is not among them.
    """
    place = {plain_symbol(symbol): at for at, symbol in enumerate(symbols)}
    place |= {symbol: at for at, symbol in enumerate(symbols)}
    found = [place.get(each, place.get(plain_symbol(each), -1)) for each in part.symbols]
    return np.array(found, dtype=np.int64)[part.code]


def check_writings(parts: Sequence[FileColumns]) -> None:
    """Raise ``InvalidDataError`` if the name of a symbol with bars has two writings."""
    known: dict[str, tuple[str, str]] = {}  # a symbol as it is written, and the first file
    for part in parts:
        for symbol in part.symbols:
            other, file = known.setdefault(plain_symbol(symbol), (symbol, part.file))
            if other != symbol:
                raise InvalidDataError(
                    f"{part.file}: the symbol {symbol} is {other} of {file} in another writing; "
                    "nothing was imported; write it in one way, or import one of them"
                )


def raise_row_errors(
    files: Sequence[str], problems: Sequence[Problem], total: int, source: str
) -> None:
    """Raise ``InvalidDataError`` with a line for each kind of problem.

    Args:
        files: names of the files; a problem's ``source`` is an index into them.
        problems: the first problem of each kind.
        total: number of all invalid rows.
        source: name of the directory or of the kind of rows.
    """
    kinds = [_describe_problem(files, each) for each in problems]
    rows = f"{total:,} row{'s' if total > 1 else ''}"
    gaps = any(GAP_REASON in each.reason for each in problems)
    step = "nothing was imported; correct or remove these rows" + (
        "; `kamou data import --allow-gaps` keeps missing bars as gaps" * gaps
    )
    if len(kinds) == 1:
        raise InvalidDataError(f"{source}: {rows} invalid: {kinds[0]}; {step}")
    raise InvalidDataError(
        f"{source}: {rows} invalid (rows count from 1, without headers):",
        *(f"  {each}" for each in kinds),
        step[0].upper() + step[1:],
    )


def _describe_problem(files: Sequence[str], problem: Problem) -> str:
    first = (
        f"{files[problem.source]}: row {problem.row}, {problem.symbol}, "
        f"{show_utc(problem.at_ms)}: {problem.reason}"
    )
    if problem.repeats is not None:
        source, row = problem.repeats
        first += f", the same time as row {row} of {files[source]}"
    if problem.rows == 1:
        return first
    spread = f" in {problem.sources:,} files" * (problem.sources > 1)
    return f"{first}; {problem.rows - 1:,} more like it{spread}"


def keep_finest(
    parts: Sequence[FileColumns], kind: Kind, skipped: list[SkippedFile]
) -> list[FileColumns]:
    """Leave out a symbol's rows in the time span of a file with a shorter period.

    The period of a file is the commonest time between a symbol's rows; it is a day if no symbol has
    rows at two times. A file of which no row is kept is added to ``skipped``.
    """
    steps = [commonest_step_ms(part) or DAY_MS for part in parts]
    if len(set(steps)) < 2:
        return list(parts)
    spans: dict[str, list[tuple[int, int, int]]] = {}  # of a symbol: period, first and last time
    for part, step in zip(parts, steps, strict=True):
        for code, symbol in enumerate(part.symbols):
            times = part.ts[part.code == code]
            if len(times):
                span = (step, int(times.min()), int(times.max()))
                spans.setdefault(plain_symbol(symbol), []).append(span)
    kept: list[FileColumns] = []
    for part, step in zip(parts, steps, strict=True):
        inside = np.zeros(len(part.ts), dtype=bool)
        for code, symbol in enumerate(part.symbols):
            for finer, first, last in spans.get(plain_symbol(symbol), []):
                if finer < step:
                    inside |= (part.code == code) & (part.ts >= first) & (part.ts <= last)
        if not inside.all():
            kept.append(part.keep(~inside) if inside.any() else part)
        else:
            reason = f"{kind} of a longer period; that of a shorter one is used"
            skipped.append(SkippedFile(file=part.file, reason=reason))
    return kept


def commonest_step_ms(part: FileColumns) -> int | None:
    """Return the commonest time in ms between a symbol's rows of one file.

    Return None if no symbol has rows at two times.
    """
    return find_commonest_step(part.code, part.ts)


def make_series(
    parts: list[FileColumns],
    symbols: tuple[str, ...],
    kind: Kind,
    *,
    now_ms: int,
    budget: Budget,
    notes: list[str],
) -> Series:
    """Return observations other than bars as a series over the bars' symbols.

    Values are ``[times, symbols]``, NaN where a symbol has none. Without ``parts`` the series has
    no times. Symbols without bars are left out, and a note in ``notes`` has the first
    ``UNKNOWN_SHOWN``. The times of funding are rounded down to ``FUNDING_JITTER_MS``.

    Raises:
        InvalidDataError: an observation is invalid, two values of one symbol and time differ, or
            the times and symbols make too many cells.
    """
    if not parts:
        return empty_series(symbols, FUNDING_PERIOD_MS)
    _check_observations(parts, kind, now_ms)
    code = np.concatenate([symbol_codes(part, symbols) for part in parts])
    at_ms = np.concatenate([part.ts for part in parts])
    value = np.concatenate([next(iter(part.values.values())) for part in parts])
    known = {plain_symbol(each) for each in symbols}
    unknown = sorted(
        name
        for name in {name for part in parts for name in part.symbols} - set(symbols)
        if plain_symbol(name) not in known
    )
    if unknown:
        more = f" and {len(unknown) - UNKNOWN_SHOWN} more" * (len(unknown) > UNKNOWN_SHOWN)
        named = ", ".join(unknown[:UNKNOWN_SHOWN])
        notes.append(f"{kind} of {named}{more} left out; these symbols have no bars")
    if kind is Kind.FUNDING:
        at_ms = at_ms - at_ms % FUNDING_JITTER_MS
    kept = code >= 0
    code, at_ms, value = code[kept], at_ms[kept], value[kept]
    times, row = np.unique(at_ms, return_inverse=True)
    files = ", ".join(part.file for part in parts[:FILES_SHOWN])
    files += ", ..." if len(parts) > FILES_SHOWN else ""
    budget.check_cells(files, len(times), len(symbols))
    values = np.full((len(times), len(symbols)), np.nan)
    values[row, code] = value
    differs = np.flatnonzero(values[row, code] != value)
    if len(differs):
        at = int(differs[0])
        raise InvalidDataError(
            f"{files}: two different {kind} values of {symbols[code[at]]} at "
            f"{show_utc(int(at_ms[at]))}: {value[at]:g} and {values[row[at], code[at]]:g}; "
            "nothing was imported; remove the wrong one"
        )
    return Series(
        symbols=symbols,
        available_ms=times,
        values=values,
        period_ms=find_commonest_step(code, at_ms) or FUNDING_PERIOD_MS,
    )


def _check_observations(parts: Sequence[FileColumns], kind: Kind, now_ms: int) -> None:
    """Raise ``InvalidDataError`` if a row of the files is invalid."""
    symbols = tuple(sorted({symbol for part in parts for symbol in part.symbols}))
    rows = CheckedRows(
        symbols=symbols,
        code=np.concatenate([symbol_codes(part, symbols) for part in parts]),
        source=np.repeat(np.arange(len(parts)), [len(part.ts) for part in parts]),
        row=np.concatenate([part.row for part in parts]),
        open_ms=np.concatenate([part.ts for part in parts]),
    )
    value = np.concatenate([next(iter(part.values.values())) for part in parts])
    order = np.lexsort((np.arange(len(value)), rows.code, rows.source))
    back = np.zeros(len(value), dtype=bool)
    later = rows.open_ms[order]
    neighbours = (np.diff(rows.code[order]) == 0) & (np.diff(rows.source[order]) == 0)
    back[order[1:]] = neighbours & (later[1:] < later[:-1])
    checks = [
        (~np.isfinite(value), "the value is NaN, infinite or missing"),
        (rows.open_ms < EPOCH_MIN_MS, "is before 2009, when there was no crypto data yet"),
        (rows.open_ms > now_ms, f"{'closes' if kind is Kind.PREMIUM else 'is'} in the future"),
        (back, "is earlier than the symbol's row before it; sort by time"),
    ]
    if kind in (*RATIO_KINDS, Kind.PREMIUM):
        twice = np.zeros(len(value), dtype=bool)
        twice[order[1:]] = neighbours & (later[1:] == later[:-1])
        checks.append((twice, "has the time of the symbol's row before it; remove one of them"))
    checks += _check_sizes(value, kind)
    problems = find_kinds(rows, checks, lambda at, reason: f"{reason} ({value[at]:g})")
    if problems:
        bad = np.any([mask for mask, _ in checks], axis=0)
        files = [part.file for part in parts]
        raise_row_errors(files, problems, int(np.count_nonzero(bad)), str(kind))


def _check_sizes(value: Floats, kind: Kind) -> list[tuple[Mask, str]]:
    """Return what values of a kind cannot be, as masks of rows with the reasons."""
    if kind is Kind.FUNDING:
        beyond = f"the rate is beyond {100 * FUNDING_RATE_MAX:g} %; rates are fractions"
        return [(np.abs(value) > FUNDING_RATE_MAX, beyond)]
    if kind is Kind.PREMIUM:
        beyond = f"the premium index is beyond +-{PREMIUM_MAX:g}; expected a fraction of the index"
        return [(np.abs(value) > PREMIUM_MAX, beyond)]
    if kind in RATIO_KINDS:
        return [
            (value <= 0, "the ratio is not positive; expected long over short accounts"),
            (value > RATIO_MAX, f"the ratio is above {RATIO_MAX:g}"),
        ]
    return [
        (value < 0, "open interest is negative"),
        (value > VOLUME_MAX, f"open interest is above {VOLUME_MAX:g}"),
    ]
