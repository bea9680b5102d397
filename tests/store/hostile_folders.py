"""Folders of files that mean harm or nothing: CSV, gzip, and what is no file at all."""

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
from market_files import (
    HOUR_MS,
    NOW_MS,
    START_MS,
    candle_rows,
    funding_rows,
    good_folder,
    open_interest_rows,
    write_csv,
)

from kamou.store.dataset_description import FILES
from kamou.store.importer import import_directory

HEADER = "symbol,ts,open,high,low,close,volume\n"
ROW = f"BTCUSDT,{START_MS},1,1,1,1,1\n"


def text(content: str | bytes, name: str = "c.csv") -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def bomb(part: bytes, times: int) -> Callable[[Path], None]:
    """A header, then a gzip member that unpacks to ``part`` so many times."""
    member = gzip.compress(part, 6)
    return text(gzip.compress(HEADER.encode()) + member * times, "c.csv.gz")


def many_symbols(folder: Path) -> None:
    rows = (
        f"S{at}USDT,{START_MS + bar * HOUR_MS},1,1,1,1,1\n"
        for at in range(60_000)
        for bar in (0, 1)
    )
    text(HEADER + "".join(rows))(folder)


def cell(column: str, value: Any, *, row: int = 6) -> Callable[[Path], None]:
    """Good bars but for one cell."""

    def make(folder: Path) -> None:
        rows = candle_rows()
        rows[row][column] = value
        write_csv(folder / "c.csv", rows)

    return make


def observed(file: str, column: str, value: Any) -> Callable[[Path], None]:
    """Good bars, and funding or open interest but for one cell."""

    def make(folder: Path) -> None:
        rows = funding_rows() if file == "funding.csv" else open_interest_rows()
        rows[2][column] = value
        write_csv(folder / "c.csv", candle_rows())
        write_csv(folder / file, rows)

    return make


def twice(folder: Path) -> None:
    write_csv(folder / "a.csv", candle_rows())
    write_csv(folder / "b.csv", candle_rows())


# --- no files ----------------------------------------------------------------------------------


def pipe(name: str) -> Callable[[Path], None]:
    """Nobody ever writes into it: reading it waits for ever."""

    def make(folder: Path) -> None:
        good_folder(folder)
        os.mkfifo(folder / name)

    return make


def socket_file(folder: Path) -> None:
    good_folder(folder)
    here = os.getcwd()
    os.chdir(folder)  # a socket's path has 107 bytes at most
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("c.csv")
    finally:
        os.chdir(here)


def link(to: str, name: str = "more.csv") -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        good_folder(folder)
        write_csv(folder.parent.parent / "outside.csv", candle_rows())
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(to)

    return make


def too_many_files(folder: Path) -> None:
    folder.mkdir(parents=True)
    for at in range(10_001):
        (folder / f"{at}.csv").touch()


# --- datasets -------------------------------------------------------------------------------


def stored_set(folder: Path) -> Path:
    """A valid dataset that no registry of the reader knows."""
    source = good_folder(folder.parent.parent / "sources" / folder.name)
    elsewhere = folder.parent.parent / "elsewhere" / folder.name
    stored = import_directory(source, elsewhere, now_ms=NOW_MS).summary.path
    folder.parent.mkdir(parents=True, exist_ok=True)
    stored.rename(folder)
    return folder


def meta(**changes: Any) -> Callable[[Path], None]:
    """A dataset whose ``meta.json`` says something else; ``...`` removes a key."""

    def make(folder: Path) -> None:
        path = stored_set(folder) / "meta.json"
        said = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: it for key, it in said.items() if it is not ...}))

    return make


def meta_text(content: str | bytes) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        path = stored_set(folder) / "meta.json"
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return make


def meta_files(**changes: Any) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        path = stored_set(folder) / "meta.json"
        said = json.loads(path.read_text())
        said["files"] |= changes
        path.write_text(json.dumps(said))

    return make


def set_without(name: str, put: Callable[[Path], object]) -> Callable[[Path], None]:
    """A dataset in which something else stands in a file's place."""

    def make(folder: Path) -> None:
        path = stored_set(folder) / name
        path.unlink()
        put(path)

    return make


def set_of(column: str, value: Any, file: str = "bars.parquet") -> Callable[[Path], None]:
    """A dataset with one unfit cell whose hashes agree: whoever made it knew how."""

    def make(folder: Path) -> None:
        path = stored_set(folder) / file
        table = pq.read_table(path)
        cells = table[column].to_pylist()
        cells[5] = value
        at = table.schema.names.index(column)
        table = table.set_column(at, column, pa.array(cells, table.schema.field(at).type))
        pq.write_table(table, path)
        rehash(folder)

    return make


def rehash(folder: Path) -> None:
    """Let ``meta.json`` give the hashes of the files as they are now."""
    said = json.loads((folder / "meta.json").read_text())
    for name in said["files"]:
        said["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    together = "".join(said["files"][name] for name in FILES)
    said["sha256"] = hashlib.sha256(together.encode()).hexdigest()
    (folder / "meta.json").write_text(json.dumps(said))
