"""Directories of invalid Feather files, zip archives and JSON arrays."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.feather

from tests.store.malicious_files import HEADER, ROW
from tests.store.market_files import bar_rows

Make = Callable[[Path], None]
FILE = "BTCUSDT.feather"


def feather(table: pa.Table, compression: str = "zstd") -> bytes:
    sink = pa.BufferOutputStream()
    pa.feather.write_feather(table, sink, compression=compression)
    return bytes(sink.getvalue())


def valid_table() -> pa.Table:
    return pa.Table.from_pylist(bar_rows())


def write_bytes(content: Callable[[], bytes], name: str = FILE) -> Make:
    def make(directory: Path) -> None:
        directory.mkdir(parents=True)
        (directory / name).write_bytes(content())

    return make


def promised_length(length: int) -> Make:
    """Return a maker of a file in which every packed buffer promises this unpacked length."""

    def content() -> bytes:
        names = ("open", "high", "low", "close", "volume", "timestamp")
        table = pa.table({name: pa.array([0] * 4096, pa.int64()) for name in names})
        said, magic = struct.pack("<q", 4096 * 8), b"\x28\xb5\x2f\xfd"  # of zstd
        return feather(table).replace(said + magic, struct.pack("<q", length) + magic)

    return write_bytes(content)


def long_texts() -> bytes:
    table = valid_table()
    return feather(table.append_column("note", pa.array(["x" * 100_000] * len(table))))


def cut(share: float) -> Make:
    def content() -> bytes:
        whole = feather(valid_table())
        return whole[: int(share * len(whole))]

    return write_bytes(content)


def damaged() -> bytes:
    """Return a file whose footer has bytes of another place."""
    whole = bytearray(feather(valid_table()))
    (length,) = struct.unpack_from("<i", whole, len(whole) - 10)
    start = len(whole) - 10 - length
    whole[start + 8 : start + 40] = b"\xff" * 32
    return bytes(whole)


def two_columns_of_one_name() -> bytes:
    table = valid_table()
    return feather(table.append_column("close", table["close"]))


def archive(*files: tuple[str, bytes], name: str = "BTCUSDT.zip") -> Make:
    def make(directory: Path) -> None:
        directory.mkdir(parents=True)
        with zipfile.ZipFile(directory / name, "w", zipfile.ZIP_DEFLATED) as packed:
            for inner, content in files:
                packed.writestr(inner, content)

    return make


def archive_with(change: Callable[[bytearray], None]) -> Make:
    """Return a maker of a valid archive whose bytes are changed."""
    valid = archive(("c.csv", (HEADER + ROW).encode()))

    def make(directory: Path) -> None:
        valid(directory)
        path = directory / "BTCUSDT.zip"
        content = bytearray(path.read_bytes())
        change(content)
        path.write_bytes(content)

    return make


def set_encrypted(content: bytearray) -> None:
    content[content.index(b"PK\1\2") + 8] |= 1


def promise_entries(content: bytearray) -> None:
    struct.pack_into("<H", content, content.rindex(b"PK\5\6") + 10, 60_000)


def cut_end(content: bytearray) -> None:
    del content[-30:]


CASES: dict[str, tuple[Make, str]] = {
    "feather_terabyte": (promised_length(2**40), "batch of 4,096 rows unpacks to"),
    "feather_negative": (promised_length(-7), "a negative length"),
    "feather_short": (promised_length(16), "BTCUSDT.feather: cannot be read"),
    "feather_long_texts": (write_bytes(long_texts), "batch of 144 rows unpacks to 14,4"),
    "feather_cut": (cut(0.7), "BTCUSDT.feather: cannot be read"),
    "feather_cut_short": (cut(0.01), "BTCUSDT.feather: cannot be read"),
    "feather_empty": (write_bytes(bytes), "BTCUSDT.feather: cannot be read"),
    "feather_none": (write_bytes(lambda: b"FEA1" * 9), "does not end with the magic of Arrow"),
    "feather_footer": (write_bytes(damaged), "BTCUSDT.feather: cannot be read"),
    "feather_twins": (write_bytes(two_columns_of_one_name), "two columns have the same name"),
    "zip_bomb": (archive(("c.csv", bytes(300_000_000))), "a line has more than 65,536 bytes"),
    "zip_rows": (
        archive(("c.csv", HEADER.encode() + b",,,,,,\n" * 11_000_000)),
        "more than 10,000,000 rows",
    ),
    "zip_of_two": (archive(("a.csv", b""), ("b.csv", b"")), "the archive has 2 files, expected"),
    "zip_of_none": (archive(), "the archive has 0 files, expected one"),
    "zip_of_exe": (archive(("a.exe", b"MZ")), "the file in the archive is not CSV or JSON"),
    "zip_encrypted": (archive_with(set_encrypted), "'c.csv' is encrypted"),
    "zip_entries": (archive_with(promise_entries), "the archive's directory has 60,000 entries"),
    "zip_cut": (archive_with(cut_end), "BTCUSDT.zip: cannot be read: not a whole zip archive"),
    "zip_none": (write_bytes(lambda: b"nothing", "BTCUSDT.zip"), "not a whole zip archive"),
    "json_objects": (
        write_bytes(lambda: b'{"a": [1, 2]}', "BTCUSDT.json"),
        "no bars; add a file with columns of time",
    ),
    "json_deep": (
        write_bytes(lambda: b"[" * 2_000_000, "BTCUSDT.json"),
        "BTCUSDT.json: a line has more than 65,536 bytes",
    ),
    "json_texts": (
        write_bytes(lambda: b'[["a","b",1,1,1,1],["\x1b[31m",1,1,1,1,1]]', "BTCUSDT.json"),
        "row 1: open_time is 'a', expected a time",
    ),
}
