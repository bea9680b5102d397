"""``meta.json`` of a dataset: what it says, how it is parsed, and whether it is true.

Nothing in it is believed of a set that this store did not write: the set's files are read and
checked, the same figures are computed again, and a difference refuses the set.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import attrs
import msgspec
import numpy as np

from kamou.core.day import DAY_MS
from kamou.core.market.bar_checks import EPOCH_MIN_MS, Gap
from kamou.core.market.bars import Dataset
from kamou.core.market.symbols import is_symbol
from kamou.errors import InvalidDataError
from kamou.escaping import escape_text
from kamou.store.foreign_files import read_bounded

FORMAT = 2
META = "meta.json"
BARS_FILE, FUNDING_FILE, OPEN_INTEREST_FILE = (
    "bars.parquet",
    "funding.parquet",
    "open_interest.parquet",
)
FILES = (BARS_FILE, FUNDING_FILE, OPEN_INTEREST_FILE)
BAR_FIELDS = ("open", "high", "low", "close", "volume")
AVAILABLE = "available_ms"  # the time column of a series
GAPS_LISTED_MAX = 100  # in meta.json; all are counted
META_BYTES_MAX = 32 << 20  # ranges of a hundred thousand symbols
SOURCE_CHARS_MAX = 120
YEAR_9999_MS = 253_402_300_799_999  # the last time that can be shown

Count = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
Time = Annotated[int, msgspec.Meta(ge=EPOCH_MIN_MS, le=YEAR_9999_MS)]
PeriodMs = Annotated[int, msgspec.Meta(ge=1, le=YEAR_9999_MS)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


@attrs.frozen(kw_only=True)
class SymbolRange:
    symbol: str
    first_ms: Time  # open of its first bar
    last_ms: Time  # close of its last bar
    bars: Count


@attrs.frozen(kw_only=True)
class StoredGap:
    """A ``Gap`` as it stands in the file."""

    symbol: str
    after_ms: Time
    before_ms: Time
    bars: Count


@attrs.frozen(kw_only=True)
class StoredMeta:
    """The file, field by field in its order."""

    format: int
    source: str
    period_ms: Annotated[int, msgspec.Meta(ge=1, le=DAY_MS)]
    first_ms: Time
    last_ms: Time
    bars: Count
    funding_rows: Count
    open_interest_rows: Count
    funding_period_ms: PeriodMs
    open_interest_period_ms: PeriodMs
    symbols: tuple[str, ...]
    ranges: tuple[SymbolRange, ...]
    gaps: Annotated[tuple[StoredGap, ...], msgspec.Meta(max_length=GAPS_LISTED_MAX)]
    gaps_total: Count
    files: dict[str, Sha256]
    sha256: Sha256


class _Format(msgspec.Struct):
    format: int


def is_dataset_directory(folder: Path) -> bool:
    """Return True if the folder describes itself as a dataset does."""
    return (folder / META).exists() and (folder / BARS_FILE).exists()


def read_meta(folder: Path) -> StoredMeta:
    """Parse the set's ``meta.json``.

    Raises:
        InvalidDataError: it is missing, malformed, of another format, or says what cannot be.
    """
    shown = escape_text(str(folder))
    try:
        content = read_bounded(folder / META, META_BYTES_MAX)
        stored = msgspec.json.decode(content, type=_Format).format
        if stored != FORMAT:
            raise InvalidDataError(
                f"{shown}: stored in format {stored}, this Kamou reads {FORMAT}; "
                "delete the dataset's folder and import it again"
            )
        meta = msgspec.json.decode(content, type=StoredMeta)
        _check(meta)
    except (ValueError, RecursionError) as error:
        raise InvalidDataError(
            f"{shown}: no readable {META} ({escape_text(str(error), chars_max=200)}); a set of "
            "this store: delete its folder and import it again; files from elsewhere: remove "
            f"{META}, and they are read and checked without it"
        ) from error
    return meta


def _check(meta: StoredMeta) -> None:
    """Raise ``ValueError`` unless names are names and the files are the three."""
    if set(meta.files) != set(FILES):
        raise ValueError(f"files must be {', '.join(FILES)}")
    named = [*meta.symbols, *(it.symbol for it in meta.ranges), *(it.symbol for it in meta.gaps)]
    if unfit := [name for name in named if not is_symbol(name)]:
        raise ValueError(f"{unfit[0][:60]!r} cannot be a symbol")
    if list(meta.symbols) != sorted(set(meta.symbols)) or not meta.symbols:
        raise ValueError("symbols must be sorted, each once")
    if meta.source != escape_text(meta.source, chars_max=SOURCE_CHARS_MAX):
        raise ValueError("source is not one short line")


def describe_dataset(
    data: Dataset, source: str, gaps: tuple[Gap, ...], gaps_total: int, files: dict[str, str]
) -> StoredMeta:
    """Compute what ``meta.json`` says of a set.

    Args:
        source: name of the folder that it came from.
        gaps: the first of ``gaps_total``.
        files: SHA-256 of each of the three files, in hex.
    """
    bars = data.bars
    there = ~np.isnan(bars.close)
    first = there.argmax(axis=0)
    last = len(there) - 1 - there[::-1].argmax(axis=0)
    counts = there.sum(axis=0)
    return StoredMeta(
        format=FORMAT,
        source=escape_text(source, chars_max=SOURCE_CHARS_MAX),
        period_ms=bars.period_ms,
        first_ms=int(bars.open_ms[0]),
        last_ms=int(bars.open_ms[-1]) + bars.period_ms,
        bars=int(counts.sum()),
        funding_rows=int(np.count_nonzero(~np.isnan(data.funding.values))),
        open_interest_rows=int(np.count_nonzero(~np.isnan(data.open_interest.values))),
        funding_period_ms=data.funding.period_ms,
        open_interest_period_ms=data.open_interest.period_ms,
        symbols=bars.symbols,
        ranges=tuple(
            SymbolRange(
                symbol=symbol,
                first_ms=int(bars.open_ms[first[at]]),
                last_ms=int(bars.open_ms[last[at]]) + bars.period_ms,
                bars=int(counts[at]),
            )
            for at, symbol in enumerate(bars.symbols)
        ),
        gaps=tuple(StoredGap(**attrs.asdict(each)) for each in gaps[:GAPS_LISTED_MAX]),
        gaps_total=gaps_total,
        files=files,
        sha256=hashlib.sha256("".join(files[name] for name in FILES).encode()).hexdigest(),
    )


def description_differences(stored: StoredMeta, true: StoredMeta) -> tuple[str, ...]:
    """Name the fields in which a stored description differs from what its files hold.

    ``source`` is a remark, and which gaps are listed depends on the order of the rows imported;
    neither says anything of the data.
    """
    fields = [each.name for each in attrs.fields(StoredMeta)]
    return tuple(
        name
        for name in fields
        if name not in ("source", "gaps") and getattr(stored, name) != getattr(true, name)
    )
