"""Checked series of funding and open interest, symbol codes, and errors of rows.

Each observation is checked, then put on the bars' symbols. Of several files of open interest,
``keep_finest`` keeps the one with the shortest period.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kamou.core.arrays import Ints
from kamou.core.day import DAY_MS, show_utc
from kamou.core.market.bar_checks import EPOCH_MIN_MS, TIME_CLIP_MS, VOLUME_MAX, Problem
from kamou.core.market.bars import Series, empty_series
from kamou.core.market.instruments import FUNDING_JITTER_MS, FUNDING_PERIOD_MS
from kamou.errors import InvalidDataError
from kamou.store.file_layouts import FileColumns, Kind, SkippedFile
from kamou.store.read_budget import Budget

PROBLEMS_SHOWN = 10
UNKNOWN_SHOWN = 10  # symbols without bars, in one note
FILES_SHOWN = 3  # in an error that may have its cause in several files
FUNDING_RATE_MAX = 0.05  # per funding interval; venues cap it at 2 to 4 %, so more is in percent


def symbol_codes(part: FileColumns, symbols: tuple[str, ...]) -> Ints:
    """Return each row's index into ``symbols``.

    The index is -1 for a symbol that is not among them.
    """
    place = {symbol: at for at, symbol in enumerate(symbols)}
    return np.array([place.get(symbol, -1) for symbol in part.symbols], dtype=np.int64)[part.code]


def raise_row_errors(
    files: list[str], problems: Sequence[Problem], total: int, source: str
) -> None:
    """Raise ``InvalidDataError`` with a line for each problem.

    Args:
        files: names of the files; a problem's ``source`` is an index into them.
        problems: the first problems.
        total: number of all invalid rows.
        source: name of the directory.
    """
    lines = [
        f"  {files[each.source]}: row {each.row}, {each.symbol}, {show_utc(each.at_ms)}: "
        f"{each.reason}"
        for each in problems
    ]
    if total > len(lines):
        lines.append(f"  ... and {total - len(lines)} more")
    rows = f"{total} row{'s' if total > 1 else ''}"
    raise InvalidDataError(
        f"{source}: {rows} invalid (rows count from 1, without the header):",
        *lines,
        "Nothing was imported; correct or remove these rows; `kamou data import --allow-gaps` "
        "keeps missing bars as gaps",
    )


def keep_finest(parts: list[FileColumns], skipped: list[SkippedFile]) -> list[FileColumns]:
    """Keep the file with the shortest period; add the others to ``skipped``.

    Of equal periods, the file with the first name is kept.
    """
    if len(parts) < 2:
        return parts
    ranked = sorted(parts, key=lambda part: (_commonest_step_ms(part.code, part.ts), part.file))
    for part in ranked[1:]:
        reason = f"one file of open interest is used: {ranked[0].file}, whose period is not longer"
        skipped.append(SkippedFile(file=part.file, reason=reason))
    return ranked[:1]


def _commonest_step_ms(code: Ints, ts: Ints) -> int:
    """Return the commonest time in ms between a symbol's observations.

    It is a day if no symbol has observations at two times.
    """
    order = np.lexsort((ts, code))
    times = np.clip(ts, -TIME_CLIP_MS, TIME_CLIP_MS)
    steps = np.diff(times[order])[np.diff(code[order]) == 0]
    distances, counts = np.unique(steps[steps > 0], return_counts=True)
    return int(distances[counts.argmax()]) if len(distances) else DAY_MS


def make_series(
    parts: list[FileColumns],
    symbols: tuple[str, ...],
    kind: Kind,
    *,
    now_ms: int,
    budget: Budget,
    notes: list[str],
) -> Series:
    """Return funding or open interest as a series over the bars' symbols.

    Symbols without bars are left out, and a note in ``notes`` has the first ``UNKNOWN_SHOWN``. The
    times of funding are rounded down to ``FUNDING_JITTER_MS``.

    Raises:
        InvalidDataError: an observation is invalid, two values of one symbol and time differ, or
            the times and symbols make too many cells.
    """
    if not parts:
        return empty_series(symbols, FUNDING_PERIOD_MS)
    for part in parts:
        _check_observations(part, kind, now_ms)
    code = np.concatenate([symbol_codes(part, symbols) for part in parts])
    at_ms = np.concatenate([part.ts for part in parts])
    value = np.concatenate([next(iter(part.values.values())) for part in parts])
    unknown = sorted({name for part in parts for name in part.symbols} - set(symbols))
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
        period_ms=_commonest_step_ms(code, at_ms) if len(at_ms) else FUNDING_PERIOD_MS,
    )


def _check_observations(part: FileColumns, kind: Kind, now_ms: int) -> None:
    """Raise ``InvalidDataError`` if a row of the file is invalid."""
    value = next(iter(part.values.values()))
    order = np.lexsort((np.arange(len(part.ts)), part.code))
    back = np.zeros(len(value), dtype=bool)
    later = part.ts[order]
    back[order[1:]] = (np.diff(part.code[order]) == 0) & (later[1:] < later[:-1])
    checks = [
        (~np.isfinite(value), "the value is NaN, infinite or missing"),
        (part.ts < EPOCH_MIN_MS, "is before 2009; times are in milliseconds"),
        (part.ts > now_ms, "is in the future"),
        (back, "is earlier than the symbol's row before it; sort by time"),
    ]
    if kind is Kind.FUNDING:
        beyond = f"the rate is beyond {100 * FUNDING_RATE_MAX:g} %; rates are fractions"
        checks.append((np.abs(value) > FUNDING_RATE_MAX, beyond))
    else:
        checks.append((value < 0, "open interest is negative"))
        checks.append((value > VOLUME_MAX, f"open interest is above {VOLUME_MAX:g}"))
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
    raise_row_errors([part.file], problems, len(found), part.file)
