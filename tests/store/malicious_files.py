"""Directories of invalid files: CSV, gzip, datasets, and pipes or links."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kamou.store.dataset_description import FILES
from kamou.store.importer import import_directory
from tests.store.market_files import (
    HOUR_MS,
    NOW_MS,
    START_MS,
    bar_rows,
    funding_rows,
    open_interest_rows,
    write_csv,
    write_valid_files,
)

HEADER = "symbol,ts,open,high,low,close,volume\n"
ROW = f"BTCUSDT,{START_MS},1,1,1,1,1\n"


def text(content: str | bytes, name: str = "c.csv") -> Callable[[Path], None]:
    def make(directory: Path) -> None:
        directory.mkdir(parents=True)
        (directory / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def bomb(part: bytes, times: int) -> Callable[[Path], None]:
    """Return a maker of a gzip file: a header, then ``times`` times ``part``."""
    member = gzip.compress(part, 6)
    return text(gzip.compress(HEADER.encode()) + member * times, "c.csv.gz")


def write_many_symbols(directory: Path) -> None:
    rows = (
        f"S{at}USDT,{START_MS + bar * HOUR_MS},1,1,1,1,1\n"
        for at in range(60_000)
        for bar in (0, 1)
    )
    text(HEADER + "".join(rows))(directory)


def cell(column: str, value: Any, *, row: int = 6) -> Callable[[Path], None]:
    """Return a maker of bars that are valid except for one cell."""

    def make(directory: Path) -> None:
        rows = bar_rows()
        rows[row][column] = value
        write_csv(directory / "c.csv", rows)

    return make


def observation_cell(file: str, column: str, value: Any) -> Callable[[Path], None]:
    """Return a maker of valid bars, and of observations with one changed cell."""

    def make(directory: Path) -> None:
        rows = funding_rows() if file == "funding.csv" else open_interest_rows()
        rows[2][column] = value
        write_csv(directory / "c.csv", bar_rows())
        write_csv(directory / file, rows)

    return make


def write_same_bars_twice(directory: Path) -> None:
    write_csv(directory / "a.csv", bar_rows())
    write_csv(directory / "b.csv", bar_rows())


# --- entries that are no files ---------------------------------------------------------------


def pipe(name: str) -> Callable[[Path], None]:
    """Return a maker of a pipe without a writer: a read of it blocks for ever."""

    def make(directory: Path) -> None:
        write_valid_files(directory)
        os.mkfifo(directory / name)

    return make


def make_socket(directory: Path) -> None:
    write_valid_files(directory)
    here = os.getcwd()
    os.chdir(directory)  # a socket's path has 107 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("c.csv")
    finally:
        os.chdir(here)


def link(to: str, name: str = "more.csv") -> Callable[[Path], None]:
    def make(directory: Path) -> None:
        write_valid_files(directory)
        write_csv(directory.parent.parent / "outside.csv", bar_rows())
        (directory / name).unlink(missing_ok=True)
        (directory / name).symlink_to(to)

    return make


def write_too_many_files(directory: Path) -> None:
    directory.mkdir(parents=True)
    for at in range(10_001):
        (directory / f"{at}.csv").touch()


# --- datasets --------------------------------------------------------------------------------


def write_dataset(directory: Path) -> Path:
    """Write a valid dataset that the registry of the reader does not list."""
    source = write_valid_files(directory.parent.parent / "sources" / directory.name)
    elsewhere = directory.parent.parent / "elsewhere" / directory.name
    stored = import_directory(source, elsewhere, now_ms=NOW_MS).summary.path
    directory.parent.mkdir(parents=True, exist_ok=True)
    stored.rename(directory)
    return directory


def meta(**changes: Any) -> Callable[[Path], None]:
    """Return a maker of a dataset with a changed ``meta.json``; ``...`` removes a key."""

    def make(directory: Path) -> None:
        path = write_dataset(directory) / "meta.json"
        fields = json.loads(path.read_text()) | changes
        path.write_text(
            json.dumps({key: value for key, value in fields.items() if value is not ...})
        )

    return make


def meta_text(content: str | bytes) -> Callable[[Path], None]:
    def make(directory: Path) -> None:
        path = write_dataset(directory) / "meta.json"
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def meta_files(**changes: Any) -> Callable[[Path], None]:
    def make(directory: Path) -> None:
        path = write_dataset(directory) / "meta.json"
        fields = json.loads(path.read_text())
        fields["files"] |= changes
        path.write_text(json.dumps(fields))

    return make


def dataset_without(name: str, put: Callable[[Path], object]) -> Callable[[Path], None]:
    """Return a maker of a dataset in which ``put`` replaces a file."""

    def make(directory: Path) -> None:
        path = write_dataset(directory) / name
        path.unlink()
        put(path)

    return make


def dataset_with_cell(
    column: str, value: Any, file: str = "bars.parquet"
) -> Callable[[Path], None]:
    """Return a maker of a dataset with one invalid cell and correct hashes."""

    def make(directory: Path) -> None:
        path = write_dataset(directory) / file
        table = pq.read_table(path)
        cells = table[column].to_pylist()
        cells[5] = value
        at = table.schema.names.index(column)
        table = table.set_column(at, column, pa.array(cells, table.schema.field(at).type))
        pq.write_table(table, path)
        rehash(directory)

    return make


def dataset_with_copy(column: str, name: str) -> Callable[[Path], None]:
    """Return a maker of a dataset whose bars have a column twice, and correct hashes."""

    def make(directory: Path) -> None:
        path = write_dataset(directory) / "bars.parquet"
        table = pq.read_table(path)
        pq.write_table(table.append_column(name, table[column]), path)
        rehash(directory)

    return make


def rehash(directory: Path) -> None:
    """Write the hashes of the present files into ``meta.json``."""
    fields = json.loads((directory / "meta.json").read_text())
    for name in fields["files"]:
        fields["files"][name] = hashlib.sha256((directory / name).read_bytes()).hexdigest()
    together = "".join(fields["files"][name] for name in FILES)
    fields["sha256"] = hashlib.sha256(together.encode()).hexdigest()
    (directory / "meta.json").write_text(json.dumps(fields))
