"""Choice of the files that are imported, among those that were found.

The files may have bars of several periods, of several exchanges, and of spot and perpetuals, as
those in the data directory of freqtrade. One of each is chosen, or the error says how to choose.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import attrs

from kamou.core.words import count_words, format_duration
from kamou.errors import InvalidDataError
from kamou.store.column_meanings import Kind
from kamou.store.file_layouts import Choice, FoundFile, SkippedFile
from kamou.store.file_names import NAME_SEPARATOR

# Names of freqtrade: BTC_USDT_USDT-1h-futures is a perpetual, BTC_USDT-1h is spot.
SETTLED = re.compile(r"^[A-Za-z0-9]+_[A-Z]+_[A-Z]+(?=-)")
UNSETTLED = re.compile(r"^[A-Za-z0-9]+_(?P<quote>[A-Z]+)(?=-)")


def choose_files(
    files: Sequence[FoundFile], choice: Choice, skipped: list[SkippedFile]
) -> list[FoundFile]:
    """Return the files of one exchange and period, without spot beside perpetuals.

    A file whose names say no exchange or period stays. The others are added to ``skipped``.

    Raises:
        InvalidDataError: the names of files of bars, or of their folders, say several exchanges or
            periods, and none is chosen.
    """
    kept = _choose_exchange(files, choice.venue, skipped)
    kept = _leave_out_spot(kept, skipped)
    return _choose_period(kept, choice.period_ms, skipped)


def _choose_exchange(
    files: Sequence[FoundFile], venue: str | None, skipped: list[SkippedFile]
) -> list[FoundFile]:
    by_name = [each for each in files if each.columns.venue is None]
    if venue is None:
        found = Counter(
            each.name.exchange
            for each in by_name
            if each.columns.kind is Kind.BARS and each.name.exchange is not None
        )
        if len(found) > 1:
            counts = ", ".join(
                f"{name} ({count_words(number, 'file')})" for name, number in sorted(found.items())
            )
            raise InvalidDataError(
                f"the files of bars are of several exchanges: {counts}; choose one with "
                "`kamou data import` and --venue"
            )
        return list(files)
    kept = []
    for each in files:
        exchange = None if each.columns.venue is not None else each.name.exchange
        if exchange is not None and exchange != venue.lower():
            skipped.append(_skip(each, f"of the exchange {exchange}, --venue chose another"))
        else:
            kept.append(each)
    return kept


def _leave_out_spot(files: Sequence[FoundFile], skipped: list[SkippedFile]) -> list[FoundFile]:
    """Leave out spot bars if the perpetual of their symbol has a file.

    The names of files and folders tell which are spot (``_is_spot``). Each file that is left out
    is added to ``skipped``.
    """
    bars = [each for each in files if each.columns.kind is Kind.BARS and each.symbol is not None]
    perpetuals = [each for each in bars if each.name.perpetual]
    symbols = {each.symbol for each in perpetuals}
    pairs = {found[0] for each in perpetuals if (found := SETTLED.match(each.source.path.name))}
    spot = {
        id(each)
        for each in bars
        if not each.name.perpetual and each.symbol in symbols and _is_spot(each, pairs)
    }
    for each in files:
        if id(each) in spot:
            skipped.append(_skip(each, "spot bars; another file has those of the perpetual"))
    return [each for each in files if id(each) not in spot]


def _is_spot(found: FoundFile, pairs: set[str]) -> bool:
    """Return True if the name or a folder says spot, or freqtrade has the perpetual.

    ``pairs`` are the beginnings of the names of freqtrade's perpetuals, such as BTC_USDT_USDT.
    """
    name = found.source.path.name
    said = any(
        "spot" in NAME_SEPARATOR.split(each.lower()) for each in (*found.source.folders, name)
    )
    pair = UNSETTLED.match(name)
    return said or (pair is not None and f"{pair[0]}_{pair['quote']}" in pairs)


def _choose_period(
    files: Sequence[FoundFile], period_ms: int | None, skipped: list[SkippedFile]
) -> list[FoundFile]:
    found = Counter(
        each.name.period_ms
        for each in files
        if each.columns.kind is Kind.BARS and each.name.period_ms is not None
    )
    if period_ms is None:
        if len(found) > 1:
            raise several_periods_error(found)
        return list(files)
    kept = []
    for each in files:
        named = each.name.period_ms
        if each.columns.kind is Kind.BARS and named is not None and named != period_ms:
            skipped.append(_skip(each, f"bars of {format_duration(named)}, --period chose others"))
        else:
            kept.append(each)
    return kept


def several_periods_error(found: Counter[int]) -> InvalidDataError:
    """Return the error for bars of several periods.

    ``found`` has the number of files by period in ms.
    """
    counts = ", ".join(
        f"{format_duration(period)} ({count_words(number, 'file')})"
        for period, number in sorted(found.items())
    )
    return InvalidDataError(
        f"the files have bars of several periods: {counts}; choose one with `kamou data import` "
        "and --period, such as --period 1h"
    )


def _skip(found: FoundFile, reason: str) -> SkippedFile:
    return SkippedFile(file=found.source.shown, reason=reason)


@attrs.frozen(kw_only=True)
class TakenFile:
    """The layout of an imported file, as ``kamou data import --dry-run`` shows it."""

    file: str
    kind: str
    format: str
    symbols: str  # the symbol and its place, or the number of symbols
    period_ms: int | None  # of its rows
    time: str  # the column of times, and their unit
    rows: int
