"""Reading, checking and joining of the files of an import to one dataset.

The steps are: search the files, find their layouts, choose among them, read their rows, check the
rows, and join them. Several files of one symbol, such as one for each month, are joined. One
invalid row makes the whole import invalid, because a backtest on wrong prices gives wrong results.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import attrs
import numpy as np

from kamou.core.arrays import Ints
from kamou.core.market.bar_checks import (
    BarRows,
    Findings,
    count_grid_bars,
    find_problems,
    infer_period_ms,
    to_grid,
)
from kamou.core.market.bars import Bars, Dataset, Series
from kamou.core.words import count_words, format_duration
from kamou.errors import InvalidDataError
from kamou.runtime.leveled_lines import Progress
from kamou.store.column_meanings import BINANCE_RATIO, Kind
from kamou.store.dataset_description import GAPS_LISTED_MAX
from kamou.store.dataset_tables import join_ratios
from kamou.store.file_choice import TakenFile, choose_files, several_periods_error
from kamou.store.file_layouts import Choice, FoundFile, SkippedFile, describe_files
from kamou.store.file_names import STABLE_QUOTE_NAMES, plain_symbol
from kamou.store.file_rows import FileColumns, read_columns, split_kinds
from kamou.store.market_data import FoundGaps
from kamou.store.observations import (
    check_writings,
    commonest_step_ms,
    keep_finest,
    make_series,
    raise_row_errors,
    symbol_codes,
)
from kamou.store.read_budget import Budget
from kamou.store.source_files import find_source_files
from kamou.store.time_columns import TimeUnit

FILES_NAMED = 3  # in a note on several files
ROWS_OF_PERIOD_MIN = 3  # of a file, to know its period
KINDS_NAMED = 5  # reasons of files left out, in an error
DATE_MARGIN_MS = 86_400_000  # archives in other zones begin and end up to a day off UTC


@attrs.frozen(kw_only=True, eq=False)
class CheckedFiles:
    """The valid data of an import, its gaps, and the files that were read or left out."""

    data: Dataset
    gaps: FoundGaps
    skipped: tuple[SkippedFile, ...] = ()
    notes: tuple[str, ...] = ()
    taken: tuple[TakenFile, ...] = ()


@attrs.frozen(kw_only=True, eq=False)
class JoinOptions:
    """How the files of one dataset are chosen and checked."""

    choice: Choice
    allow_gaps: bool
    now_ms: int
    progress: Progress


@attrs.frozen(kw_only=True, eq=False)
class Remarks:
    """Files that were left out, and notes on irregular files; reading adds to both."""

    skipped: list[SkippedFile] = attrs.field(factory=list)
    notes: list[str] = attrs.field(factory=list)


def join_files(
    sources: Sequence[Path], name: str, shown: str, budget: Budget, options: JoinOptions
) -> CheckedFiles:
    """Read and check the files below ``sources``, and join them to a dataset.

    Args:
        sources: directories and files.
        name: the name of the dataset.
        shown: the name of all sources together, for errors.
        budget: counts what is read.
        options: choice and checks.

    Raises:
        InvalidDataError: as ``importer.read_directory``.
    """
    candidates = find_source_files(sources, budget.limits.files_max)
    found, skipped = describe_files(candidates, options.choice, budget)
    remarks = Remarks(skipped=skipped)
    files = choose_files(found, options.choice, skipped)
    parts: dict[Kind, list[FileColumns]] = {kind: [] for kind in Kind}
    taken: list[TakenFile] = []
    empty: Counter[Kind] = Counter()
    for done, each in enumerate(files):
        options.progress("reading files", done, len(files))
        columns = _read(each, budget, options.choice.venue)
        if _fits_period(each, columns, options.choice, remarks):
            taken.append(_describe_taken(each, columns))
            for kind, part in split_kinds(columns, each.columns):
                known = _move_to_close(each, part) if kind is Kind.PREMIUM else part
                parts[kind].append(known)
                empty[kind] += len(columns.ts) - len(part.ts)
    if not parts[Kind.BARS]:
        raise _no_bars(shown, skipped)
    _note_rows(files, parts, remarks)
    remarks.notes.extend(
        f"{count_words(number, 'row')} without a {kind}" for kind, number in empty.items() if number
    )
    options.progress("checking", len(files), len(files))
    bars, findings = check_bars(shown, parts[Kind.BARS], budget, options)
    data = make_dataset(name, bars, parts, budget, options.now_ms, remarks)
    if data.ratios is not None:
        data = attrs.evolve(data, ratio_source=_find_ratio_source(files))
    return CheckedFiles(
        data=data,
        gaps=FoundGaps(listed=findings.gaps, total=findings.gaps_total),
        skipped=tuple(skipped),
        notes=tuple(remarks.notes),
        taken=tuple(taken),
    )


def _move_to_close(found: FoundFile, bars: FileColumns) -> FileColumns:
    """Return bars of the premium index with the times of their closes.

    The period is that of the rows, or that of the name if it is longer, so that no bar is known
    before its close.

    Raises:
        InvalidDataError: neither the rows nor the name say a period.
    """
    periods = [each for each in (commonest_step_ms(bars), found.name.period_ms) if each is not None]
    if not periods:
        raise InvalidDataError(
            f"{bars.file}: one row of each symbol and no period in the name, so the close of the "
            "bars is unknown; name the file BTCUSDT-1h.csv, for example"
        )
    return attrs.evolve(bars, ts=bars.ts + max(periods))


def _find_ratio_source(files: Sequence[FoundFile]) -> str:
    """Return the exchange whose accounts the ratios count.

    It stands in the names of the files or of their folders, or their columns are named as only one
    exchange names them. Return "" if a file with ratios says no exchange, or two say different
    ones.
    """
    sources = set()
    for each in files:
        columns = [column for kind, column in each.columns.beside if kind is Kind.RATIOS]
        if each.columns.kind is Kind.RATIOS:
            columns += each.columns.numbers.values()
        if columns:
            by_column = "binance" if columns == [BINANCE_RATIO] else ""
            sources.add(each.name.exchange or by_column)
    return sources.pop() if len(sources) == 1 else ""


def _read(found: FoundFile, budget: Budget, venue: str | None) -> FileColumns:
    columns = read_columns(found, budget, venue)
    if not len(columns.ts):
        raise InvalidDataError(f"{columns.file}: no rows; remove the file or download it again")
    return columns


def _fits_period(found: FoundFile, columns: FileColumns, choice: Choice, remarks: Remarks) -> bool:
    """Return True unless the file has bars of another period than the chosen one.

    Such a file is added to the skipped ones.
    """
    if choice.period_ms is None or found.columns.kind is not Kind.BARS:
        return True
    step = commonest_step_ms(columns)
    if step is None or step == choice.period_ms:
        return True
    reason = f"bars of {format_duration(step)}, --period chose others"
    remarks.skipped.append(SkippedFile(file=columns.file, reason=reason))
    return False


def _describe_taken(found: FoundFile, columns: FileColumns) -> TakenFile:
    if found.columns.wide:
        symbols = f"{count_words(len(columns.symbols), 'symbol')} by the header"
    elif found.columns.symbol is None:
        symbols = f"{found.symbol} by {found.symbol_source}"
    else:
        shown = count_words(len(columns.symbols), "symbol")
        symbols = f"{shown} by the column {found.columns.symbol}"
    writing = str(found.format)
    if found.text is not None and found.text.dialect.delimiter not in ("", ","):
        writing += f", delimiter {found.text.dialect.delimiter!r}"
    if found.text is not None and found.text.dialect.decimal_comma:
        writing += ", decimal comma"
    if found.text is not None and found.text.dialect.names is None:
        writing += ", no header"
    return TakenFile(
        file=columns.file,
        kind=", ".join(found.columns.kinds),
        format=writing,
        symbols=symbols,
        period_ms=commonest_step_ms(columns),
        time=f"{found.columns.time} in {columns.unit or 'no known unit'}",
        rows=len(columns.ts),
    )


def _note_rows(
    files: Sequence[FoundFile], parts: dict[Kind, list[FileColumns]], remarks: Remarks
) -> None:
    """Add a note for each kind of irregularity that does not make the files invalid."""
    read = {part.file: part for each in parts.values() for part in each}
    naive = [part.file for part in read.values() if part.unit is TimeUnit.ISO_UTC]
    if naive:
        remarks.notes.append(f"times without a zone were read as UTC in {_name_files(naive)}")
    again = [
        each.source.shown for each in files if each.text is not None and each.text.headers_dropped
    ]
    if again:
        remarks.notes.append(f"a repeated header was left out in {_name_files(again)}")
    other = [each.source.shown for each in files if _has_other_period(each, read)]
    if other:
        remarks.notes.append(
            f"the period of the rows is used, not that of the name, in {_name_files(other)}"
        )
    other = [each.source.shown for each in files if _has_other_dates(each, read)]
    if other:
        remarks.notes.append(
            f"the dates of the rows are used, not those of the name, in {_name_files(other)}"
        )
    named = [each.source.shown for each in files if _has_other_symbol(each, read)]
    if named:
        remarks.notes.append(
            f"the symbol of the column is used, not that of the name, in {_name_files(named)}"
        )


def _has_other_symbol(found: FoundFile, read: dict[str, FileColumns]) -> bool:
    part, name = read.get(found.source.shown), found.name.symbol
    if part is None or name is None or not name.endswith(STABLE_QUOTE_NAMES):
        return False
    return plain_symbol(name) not in map(plain_symbol, part.symbols)


def _has_other_dates(found: FoundFile, read: dict[str, FileColumns]) -> bool:
    part, name = read.get(found.source.shown), found.name
    if part is None or name.from_ms is None or name.until_ms is None:
        return False
    after = part.ts < name.from_ms - DATE_MARGIN_MS
    return bool((after | (part.ts >= name.until_ms + DATE_MARGIN_MS)).any())


def _has_other_period(found: FoundFile, read: dict[str, FileColumns]) -> bool:
    part, named = read.get(found.source.shown), found.name.period_ms
    if part is None or named is None or found.columns.kind is not Kind.BARS:
        return False
    steps = _distinct_steps(part)
    return len(steps) > 0 and named not in steps


def _distinct_steps(part: FileColumns) -> Ints:
    """Return the distinct times in ms between neighboring rows of each symbol."""
    order = np.lexsort((part.ts, part.code))
    return np.unique(np.diff(part.ts[order])[np.diff(part.code[order]) == 0])


def _name_files(names: Sequence[str]) -> str:
    shown = ", ".join(names[:FILES_NAMED])
    more = f" and {len(names) - FILES_NAMED:,} more files" * (len(names) > FILES_NAMED)
    return shown + more


def _no_bars(shown: str, skipped: Sequence[SkippedFile]) -> InvalidDataError:
    kinds = Counter(each.reason for each in skipped)
    first = {each.reason: each.file for each in reversed(skipped)}
    reasons = "; ".join(
        f"{first[reason]}: {reason}" + f" (and {count - 1:,} more files)" * (count > 1)
        for reason, count in kinds.most_common(KINDS_NAMED)
    )
    more = f"; and {len(kinds) - KINDS_NAMED} more reasons" * (len(kinds) > KINDS_NAMED)
    return InvalidDataError(
        f"{shown}: no bars; add a file with columns of time, open, high, low, close and volume, "
        "and the symbol in a column or in the file's name"
        f"{f' (files left out: {reasons}{more})' if reasons else ''}"
    )


def check_bars(
    shown: str, parts: list[FileColumns], budget: Budget, options: JoinOptions
) -> tuple[Bars, Findings]:
    """Check the rows of all bar files; return bars and findings, and empty ``parts``.

    ``shown`` is the name of all sources together, for errors.

    Raises:
        InvalidDataError: rows are invalid, a symbol has two writings, the files have several
            periods, or the bars make too many cells.
    """
    check_writings(parts)
    files = [part.file for part in parts]
    steps = Counter(step for part in parts if (step := commonest_step_ms(part)) is not None)
    dates = any(part.unit is TimeUnit.DATES for part in parts)
    # A file with few rows may have bars of any period.
    distances = [_distinct_steps(part) for part in parts if len(part.ts) >= ROWS_OF_PERIOD_MIN]
    rows = _bar_rows(parts)
    try:
        period_ms = infer_period_ms(rows)
    except InvalidDataError as error:
        raise InvalidDataError(f"{shown}: {error}; nothing was imported") from error
    longer = any(len(each) and each.min() > period_ms for each in distances)
    if longer and len(steps) > 1:
        raise several_periods_error(steps)
    findings = find_problems(
        rows,
        period_ms=period_ms,
        now_ms=options.now_ms,
        allow_gaps=options.allow_gaps,
        gaps_max=GAPS_LISTED_MAX,
    )
    if findings.problems_total:
        if len(steps) > 1:
            raise several_periods_error(steps)
        hint = " (its times are dates without hours)" if dates else ""
        raise_row_errors(files, findings.problems, findings.problems_total, shown + hint)
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


def make_dataset(
    name: str,
    bars: Bars,
    parts: dict[Kind, list[FileColumns]],
    budget: Budget,
    now_ms: int,
    remarks: Remarks,
) -> Dataset:
    """Return the dataset of checked bars with its other data.

    Notes, and files that are left out for those of a shorter period, are added to ``remarks``.

    Raises:
        InvalidDataError: as ``make_series``.
    """

    def make(kind: Kind) -> Series:
        rows = [part for part in parts[kind] if len(part.ts)]
        if kind is not Kind.FUNDING:
            rows = keep_finest(rows, kind, remarks.skipped)
        return make_series(
            rows, bars.symbols, kind, now_ms=now_ms, budget=budget, notes=remarks.notes
        )

    ratios = None
    if parts[Kind.RATIOS]:
        ratios = join_ratios(make(Kind.RATIOS), make(Kind.TOP_RATIOS))
    elif parts[Kind.TOP_RATIOS]:
        remarks.notes.append(
            f"{Kind.TOP_RATIOS} left out; it is used only beside that of all accounts"
        )
    premium = make(Kind.PREMIUM)
    return Dataset(
        name=name,
        bars=bars,
        funding=make(Kind.FUNDING),
        open_interest=make(Kind.OPEN_INTEREST),
        ratios=ratios if ratios is not None and len(ratios.available_ms) else None,
        premium=premium if len(premium.available_ms) else None,
    )
