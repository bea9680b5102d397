"""A dataset's ``meta.json``: computing, parsing, comparing; names of its files.

The description of a dataset that this store did not write is not trusted: its files are read and
checked, the same fields are computed, and the dataset is invalid if a field other than ``source``
and ``gaps`` differs.
"""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import attrs
import msgspec
import numpy as np

from kamou.core.arrays import Floats
from kamou.core.day import DAY_MS
from kamou.core.market.bar_checks import EPOCH_MIN_MS, Gap
from kamou.core.market.bars import Dataset
from kamou.core.market.symbols import SYMBOL_EXPECTED, is_symbol
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
RATIOS_FILE, TOP_RATIOS_FILE, PREMIUM_FILE = (
    "long_short_ratios.parquet",
    "top_trader_ratios.parquet",
    "premium_index.parquet",
)
# Only of a dataset that has the data, so that one without it is stored as before there were any.
OPTIONAL_FILES = (RATIOS_FILE, TOP_RATIOS_FILE, PREMIUM_FILE)
BAR_FIELDS = ("open", "high", "low", "close", "volume")
AVAILABLE = "available_ms"  # the time column of a series
GAPS_LISTED_MAX = 100  # in meta.json; ``gaps_total`` counts all
META_BYTES_MAX = 32 << 20  # enough for the ranges of a hundred thousand symbols
SOURCE_CHARS_MAX = 120
YEAR_9999_MS = 253_402_300_799_999  # the last millisecond that ``datetime`` can show

Count = Annotated[int, msgspec.Meta(ge=0, le=10**12)]
Time = Annotated[int, msgspec.Meta(ge=EPOCH_MIN_MS, le=YEAR_9999_MS)]
PeriodMs = Annotated[int, msgspec.Meta(ge=1, le=YEAR_9999_MS)]
Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


@attrs.frozen(kw_only=True)
class SymbolRange:
    """The first and the last bar of a symbol, and the number of its bars."""

    symbol: str
    first_ms: Time  # open of its first bar
    last_ms: Time  # close of its last bar
    bars: Count


@attrs.frozen(kw_only=True)
class StoredGap:
    """A ``Gap`` in ``meta.json``."""

    symbol: str
    after_ms: Time
    before_ms: Time
    bars: Count


@attrs.frozen(kw_only=True)
class StoredMeta:
    """The fields of ``meta.json`` in the order of the file.

    ``files`` has the SHA-256 of each file in hex, and ``sha256`` is a hash over these. The fields
    with a default are in the file only if they differ from it.
    """

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
    ratio_rows: Count = 0  # ratios of all accounts
    top_ratio_rows: Count = 0
    ratio_period_ms: PeriodMs | None = None
    ratio_source: str = ""  # the exchange whose accounts the ratios count; empty: unknown
    premium_rows: Count = 0
    premium_period_ms: PeriodMs | None = None

    def to_json(self) -> bytes:
        """Return the content of ``meta.json``."""
        unset = [
            each.name
            for each in attrs.fields(StoredMeta)
            if each.default is not attrs.NOTHING and getattr(self, each.name) == each.default
        ]
        fields = {name: each for name, each in attrs.asdict(self).items() if name not in unset}
        return json.dumps(fields, indent=1).encode()


class _Format(msgspec.Struct):
    format: int


def is_dataset_directory(directory: Path) -> bool:
    """Return True if the directory has a dataset's description and bars."""
    return (directory / META).exists() and (directory / BARS_FILE).exists()


def read_meta(directory: Path) -> StoredMeta:
    """Parse the ``meta.json`` of a dataset.

    Raises:
        InvalidDataError: the file is missing, unreadable, larger than ``META_BYTES_MAX``, malformed
            or of another format, or a field is invalid.
    """
    shown = escape_text(str(directory))
    try:
        content = read_bounded(directory / META, META_BYTES_MAX)
        stored = msgspec.json.decode(content, type=_Format).format
        if stored != FORMAT:
            raise InvalidDataError(
                f"{shown}: stored in format {stored}, this Kamou reads {FORMAT}; use the Kamou "
                "that wrote it, or import its source files again with --replace"
            )
        meta = msgspec.json.decode(content, type=StoredMeta)
        _check(meta)
    except (ValueError, RecursionError) as error:
        raise InvalidDataError(
            f"{shown}: no readable {META} ({escape_text(str(error), chars_max=200)}); if this "
            "store wrote the dataset, delete it and import it again; if not, remove "
            f"{META} to read and check the files without it"
        ) from error
    return meta


def _check(meta: StoredMeta) -> None:
    """Raise ``ValueError`` if the files, the symbols or the source are invalid."""
    if not set(FILES) <= set(meta.files) <= {*FILES, *OPTIONAL_FILES}:
        found = ", ".join(sorted(meta.files))[:100]
        raise ValueError(
            f"files must be {', '.join(FILES)}, or also {', '.join(OPTIONAL_FILES)}, not "
            f"{found or 'none'}"
        )
    names = [
        *meta.symbols,
        *(each.symbol for each in meta.ranges),
        *(each.symbol for each in meta.gaps),
    ]
    if unfit := [name for name in names if not is_symbol(name)]:
        raise ValueError(f"{unfit[0][:60]!r} cannot be a symbol; expected {SYMBOL_EXPECTED}")
    if not meta.symbols:
        raise ValueError("symbols is empty; a dataset has at least one")
    for before, symbol in pairwise(meta.symbols):
        if symbol <= before:
            raise ValueError(f"symbols must be sorted, each once: {symbol} follows {before}")
    if meta.source != escape_text(meta.source, chars_max=SOURCE_CHARS_MAX):
        raise ValueError(f"source must be one line of at most {SOURCE_CHARS_MAX} characters")
    if meta.ratio_source and not meta.ratio_source.isalnum():
        raise ValueError("ratio_source must be an exchange's name, of letters and digits")
    if len(meta.ratio_source) > SOURCE_CHARS_MAX:
        raise ValueError(f"ratio_source must have at most {SOURCE_CHARS_MAX} characters")


def data_files(data: Dataset) -> tuple[str, ...]:
    """Return the names of a dataset's files, without ``meta.json``."""
    has_top = data.ratios is not None and bool(np.isfinite(data.ratios.top_traders).any())
    has = (data.ratios is not None, has_top, data.premium is not None)
    return (*FILES, *(name for name, there in zip(OPTIONAL_FILES, has, strict=True) if there))


def describe_dataset(
    data: Dataset, source: str, gaps: tuple[Gap, ...], gaps_total: int, files: dict[str, str]
) -> StoredMeta:
    """Compute the description of a dataset.

    Args:
        data: the dataset; each symbol has at least one bar.
        source: name of the directory or file that it was imported from.
        gaps: the first of the ``gaps_total`` gaps; at most ``GAPS_LISTED_MAX`` are listed.
        gaps_total: number of all gaps.
        files: SHA-256 of each of ``data_files``, in hex.
    """
    ratios, premium = data.ratios, data.premium
    hashes = "".join(files[name] for name in data_files(data))
    bars = data.bars
    present = ~np.isnan(bars.close)
    first = present.argmax(axis=0)
    last = len(present) - 1 - present[::-1].argmax(axis=0)
    counts = present.sum(axis=0)
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
        sha256=hashlib.sha256(hashes.encode()).hexdigest(),
        ratio_rows=_count_known(None if ratios is None else ratios.values),
        top_ratio_rows=_count_known(None if ratios is None else ratios.top_traders),
        ratio_period_ms=None if ratios is None else ratios.period_ms,
        ratio_source=data.ratio_source,
        premium_rows=_count_known(None if premium is None else premium.values),
        premium_period_ms=None if premium is None else premium.period_ms,
    )


def _count_known(values: Floats | None) -> int:
    return 0 if values is None else int(np.count_nonzero(~np.isnan(values)))


def description_differences(stored: StoredMeta, computed: StoredMeta) -> tuple[str, ...]:
    """Return the names of the fields in which two descriptions differ.

    ``source`` and ``gaps`` are not compared: the source does not describe the data, and which
    gaps are listed depends on the order of the imported rows.
    """
    fields = [each.name for each in attrs.fields(StoredMeta)]
    return tuple(
        name
        for name in fields
        if name not in ("source", "gaps") and getattr(stored, name) != getattr(computed, name)
    )
