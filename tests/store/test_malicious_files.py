"""Malicious files give short errors, take little memory and leave nothing behind.

One child process with a limited address space imports all cases, so that a decompression bomb can
end the child only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.store import malicious_archives as archives
from tests.store import malicious_files as files
from tests.store import malicious_parquet as parquet
from tests.store.malicious_files import HEADER, ROW
from tests.store.market_files import HOUR_MS, NOW_MS, START_MS

CHILD = Path(__file__).parent / "import_child.py"
CHILD_S = 240  # deadline of the child for all cases: no case may block
# Arrow's own allocator reserves a gigabyte of addresses at once. If that fails, its threads die or
# block. With the system's allocator the child needs a third of its address space.
SMALL_ALLOCATIONS = {
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
PEAK_MB = 700  # resident; the interpreter with Arrow takes 130
LINES_MAX = 13  # the first line, ten rows, how many more, the next step
LINE_CHARS_MAX = 800
ONES = pa.array([1] * parquet.ROWS)

Make = Callable[[Path], None]

CASES: dict[str, tuple[Make, str]] = {
    **archives.CASES,
    # Parquet: size
    "rows": (parquet.eleven_million_rows, "more than 10,000,000 rows (setting data.rows_max)"),
    "columns": (
        parquet.five_thousand_columns,
        "more than 1,000 columns (setting data.columns_max)",
    ),
    "long_text": (
        parquet.one_long_text_in_every_row,
        "a page of 1 values of column symbol decompresses to 2,000,004",
    ),
    "long_texts": (parquet.long_texts_unpacked, "decompresses to"),
    "prefixes": (parquet.repeated_prefixes, "DELTA_BYTE_ARRAY"),
    "endless_list": (parquet.endless_list, "column open is of type list"),
    "sparse": (parquet.wide_and_sparse, "make more than 20,000,000 cells"),
    "funding_sparse": (parquet.funding_at_every_minute, "make more than 20,000,000 cells"),
    "footer_of_17_mb": (parquet.too_many_groups, "the footer has 17,8"),
    # Parquet: types and names
    "twins": (parquet.write_two_close_columns, "two columns have the same name"),
    "nested_symbol": (parquet.nested("symbol"), "column symbol is of type list"),
    "nested_time": (parquet.nested("ts"), "column ts is of type list"),
    "struct_time": (
        parquet.typed("ts", pa.array([{"a": 1}] * parquet.ROWS)),
        "column ts is of type struct",
    ),
    "number_symbol": (parquet.typed("symbol", ONES), "column symbol is of type int64"),
    "bool_price": (
        parquet.typed("open", pa.array([True] * parquet.ROWS)),
        "column open is of type bool; expected numbers",
    ),
    "null_price": (parquet.typed("open", pa.nulls(parquet.ROWS)), "column open is of type null"),
    "time_of_day": (
        parquet.typed("ts", pa.array([1] * parquet.ROWS, pa.time64("us"))),
        "column ts is of type time64[us]; expected times",
    ),
    "nanoseconds": (
        parquet.typed("ts", pa.array([START_MS * 10**6 + 1] * parquet.ROWS, pa.timestamp("ns"))),
        "row 1: ts is 2025-01-01 00:00:00.000000001, expected whole milliseconds in 64 bits",
    ),
    "dates": (parquet.typed("ts", parquet.date_times()), "rows invalid"),
    "bytes_no_utf8": (parquet.symbol_named(b"\xff\xfe"), "row 78: symbol is not UTF-8"),
    "no_symbol": (parquet.symbol_named(None), "c.parquet: row 78: no symbol"),
    "blank": (parquet.symbol_named("BTCUSDT "), "row 78: symbol is 'BTCUSDT ', expected 1 to 40"),
    "escape": (parquet.symbol_named("\x1b[2JBTC\nUSDT"), r"symbol is '\x1b[2JBTC\nUSDT'"),
    "override": (parquet.symbol_named("\u202eTDSU"), r"symbol is '\u202eTDSU'"),
    "upwards": (parquet.symbol_named("A/../../x"), "symbol is 'A/../../x'"),
    "empty_name": (parquet.symbol_named(""), "symbol is ''"),
    "reserved": (parquet.symbol_named("available_ms"), "symbol is 'available_ms'"),
    "long_name": (parquet.symbol_named("A" * 60), "symbol is 'AAAA"),
    # Parquet: wrong footers and damage
    "says_more": (parquet.footer_with_rows(8_191, everywhere=False), "c.parquet: cannot be read"),
    "says_less": (parquet.footer_with_rows(9, everywhere=False), "c.parquet: cannot be read"),
    "all_say_more": (
        parquet.footer_with_rows(9_000_000, everywhere=True),
        "c.parquet: cannot be read",
    ),
    "all_say_less": (parquet.footer_with_rows(9, everywhere=True), "c.parquet: cannot be read"),
    "histogram": (parquet.short_histogram, "c.parquet: cannot be read: Definition level"),
    "cut": (parquet.cut(0.7), "c.parquet: cannot be read"),
    "cut_short": (parquet.cut(0.001), "c.parquet: cannot be read"),
    "empty": (parquet.footer_of(b""), "c.parquet: cannot be read"),
    "magic_alone": (parquet.footer_of(b"PAR1"), "c.parquet: cannot be read"),
    "magic_twice": (parquet.footer_of(b"PAR1PAR1"), "c.parquet: cannot be read"),
    "long_footer": (parquet.footer_of(b"PAR1\xff\xff\xff\xffPAR1"), "the footer has 4,294,967,295"),
    "deep_schema": (parquet.deep_schema, "c.parquet: cannot be read"),
    # CSV and gzip
    "endless_line": (files.text(HEADER + "1" * 2_000_000), "a line has more than 65,536 bytes"),
    "endless_header": (files.text("a" * 2_000_000), "a line has more than 65,536 bytes"),
    "million_columns": (files.text("," * 2_000_000 + "\n"), "a line has more than 65,536 bytes"),
    "many_columns": (files.text("x," * 5_000 + "\n"), "more than 1,000 columns"),
    "nul_bytes": (files.text(HEADER + ROW.replace("T,", "T\0,")), r"symbol is 'BTCUSDT\x00'"),
    "nul_number": (files.text(HEADER + ROW.replace(",1,", ",1\0,")), r"open is '1\x00', not a"),
    "symbols": (files.write_many_symbols, "more than 5,000 symbols (setting data.symbols_max)"),
    "gzip_rows": (files.bomb(b",,,,,,\n" * 100_000, 110), "more than 10,000,000 rows"),
    "gzip_bytes": (
        files.bomb((",".join(["1" * 8_000] * 7) + "\n").encode() * 20, 300),
        "more than 200 MB unpacked (setting data.unpacked_mb_max)",
    ),
    "gzip_zeros": (files.bomb(bytes(10_000_000), 300), "a line has more than 65,536 bytes"),
    "gzip_cut": (files.text(b"\x1f\x8b\x08\0\0\0", "c.csv.gz"), "c.csv.gz: cannot be read"),
    "gzip_none": (files.text("nothing", "c.csv.gz"), "c.csv.gz: cannot be read"),
    "utf_16": (files.text((HEADER + ROW).encode("utf-16")), "c.csv: cannot be read"),
    "latin": (files.text((HEADER + ROW).replace("BTC", "\xe9").encode("latin-1")), "c.csv: "),
    "ragged": (files.text(HEADER + ROW + "\x1b[31m,1\n"), "Expected 7 columns, got 2: \\x1b[31m"),
    "quote": (files.text(HEADER + ROW + '"' + ROW * 40_000), "c.csv: cannot be read"),
    "name_twice": (files.text(HEADER.replace("open", "close") + ROW), "c.csv: "),
    "close_twice": (
        files.text(HEADER.replace("\n", ",close\n") + ROW.replace("\n", ",9\n")),
        "two columns are named close",
    ),
    # values
    "infinite": (files.cell("high", "inf"), "a price or the volume is NaN"),
    "huge_price": (files.cell("high", "1e308"), "not between 1e-09 and 1e+12"),
    "tiny_price": (files.cell("low", "1e-300"), "not between 1e-09 and 1e+12"),
    "negative": (files.cell("low", "-1"), "a price is not positive"),
    "negative_volume": (files.cell("volume", "-1"), "the volume is negative"),
    "huge_volume": (files.cell("volume", "1e300"), "the volume is above 1e+18"),
    "high_below_low": (files.cell("high", "0.5"), "high is below"),
    "far_ahead": (files.cell("ts", START_MS + 285 * 365 * 24 * HOUR_MS), "closes in the future"),
    "last_time": (files.cell("ts", 2**63 - 1), "in nanoseconds, expected milliseconds"),
    "beyond_64_bits": (files.cell("ts", 2**70), "expected a time in whole seconds"),
    "first_time": (files.cell("ts", -(2**63)), "is before 2009"),
    "twice": (files.write_same_bars_twice, "is there twice"),
    "funding_rate": (files.observation_cell("funding.csv", "funding_rate", "0.5"), "beyond 5 %"),
    "funding_ahead": (files.observation_cell("funding.csv", "ts", NOW_MS * 2), "is in the future"),
    "open_interest": (
        files.observation_cell("i.csv", "sum_open_interest", "1e300"),
        "is above 1e+18",
    ),
    "open_interest_nan": (
        files.observation_cell("i.csv", "sum_open_interest", "nan"),
        "the value is NaN",
    ),
    # entries that are no files
    "pipe": (files.pipe("c.csv"), "c.csv: not a regular file"),
    "socket": (files.make_socket, "c.csv: not a regular file"),
    "device": (files.link("/dev/zero", "c.csv"), "c.csv: a link to a place outside"),
    "link_out": (files.link("../../outside.csv"), "more.csv: a link to a place outside"),
    "link_absolute": (files.link("/etc/passwd"), "more.csv: a link to a place outside"),
    "link_nowhere": (files.link("nowhere.csv"), "more.csv: cannot be read"),
    "link_loop": (files.link("more.csv"), "more.csv: cannot be read"),
    "files": (files.write_too_many_files, "10,000 files and directories (setting data.files_max)"),
    # datasets
    "period_0": (files.meta(period_ms=0), "Expected `int` >= 1 - at `$.period_ms`"),
    "period_negative": (files.meta(period_ms=-1), "at `$.period_ms`"),
    "period_huge": (files.meta(period_ms=10**30), "at `$.period_ms`"),
    "period_bool": (files.meta(period_ms=True), "Expected `int`, got `bool`"),
    "period_float": (files.meta(period_ms=3_600_000.0), "Expected `int`, got `float`"),
    "period_text": (files.meta(period_ms="3600000"), "Expected `int`, got `str`"),
    "period_other": (files.meta(period_ms=1_800_000), "differs from the files in period_ms"),
    "period_none": (files.meta(period_ms=...), "missing required field `period_ms`"),
    "files_none": (files.meta(files=...), "missing required field `files`"),
    "first_early": (files.meta(first_ms=START_MS - HOUR_MS), "the files in first_ms"),
    "last_late": (files.meta(last_ms=START_MS * 5), "the files in last_ms"),
    "last_beyond": (files.meta(last_ms=10**18), "at `$.last_ms`"),
    "symbols_fewer": (files.meta(symbols=["BTCUSDT", "ETHUSDT"]), "its columns are not"),
    "symbols_unsorted": (files.meta(symbols=["ETHUSDT", "BTCUSDT"]), "symbols must be sorted"),
    "symbols_odd": (files.meta(symbols=["\x1b[2J"]), "cannot be a symbol"),
    "source_odd": (files.meta(source="a\nresults: http://x"), "source must be one line"),
    "open_interest_period": (
        files.meta(open_interest_period_ms=1),
        "the files in open_interest_period_ms",
    ),
    "digest_other": (files.meta(sha256="0" * 64), "the files in sha256"),
    "files_upwards": (files.meta_files(**{"../../x": "0" * 64}), "files must be"),
    "files_hash": (files.meta_files(**{"bars.parquet": "0" * 64}), "not the file that was"),
    "meta_deep": (files.meta_text('{"format":2,"x":' + "[" * 200_000), "no readable meta.json"),
    "meta_bytes": (files.meta_text(b"\xff\xfe\0"), "no readable meta.json"),
    "meta_list": (files.meta_text("[]"), "no readable meta.json"),
    "meta_empty": (files.meta_text(""), "no readable meta.json"),
    "meta_large": (files.meta_text(" " * (33 << 20)), "larger than 33,554,432 bytes"),
    "meta_format": (files.meta(format=1), "stored in format 1"),
    "meta_pipe": (files.dataset_without("meta.json", os.mkfifo), "meta.json: not a regular file"),
    "set_pipe": (files.dataset_without("funding.parquet", os.mkfifo), "not a regular file"),
    "set_link": (
        files.dataset_without("funding.parquet", lambda path: path.symlink_to("/etc/passwd")),
        "funding.parquet: a link to a place outside",
    ),
    "set_lacks": (files.dataset_without("funding.parquet", lambda path: None), "cannot be read"),
    "set_rows": (files.dataset_with_cell("high", 0.5), "high is below"),
    "set_negative": (files.dataset_with_cell("low", -1.0), "a price is not positive"),
    "set_infinite": (files.dataset_with_cell("high", np.inf), "a price or the volume is NaN"),
    "set_ahead": (
        files.dataset_with_cell("ts", START_MS + 285 * 8_766 * HOUR_MS),
        "closes in the future",
    ),
    "set_columns": (files.dataset_with_copy("open", "Open"), "two columns have one name"),
    "set_funding": (files.dataset_with_cell("BTCUSDT", 0.9, "funding.parquet"), "beyond 5 %"),
    "set_interest": (
        files.dataset_with_cell("BTCUSDT", -1.0, "open_interest.parquet"),
        "is negative",
    ),
    "set_times": (
        files.dataset_with_cell("available_ms", 2**62, "funding.parquet"),
        "in nanoseconds, expected milliseconds",
    ),
}


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the child's result of every case, and its peak memory."""
    base = tmp_path_factory.mktemp("malicious")
    for name, (make, _) in CASES.items():
        make(base / "cases" / name)
    results = base / "results.json"
    subprocess.run(
        [sys.executable, CHILD, base / "cases", base / "data", results],
        check=True,
        timeout=CHILD_S,
        env={**os.environ, **SMALL_ALLOCATIONS},
    )
    return {**json.loads(results.read_text()), "data": base / "data"}


@pytest.mark.parametrize("case", CASES)
def test_the_error_for_a_malicious_file_is_short_and_names_the_problem(
    outcomes: dict[str, Any], case: str
) -> None:
    error = outcomes["cases"][case]
    assert CASES[case][1] in error
    assert "Traceback" not in error
    lines = error.split("\n")
    assert len(lines) <= LINES_MAX
    assert max(map(len, lines)) <= LINE_CHARS_MAX
    assert "".join(lines).isprintable()


def test_malicious_files_take_little_memory_and_leave_no_file_behind(
    outcomes: dict[str, Any],
) -> None:
    assert outcomes["peak_mb"] < PEAK_MB
    assert not list(outcomes["data"].glob("**/*"))
