"""Stored datasets: names, paths, listing, loading, verification and writing.

Each dataset has one directory under ``market/`` of the data directory. ``market/NAME/`` has
``bars.parquet`` (``symbol, ts, open, high, low, close, volume``, sorted by symbol and time, which
is also a layout for imports), ``funding.parquet``, ``open_interest.parquet``, those of
``OPTIONAL_FILES`` that it has data for, and ``meta.json`` (symbols, period, ranges, gaps, counts
and the SHA-256 of each file; every load checks the hashes).
A dataset is written to a temporary directory, registered by ``digests.py`` and renamed, so it is
complete or absent. A crash while one dataset replaces another may leave neither of them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import attrs
import pyarrow.parquet as pq

from kamou.core.market.bar_checks import Gap
from kamou.core.market.bars import Dataset
from kamou.core.market.symbols import is_symbol
from kamou.data_directory.private_files import create_directory
from kamou.errors import DiskFullError, InvalidDataError, StoreError
from kamou.escaping import escape_text, show_text
from kamou.settings.config import DataSettings
from kamou.store.dataset_description import (
    META,
    StoredGap,
    StoredMeta,
    SymbolRange,
    data_files,
    describe_dataset,
    description_differences,
    read_meta,
)
from kamou.store.dataset_tables import make_table, read_dataset
from kamou.store.digests import dataset_digest, register_digest
from kamou.store.foreign_files import file_sha256
from kamou.store.read_budget import DEFAULT_LIMITS, MEGABYTE
from kamou.venue.market.recorded import RecordedMarket

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
UNFINISHED = "."  # first character of a directory that is being written


@attrs.frozen(kw_only=True)
class DatasetSummary:
    """A dataset, as ``kamou data list`` shows it."""

    name: str
    path: Path
    symbols: int
    bars: int  # of all symbols
    period_ms: int
    first_ms: int
    last_ms: int  # close of the last bar
    ranges: tuple[SymbolRange, ...]
    gaps: tuple[StoredGap, ...]  # the first GAPS_LISTED_MAX
    gaps_total: int
    funding_rows: int
    open_interest_rows: int
    source: str  # name of the directory or file that it was imported from
    ratio_rows: int  # long/short ratios of all accounts
    top_ratio_rows: int  # those of top traders
    ratio_source: str  # the exchange of the ratios; empty: unknown
    premium_rows: int  # of the premium index
    sha256: str  # over the files of data


@attrs.frozen(kw_only=True)
class DamagedDataset:
    """A directory under ``market/`` that is not a valid dataset, with the reason."""

    name: str
    path: Path
    reason: str


def market_directory(data_dir: Path) -> Path:
    """Return the directory of all datasets."""
    return data_dir / "market"


def check_dataset_name(name: str) -> None:
    """Raise ``InvalidDataError`` if the name cannot be a dataset's name."""
    if not NAME_PATTERN.fullmatch(name):
        raise InvalidDataError(
            f"{show_text(name)} cannot name a dataset: use at most 64 letters, digits, '.', '_' "
            "and '-', first a letter or digit; choose another name (an import takes it from --name)"
        )


def dataset_path(data_dir: Path, name: str) -> Path:
    """Return the directory of a dataset.

    Raises:
        InvalidDataError: the name cannot be a dataset's name.
    """
    check_dataset_name(name)
    return market_directory(data_dir) / name


def list_datasets(data_dir: Path) -> tuple[DatasetSummary | DamagedDataset, ...]:
    """Return all datasets, valid or damaged, sorted by name, from their ``meta.json``.

    Before the first import there are none.

    Raises:
        InvalidDataError: the directory of all datasets cannot be read.
    """
    market = market_directory(data_dir)
    try:
        names = sorted(path.name for path in market.iterdir() if path.is_dir())
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise InvalidDataError(
            f"{market}: cannot be read: {error.strerror}; check its permissions"
        ) from error
    return tuple(_summarize(market / name) for name in names if not name.startswith(UNFINISHED))


def _summarize(path: Path) -> DatasetSummary | DamagedDataset:
    try:
        check_dataset_name(path.name)
        return read_summary(path)
    except InvalidDataError as error:
        return DamagedDataset(
            name=escape_text(path.name, chars_max=64), path=path, reason=str(error)
        )


def load_dataset(path: Path) -> RecordedMarket:
    """Load a dataset that this store wrote, and check the hashes of its files.

    The rows are not checked, because the import checked them. ``importer.open_directory`` calls
    this only for datasets with a registered digest.

    Raises:
        InvalidDataError: a file is missing, was changed, or has another format.
    """
    meta = read_meta(path)
    verify_files(path, meta, DataSettings(unpacked_mb_max=2**40))  # any size
    return RecordedMarket(read_dataset(path, meta))


def verify_files(path: Path, meta: StoredMeta, limits: DataSettings) -> None:
    """Raise ``InvalidDataError`` unless each file has the hash in ``meta``.

    A file larger than ``limits.unpacked_mb_max`` is invalid too.
    """
    for name in meta.files:
        try:
            found = file_sha256(path / name, limits.unpacked_mb_max * MEGABYTE)
        except InvalidDataError as error:
            raise InvalidDataError(
                f"{escape_text(str(path))}: {error}, or import the dataset again"
            ) from error
        if found != meta.files[name]:
            raise InvalidDataError(
                f"{escape_text(str(path / name))}: not the file that was imported (its SHA-256 "
                "differs); if this store wrote the dataset, import it again with --replace; if "
                f"not, remove {META} to read and check the files without it"
            )


def read_summary(path: Path) -> DatasetSummary:
    """Return the summary of a dataset, from its ``meta.json``.

    Raises:
        InvalidDataError: ``meta.json`` is missing, unreadable or invalid.
    """
    return summarize_meta(path, read_meta(path))


def summarize_meta(path: Path, meta: StoredMeta) -> DatasetSummary:
    """Return the summary of a dataset at ``path`` with this description."""
    return DatasetSummary(
        name=path.name,
        path=path,
        symbols=len(meta.symbols),
        bars=meta.bars,
        period_ms=meta.period_ms,
        first_ms=meta.first_ms,
        last_ms=meta.last_ms,
        ranges=meta.ranges,
        gaps=meta.gaps,
        gaps_total=meta.gaps_total,
        funding_rows=meta.funding_rows,
        open_interest_rows=meta.open_interest_rows,
        source=meta.source,
        ratio_rows=meta.ratio_rows,
        top_ratio_rows=meta.top_ratio_rows,
        ratio_source=meta.ratio_source,
        premium_rows=meta.premium_rows,
        sha256=meta.sha256,
    )


@attrs.frozen(kw_only=True)
class FoundGaps:
    """The first gaps of a dataset, and the number of all."""

    listed: tuple[Gap, ...] = ()
    total: int = 0


NO_GAPS = FoundGaps()


def write_dataset(
    data: Dataset,
    data_dir: Path,
    *,
    source: str,
    gaps: FoundGaps = NO_GAPS,
    replace: bool = False,
    limits: DataSettings = DEFAULT_LIMITS,
) -> tuple[DatasetSummary, bool]:
    """Store a checked dataset under its name.

    Args:
        data: the dataset.
        data_dir: the data directory.
        source: name of the directory or file that it was imported from.
        gaps: the missing bars of the dataset.
        replace: replace a different dataset of this name.
        limits: the ``data.*`` settings.

    Returns:
        The summary; and True if the same dataset was stored before, so that only its digest was
        registered. With ``replace`` the dataset is written all the same, and the value is False.

    Raises:
        InvalidDataError: the name is invalid; another or a damaged dataset has this name and
            ``replace`` is False; or another import stores a dataset at this moment.
        DiskFullError: the disk is full; no part of the dataset is left.
        StoreError: the data directory cannot be written.
    """
    target = dataset_path(data_dir, data.name)
    assert all(map(is_symbol, data.bars.symbols)), "the symbols were not checked by the import"
    with _write_errors(target):
        create_directory(target.parent)
        with _lock_market(target.parent):
            prefix = f"{UNFINISHED}{data.name}."
            temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=target.parent))
            try:
                meta = _write_files(data, temporary, source, gaps.listed, gaps.total)
                if target.exists() and not replace:
                    _check_same(target, meta, limits)
                    register_digest(target.parent, dataset_digest(target, _any_size()))
                    return read_summary(target), True
                register_digest(target.parent, dataset_digest(temporary, _any_size()))
                _put_in_place(temporary, target)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    return read_summary(target), False


def _any_size() -> int:
    return 2**63


def _write_files(
    data: Dataset, directory: Path, source: str, gaps: tuple[Gap, ...], gaps_total: int
) -> StoredMeta:
    names = data_files(data)
    for name in names:
        with _create_private(directory / name) as file:
            pq.write_table(make_table(data, name), file, compression="zstd")
    hashes = {name: file_sha256(directory / name, _any_size()) for name in names}
    meta = describe_dataset(data, source, gaps, gaps_total, hashes)
    with _create_private(directory / META) as file:
        file.write(meta.to_json())
    return meta


def _check_same(target: Path, meta: StoredMeta, limits: DataSettings) -> None:
    """Raise ``InvalidDataError`` if a dataset is damaged or differs from ``meta``.

    ``source`` and ``gaps`` may differ.
    """
    name = target.name
    try:
        stored = read_meta(target)
        if stored.sha256 == meta.sha256:
            verify_files(target, meta, limits)
    except InvalidDataError as error:
        raise InvalidDataError(
            f"a damaged dataset named {name!r} is already stored ({error}); --replace replaces it"
        ) from error
    if description_differences(stored, meta):
        raise InvalidDataError(
            f"a different dataset named {name!r} is already stored in "
            f"{escape_text(str(target.parent))}; choose another name with --name, or replace it "
            "with --replace"
        )


def _put_in_place(temporary: Path, target: Path) -> None:
    """Rename the temporary directory to ``target``.

    If the rename fails, the older dataset that it would replace is restored. A crash between the
    two renames loses the older dataset.
    """
    _sync(temporary)
    if target.exists():
        old = temporary / "replaced"
        target.rename(old)
        try:
            os.rename(temporary, target)
        except OSError:
            old.rename(target)
            raise
        shutil.rmtree(target / "replaced")
    else:
        temporary.rename(target)
    _sync(target.parent)


# --- writing ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _write_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFullError(
                f"{target}: no space left on the disk; nothing was stored; free some space"
            ) from error
        raise StoreError(
            f"{target}: cannot be written: {error.strerror or error}; check the permissions of its "
            "directory and the disk"
        ) from error


@contextlib.contextmanager
def _lock_market(market: Path) -> Iterator[None]:
    """Let one import store at a time; remove directories that killed imports left."""
    handle = os.open(market, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InvalidDataError(
                f"{escape_text(str(market))}: another import is storing a dataset; try again "
                "when it has ended"
            ) from error
        for path in market.iterdir():
            if path.name.startswith(UNFINISHED) and path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def _create_private(path: Path) -> Iterator[BinaryIO]:
    """Create a file that only its owner may read, whatever the umask."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(handle, "wb") as file:
        yield file


def _sync(path: Path) -> None:
    """Flush a directory and, if it is unfinished, its files to the disk."""
    files = [each for each in path.iterdir() if each.is_file()]
    for each in [*(files if path.name.startswith(UNFINISHED) else ()), path]:
        handle = os.open(each, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
