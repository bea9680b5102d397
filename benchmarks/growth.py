"""What a start costs after many days, and how the files grow. Prints JSON.

    python benchmarks/growth.py [--days 30 360] [--symbols 8] [--restarts 3] [--keep FOLDER]

For each number of days `kamou run` makes that history in a folder of its own, and is stopped. Then
it starts again, a few times: the processor seconds and the memory of the process are read when
the operator's listener says that it is ready, and again after SIGTERM. Nothing of it is simulated
by the benchmark: these are the commands of a user, on 127.0.0.1.

A few symbols with an eager strategy close some 30 orders a day and cost a sixth of 220 symbols'
time: what must not grow is what is closed, and it is closed in the same way. ``--keep`` leaves the
histories in a folder and takes up what stands there.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

ASSUMED_RUN = Path(__file__).parents[1] / "tests/runs/at_date.py"  # trades from the first day

HISTORY_TIMEOUT_S = 3_000
READY_TIMEOUT_S = 300
STOP_TIMEOUT_S = 60
LOOK_S = 0.02
TICKS = os.sysconf("SC_CLK_TCK")
FILES = ("exchange.sqlite3", "kamou.sqlite3")
SETTINGS = """
[demo]
seed = 7
symbols = {symbols}
[strategies]
enabled = ["mean_reversion"]
[strategies.mean_reversion]
z_entry = 1.0
rsi_low = 40.0
rsi_high = 60.0
adx_max = 60.0
efficiency_max = 0.6
"""


@attrs.frozen(kw_only=True)
class Start:
    """One start of `kamou run`, up to the moment when it is ready, and its end."""

    ready_wall_s: float
    ready_cpu_s: float
    ready_rss_mb: float
    stop_wall_s: float


@contextlib.contextmanager
def running(folder: Path, days: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`kamou run` on this folder, and where its operator's listener says whether it is ready."""
    port, operator_port = free_port(), free_port()
    config = folder.with_suffix(".toml")
    command = [sys.executable, str(ASSUMED_RUN), "0", "run", "--config", str(config)]
    command += ["--data-dir", str(folder), "--days", str(days)]
    command += ["--port", str(port), "--operator-port", str(operator_port)]
    with folder.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield process, f"http://127.0.0.1:{operator_port}/readyz"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(STOP_TIMEOUT_S)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def start(folder: Path, days: int, timeout_s: float) -> Start:
    began_s = time.monotonic()
    with running(folder, days) as (process, url):
        while not ready(url):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_S)  # it should not end
            if process.poll() is not None or time.monotonic() - began_s > timeout_s:
                raise SystemExit(f"kamou run did not get ready: see {folder.with_suffix('.log')}")
        wall_s = time.monotonic() - began_s
        cpu_s, rss_mb = used(process.pid)
        told_s = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.wait(STOP_TIMEOUT_S)
        return Start(
            ready_wall_s=round(wall_s, 3),
            ready_cpu_s=round(cpu_s, 3),
            ready_rss_mb=round(rss_mb, 1),
            stop_wall_s=round(time.monotonic() - told_s, 3),
        )


def ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status) == 200
    except OSError:
        return False


def used(pid: int) -> tuple[float, float]:
    """Processor seconds of a process so far, and the most memory it ever had, MB."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    return (int(fields[11]) + int(fields[12])) / TICKS, int(status["VmHWM"].split()[0]) / 1024


def measured(folder: Path, days: int, restarts: int) -> dict[str, Any]:
    """Make the history unless it is there, then start again and again."""
    if not (folder / FILES[0]).exists():
        sys.stderr.write(f"{days} days ...\n")
        start(folder, days, HISTORY_TIMEOUT_S)
    sizes = {name: (folder / name).stat().st_size for name in FILES}
    starts = [start(folder, days, READY_TIMEOUT_S) for _ in range(restarts)]
    return {
        "days": days,
        **{
            field.name: statistics.median(getattr(each, field.name) for each in starts)
            for field in attrs.fields(Start)
        },
        "ready_cpu_s_first": starts[0].ready_cpu_s,
        "file_mb": {name: round(size / 1e6, 2) for name, size in sizes.items()},
    }


def compared(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The longest history against the shortest, and megabytes a day between them."""
    few, many = found[0], found[-1]
    ratios = {name: round(many[name] / few[name], 2) for name in ("ready_cpu_s", "ready_rss_mb")}
    if many["days"] == few["days"]:
        return {"ratios": ratios}
    grown = {
        name: round(
            (many["file_mb"][name] - few["file_mb"][name]) / (many["days"] - few["days"]), 3
        )
        for name in FILES
    }
    return {"ratios": ratios, "file_mb_per_day": grown}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, nargs="+", default=[30, 360])
    parser.add_argument("--symbols", type=int, default=8)
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--plain", action="store_true", help="the settings as they come")
    parser.add_argument("--keep", type=Path, help="where the histories stay, or are already")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        keep: Path = given.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        keep.mkdir(exist_ok=True)
        found = []
        for days in sorted(given.days):
            folder = keep / f"days{days}"
            text = "" if given.plain else SETTINGS.format(symbols=given.symbols)
            folder.with_suffix(".toml").write_text(text)
            found.append(measured(folder, days, given.restarts))
    report = {
        "benchmark": "growth",
        "unit": "CPU s",
        "symbols": 220 if given.plain else given.symbols,
        "restarts": given.restarts,
        "starts": found,
        **compared(found),
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
