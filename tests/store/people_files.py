"""Writers of the same market data in the layouts that people have; each takes a directory."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

from tests.store.market_files import (
    BARS,
    HOUR_MS,
    SYMBOLS,
    Rows,
    bar_rows,
    funding_rows,
    open_interest_rows,
    write_csv,
)

FIELDS = ("open", "high", "low", "close", "volume")
Write = Callable[[Path], object]


def bars_of(symbol: str) -> Rows:
    return [row for row in bar_rows() if row["symbol"] == symbol]


def rates_of(symbol: str) -> Rows:
    return [row for row in funding_rows() if row["symbol"] == symbol]


def write_lines(path: Path, lines: list[str], end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(lines) + end).encode())


def bar_lines(rows: Rows, time: Callable[[int], object] = int) -> list[str]:
    """Return lines of time, open, high, low, close, volume."""
    return [",".join(map(str, (time(row["ts"]), *(row[name] for name in FIELDS)))) for row in rows]


# --- one file for each symbol ----------------------------------------------------------------


def write_stranger(directory: Path) -> None:
    """Write bars, funding and open interest of each symbol in folders of their own."""
    header = "timestamp,open,high,low,close,volume,quote_volume,trades,close_time"
    for symbol in SYMBOLS:
        bars = [
            f"{line},1.5,7,{row['ts'] + HOUR_MS - 1}"
            for line, row in zip(bar_lines(bars_of(symbol)), bars_of(symbol), strict=True)
        ]
        write_lines(directory / "candles" / f"{symbol}.csv", [header, *bars])
        rates = [f"{row['ts']},{row['funding_rate']}" for row in rates_of(symbol)]
        write_lines(directory / "funding" / f"{symbol}.csv", ["timestamp,funding_rate", *rates])
        interest = [
            f"{row['ts']},{symbol},{row['sum_open_interest']},{row['sum_open_interest_value']}"
            for row in open_interest_rows()
            if row["symbol"] == symbol
        ]
        names = "timestamp,symbol,sum_open_interest,sum_open_interest_value"
        write_lines(directory / "oi_4h" / f"{symbol}.csv", [names, *interest])


def per_symbol(
    header: str,
    *,
    name: str = "{}.csv",
    time: Callable[[int], object] = int,
    end: str = "\n",
    change: Callable[[str], str] = lambda line: line,
) -> Write:
    """Return a writer of one CSV file of bars for each symbol."""

    def write(directory: Path) -> None:
        for symbol in SYMBOLS:
            first = [header] if header else []
            lines = [change(line) for line in (*first, *bar_lines(bars_of(symbol), time))]
            write_lines(directory / name.format(symbol), lines, end)

    return write


def iso(at_ms: int, form: str = "%Y-%m-%dT%H:%M:%S+00:00") -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime(form)


def write_archives(directory: Path) -> None:
    """Write two daily archives for each symbol, the second in microseconds without a header."""
    header = "open_time,open,high,low,close,volume,close_time,quote_volume,count,a,b,ignore"
    for symbol in SYMBOLS:
        rows = bars_of(symbol)
        for day, part, factor in (
            ("2025-01-01", rows[: BARS // 2], 1),
            ("2025-01-02", rows[BARS // 2 :], 1_000),
        ):
            scaled = [{**row, "ts": row["ts"] * factor} for row in part]
            lines = [
                f"{line},{(row['ts'] + HOUR_MS) * factor - 1},1,1,1,1,0"
                for line, row in zip(bar_lines(scaled), part, strict=True)
            ]
            if factor == 1:
                lines.insert(0, header)
            path = directory / "klines" / symbol / "1h" / f"{symbol}-1h-{day}.zip"
            path.parent.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(f"{symbol}-1h-{day}.csv", "\n".join(lines) + "\n")
            path.with_name(path.name + ".CHECKSUM").write_text("0  x\n")


def frame(rows: Rows) -> pa.Table:
    stamps = pa.array([row["ts"] for row in rows], pa.timestamp("ms", "UTC"))
    return pa.table(
        {"date": stamps, **{name: [float(row[name]) for row in rows] for name in FIELDS}}
    )


def frames(suffix: str, write: Callable[[pa.Table, Path], object]) -> Write:
    """Return a writer of freqtrade's files, with mark and spot bars, which an import leaves out."""

    def write_all(directory: Path) -> None:
        base = directory / "data" / "binance"
        (base / "futures").mkdir(parents=True)
        for symbol in SYMBOLS:
            coin = symbol.removesuffix("USDT")
            bars = frame(bars_of(symbol))
            other = bars.set_column(4, "close", pa.array([1.0] * len(bars)))
            rates = [
                {**dict.fromkeys(FIELDS, 0.0), "ts": row["ts"], "open": row["funding_rate"]}
                for row in rates_of(symbol)
            ]
            perpetual = base / "futures" / f"{coin}_USDT_USDT"
            write(bars, perpetual.with_name(f"{perpetual.name}-1h-futures{suffix}"))
            write(other, perpetual.with_name(f"{perpetual.name}-8h-mark{suffix}"))
            write(frame(rates), perpetual.with_name(f"{perpetual.name}-8h-funding_rate{suffix}"))
            write(other, base / f"{coin}_USDT-1h{suffix}")

    return write_all


def write_arrays(table: pa.Table, path: Path) -> None:
    """Write a table as JSON arrays of numbers, as ccxt returns bars; compress it for ``.gz``."""
    rows = [list(row.values()) for row in table.to_pylist()]
    text = json.dumps([[round(row[0].timestamp() * 1000), *row[1:]] for row in rows])
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def write_feather(table: pa.Table, path: Path) -> None:
    pa.feather.write_feather(table, path, compression="lz4")


FREQTRADE: dict[str, Write] = {
    "feather": frames(".feather", write_feather),
    "parquet": frames(".parquet", pq.write_table),
    "json": frames(".json", write_arrays),
    "json.gz": frames(".json.gz", write_arrays),
}

PLAIN = "ts,open,high,low,close,volume"


def one_table(change: Callable[[str], str]) -> Write:
    """Return a writer of a file with all symbols, whose text is changed."""

    def write(directory: Path) -> None:
        path = write_csv(directory / "c.csv", bar_rows())
        path.write_bytes(change(path.read_text()).encode())

    return write


def repeat_header(text: str) -> str:
    lines = text.splitlines(keepends=True)
    return "".join([*lines[:40], lines[0], *lines[40:], ",,,,,,\n", "\n"])


BARS_ONLY: dict[str, Write] = {
    "seconds": per_symbol(PLAIN, time=lambda at: at // 1000),
    "seconds as floats": per_symbol(PLAIN, time=lambda at: f"{at // 1000}.0"),
    "microseconds": per_symbol(PLAIN, time=lambda at: at * 1000),
    "nanoseconds": per_symbol(PLAIN, time=lambda at: at * 10**6),
    "ISO with a zone": per_symbol(PLAIN.replace("ts", "date"), time=iso),
    "ISO without a zone": per_symbol(
        "Date,Open,High,Low,Close,Volume", time=lambda at: iso(at, "%Y-%m-%d %H:%M:%S")
    ),
    "ISO of pandas": per_symbol(
        PLAIN.replace("ts", ""), time=lambda at: iso(at, "%Y-%m-%d %H:%M:%S.000000+00:00")
    ),
    "camel case": per_symbol("openTime,open,high,low,close,volume"),
    "short names": per_symbol("t,o,h,l,c,v"),
    "no header": per_symbol("", name="{}-1h.csv"),
    "blanks after commas": per_symbol(PLAIN, change=lambda line: line.replace(",", ", ")),
    "quoted": per_symbol(
        PLAIN, change=lambda line: ",".join(f'"{each}"' for each in line.split(","))
    ),
    "carriage returns": per_symbol(PLAIN, end="\r"),
    "line ends of Windows": per_symbol(PLAIN, end="\r\n"),
    "semicolons": per_symbol(PLAIN, change=lambda line: line.replace(",", ";")),
    "tabs": per_symbol(PLAIN, change=lambda line: line.replace(",", "\t")),
    "decimal commas": per_symbol(
        PLAIN, change=lambda line: line.replace(",", ";").replace(".", ",")
    ),
    "trailing commas": per_symbol(PLAIN, change=lambda line: line + ","),
    "trailing commas of rows": per_symbol(
        PLAIN, change=lambda line: line + "," * line[0].isdigit()
    ),
    "pair in the name": per_symbol(PLAIN, name="binance_{}_1h.csv"),
    "lower case names": per_symbol(PLAIN, name="klines/{}/1h.csv"),
    "two headers": one_table(repeat_header),
    "byte order mark": one_table(lambda text: "\ufeff" + text),
    "semicolons of one table": one_table(lambda text: text.replace(",", ";")),
    "archives": write_archives,
}
