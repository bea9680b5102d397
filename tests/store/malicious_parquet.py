"""Malicious Parquet files; each function writes one or returns its maker."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.store.market_files import HOUR_MS, START_MS, SYMBOLS, bar_rows

PRICES = ("open", "high", "low", "close", "volume")
ROWS = len(bar_rows())


def valid_table() -> pa.Table:
    return pa.Table.from_pylist(bar_rows())


def write(directory: Path, table: pa.Table, **options: Any) -> None:
    directory.mkdir(parents=True)
    pq.write_table(table, directory / "c.parquet", **options)


def with_column(name: str, values: Any) -> pa.Table:
    table = valid_table()
    return table.set_column(table.schema.names.index(name), name, values)


def constant_rows(count: int) -> pa.Table:
    """Return ``count`` equal rows: compressed, they have a few bytes."""
    symbol = pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int8)), ["BTCUSDT"])
    one = {name: np.ones(count) for name in PRICES}
    return pa.table({"symbol": symbol, "ts": np.full(count, START_MS), **one})


def eleven_million_rows(directory: Path) -> None:
    directory.mkdir(parents=True)
    table = constant_rows(1_000_000)
    with pq.ParquetWriter(directory / "c.parquet", table.schema, compression="zstd") as writer:
        for _ in range(11):
            writer.write_table(table)


def five_thousand_columns(directory: Path) -> None:
    write(directory, pa.table({f"c{at}": [1] for at in range(5_000)}))


def write_two_close_columns(directory: Path) -> None:
    table = valid_table()
    write(directory, table.append_column("close", table["open"]))


def nested(name: str) -> Any:
    def make(directory: Path) -> None:
        write(directory, with_column(name, pa.array([[1.0]] * ROWS)))

    return make


def endless_list(directory: Path) -> None:
    """Write one row with a list of four million values in a few bytes on the disk."""
    directory.mkdir(parents=True)
    many = pa.ListArray.from_arrays(
        pa.array([0, 4_000_000]), pa.array(np.zeros(4_000_000, np.int8))
    )
    table = valid_table().slice(0, 1)
    table = table.set_column(table.schema.names.index("open"), "open", many)
    pq.write_table(table, directory / "c.parquet", compression="zstd")


def typed(name: str, values: Any) -> Any:
    def make(directory: Path) -> None:
        write(directory, with_column(name, values))

    return make


def symbol_named(name: str | bytes | None) -> Any:
    """Return a maker of bars in which row 78 has this symbol."""

    def make(directory: Path) -> None:
        kind = pa.binary() if isinstance(name, bytes) else pa.string()
        names: list[Any] = [row["symbol"] for row in bar_rows()]
        names[77] = name
        if isinstance(name, bytes):
            names = [each if isinstance(each, bytes) else each.encode() for each in names]
        write(directory, with_column("symbol", pa.array(names, kind)))

    return make


def one_long_text_in_every_row(directory: Path) -> None:
    """Write 100,000 rows with one symbol of 2 MB, which the dictionary stores once."""
    rows = 100_000
    table = constant_rows(rows)
    symbol = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(rows, np.int32)), pa.array(["A" * 2_000_000])
    )
    write(directory, table.set_column(0, "symbol", symbol), compression="zstd")


def long_texts_unpacked(directory: Path) -> None:
    """Write a symbol of 100 kB in every row, which compresses to almost nothing."""
    names = pa.array(["A" * 100_000] * ROWS)
    write(directory, with_column("symbol", names), compression="zstd", use_dictionary=False)


def repeated_prefixes(directory: Path) -> None:
    write(
        directory,
        valid_table(),
        use_dictionary=False,
        column_encoding={"symbol": "DELTA_BYTE_ARRAY"},
    )


# --- footers that differ from the pages ------------------------------------------------------


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def replace_in_footer(path: Path, old: bytes, new: bytes, count: int = -1) -> None:
    """Replace bytes in the footer and correct its length."""
    content = path.read_bytes()
    size = struct.unpack("<I", content[-8:-4])[0]
    head, footer = content[: -8 - size], content[-8 - size : -8]
    assert old in footer
    footer = footer.replace(old, new, count)
    path.write_bytes(head + footer + struct.pack("<I", len(footer)) + b"PAR1")


I64 = 0x16  # Thrift compact: the next field, a 64-bit integer


def footer_with_rows(rows: int, *, everywhere: bool) -> Any:
    """Return a maker of a file whose footer has a wrong number of rows."""

    def make(directory: Path) -> None:
        write(directory, valid_table(), use_dictionary=False, write_statistics=False)
        old = bytes([I64]) + varint(ROWS * 2)  # zigzag
        new = bytes([I64]) + varint(rows * 2)
        replace_in_footer(directory / "c.parquet", old, new, -1 if everywhere else 1)

    return make


def short_histogram(directory: Path) -> None:
    """Write a level histogram of one number; Arrow's accessor expects two and ends the process."""
    write(directory, valid_table())
    two = bytes([2 << 4 | 6]) + varint(0) + varint(ROWS * 2)  # Thrift: a list of two integers
    replace_in_footer(directory / "c.parquet", two, bytes([1 << 4 | 6]) + varint(ROWS * 2))


def footer_of(content: bytes) -> Any:
    def make(directory: Path) -> None:
        directory.mkdir(parents=True)
        (directory / "c.parquet").write_bytes(content)

    return make


def too_many_groups(directory: Path) -> None:
    """Write a footer above the size limit."""
    directory.mkdir(parents=True)
    path = directory / "c.parquet"
    write_to = valid_table().slice(0, 1)
    pq.write_table(write_to, path)
    content = path.read_bytes()
    size = struct.unpack("<I", content[-8:-4])[0]
    footer = content[-8 - size : -8] + bytes(17 << 20)
    path.write_bytes(content[: -8 - size] + footer + struct.pack("<I", len(footer)) + b"PAR1")


def cut(part: float) -> Any:
    def make(directory: Path) -> None:
        write(directory, valid_table())
        content = (directory / "c.parquet").read_bytes()
        (directory / "c.parquet").write_bytes(content[: int(len(content) * part)])

    return make


def deep_schema(directory: Path) -> None:
    """Write a footer with a hundred thousand nested groups."""

    def group(name: bytes, children: int | None, kind: int | None) -> bytes:
        out, last = b"", 0
        if kind is not None:
            out, last = bytes([0x15]) + varint(kind * 2), 1
        out += bytes([(3 - last) << 4 | 5]) + varint(0)
        out += bytes([0x18]) + varint(len(name)) + name
        return out + (b"" if children is None else bytes([0x15]) + varint(children * 2)) + b"\0"

    deep = 100_000
    items = [group(b"schema", 1, None), *[group(b"a", 1, None)] * deep, group(b"x", None, 1)]
    body = bytes([0x15]) + varint(2) + bytes([0x19, 0xFC]) + varint(len(items)) + b"".join(items)
    body += bytes([I64]) + varint(0) + bytes([0x19, 0x0C]) + b"\0"
    footer_of(b"PAR1" + body + struct.pack("<I", len(body)) + b"PAR1")(directory)


# --- small files that need a large grid ------------------------------------------------------


def wide_and_sparse(directory: Path) -> None:
    """Write two bars, a minute apart, for each of fifty symbols: half of them in 2009."""
    rows: list[dict[str, Any]] = []
    for at in range(50):
        start = START_MS if at % 2 else 1_231_113_600_000
        for bar in range(2):
            rows.append(
                {"symbol": f"S{at}USDT", "ts": start + bar * 60_000, **dict.fromkeys(PRICES, 1.0)}
            )
    write(directory, pa.Table.from_pylist(rows))


def funding_at_every_minute(directory: Path) -> None:
    """Write two bars of each of 3,000 symbols, and 10,000 funding rates of one."""
    rows = [
        {"symbol": f"S{at}USDT", "ts": START_MS + bar * HOUR_MS, **dict.fromkeys(PRICES, 1.0)}
        for at in range(3_000)
        for bar in range(2)
    ]
    write(directory, pa.Table.from_pylist(rows))
    times = START_MS - 60_000 * np.arange(10_000, 0, -1)
    pq.write_table(
        pa.table({"symbol": ["S0USDT"] * 10_000, "ts": times, "funding_rate": np.zeros(10_000)}),
        directory / "funding.parquet",
    )


def date_times() -> Any:
    day = 86_400_000
    days = [START_MS // day + at for at in range(16)] * len(SYMBOLS) * 3
    return pa.array(days[:ROWS], pa.int32()).cast(pa.date32())
