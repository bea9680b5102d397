"""What readers of the public site cost the trading process, and its guards a request. Prints JSON.

    python benchmarks/readers.py [--seconds 70] [--symbols 220] [--only MIX ...]

An untouched ``kamou run`` trades the demo's market on one-minute cycles. Readers, ordinary and
hostile, connect from another process (nice 19, because they stand for other machines). For each
mix of them: loop lag by the operator's ``/metrics`` (of the last minute), the time of ``/healthz``
on the operator's listener, the delay of each ranked cycle and the time from an entry's fill to its
confirmed stop by the journal, and the CPU of the trading process and of its children. Ratios are to
the mix without readers, of the same run. The limit per address is raised, because all readers
have one address here; the last mix has the default limits.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx
import trio

from kamou.core.book.events import CycleRanked, FillRecorded, IntentRecorded, StopConfirmed
from kamou.core.model import OrderRole
from kamou.data_directory.folder import DataDirectory
from kamou.store.database import open_reader
from kamou.store.journal import read_events
from kamou.store.queries import head_seq

HERE = Path(__file__).parent
ASSUMED_RUN = HERE.parent / "tests/runs/at_date.py"  # a day earns no size, so the gate is assumed
LOAD = HERE / "readers_load" / "load.py"
GUARDS = HERE / "readers_load" / "guards.py"
START_S = 300.0  # a fast-forward of two days, on a slow machine
SETTLE_S = 125.0  # two cycles: from then on entries and time limits are as many in each
PROBE_S = 0.1  # between two questions to /healthz
LAGS = ("kamou_loop_lag_max_seconds", "kamou_loop_lag_p99_seconds")
TICKS = os.sysconf("SC_CLK_TCK")
MINUTES = {  # a cycle a minute
    "KAMOU__CYCLE__PERIOD_S": "60",
    "KAMOU__CYCLE__TIMEFRAME_S": "60",
    "KAMOU__DEMO__BAR_S": "60",
    "KAMOU__DEMO__WARMUP_DAYS": "2",
    # Two days of history show no regime.
    "KAMOU__VETO__ENABLED": "conflict,cooldown,excluded,held,reward_to_risk,staleness",
}
ENTRIES = {  # up to eight small entries in each cycle, with a short life: their stops are timed
    "KAMOU__RISK__RISK_PER_TRADE": "0.00004",
    "KAMOU__RISK__BUDGET_SHARE_MIN": "0.01",
    "KAMOU__RISK__ENTRIES_PER_STRATEGY_HOUR": "1000",
    "KAMOU__RISK__REENTRIES_PER_SYMBOL_DAY": "1000",
    "KAMOU__RISK__MESSAGES_PER_S": "100",
    "KAMOU__RISK__COOLDOWN_AFTER_STOP_MIN": "0",
    "KAMOU__VETO__COOLDOWN_AFTER_STOP_MIN": "0",
    "KAMOU__VETO__REWARD_TO_RISK_MIN": "0",
    "KAMOU__CYCLE__TOP": "8",
    "KAMOU__STRATEGIES__MEAN_REVERSION__HOLD_BARS": "1",
    "KAMOU__STRATEGIES__MEAN_REVERSION__Z_ENTRY": "1.0",
    "KAMOU__STRATEGIES__MEAN_REVERSION__RSI_LOW": "40",
    "KAMOU__STRATEGIES__MEAN_REVERSION__RSI_HIGH": "60",
    "KAMOU__STRATEGIES__MEAN_REVERSION__ADX_MAX": "60",
    "KAMOU__STRATEGIES__MEAN_REVERSION__EFFICIENCY_MAX": "0.6",
}


@attrs.frozen
class Mix:
    """So many connections of one kind; the kinds are in ``readers_load/load.py``."""

    name: str
    connections: int
    kind: str


MIXES = (
    Mix("quiet", 0, "ordinary"),
    *(Mix(f"ordinary_{n}", n, "ordinary") for n in (1, 50, 500, 2_000)),
    *(
        Mix(f"{kind}_500", 500, kind)
        for kind in ("long_headers", "unknown_pages", "not_reading", "half_requests", "idle")
    ),
    Mix("hostile_2000", 2_000, "hostile"),
)
DEFAULTS = (Mix("quiet", 0, "ordinary"), Mix("hostile_2000", 2_000, "hostile"))


@attrs.frozen(kw_only=True)
class Run:
    """A ``kamou run`` that trades in real time."""

    process: subprocess.Popen[bytes]
    folder: DataDirectory
    port: int
    operator_port: int

    def get(self, path: str) -> httpx.Response:
        token = self.folder.token.read_text().strip()
        url = f"http://127.0.0.1:{self.operator_port}{path}"
        headers = {"authorization": f"Bearer {token}"}
        return httpx.get(url, headers=headers, timeout=30.0, trust_env=False)

    def ready(self) -> bool:
        try:
            return self.get("/readyz").status_code == 200
        except (httpx.HTTPError, OSError):
            return False

    def lags(self) -> dict[str, float | None]:
        """The gauges of loop lag in seconds; None where this version has none."""
        found = dict(
            line.rsplit(" ", 1) for line in self.get("/metrics").text.splitlines() if line[0] != "#"
        )
        return {name: float(found[name]) if name in found else None for name in LAGS}


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@contextmanager
def running(symbols: int, environ: Mapping[str, str]) -> Iterator[Run]:
    """Run ``kamou run`` on a day of history until it trades; stop it at the end.

    The history is made by a first run without the many entries, which would take minutes.
    """
    with tempfile.TemporaryDirectory() as folder:
        data = DataDirectory(Path(folder) / "data")
        minutes = {**os.environ, **MINUTES, "KAMOU__DEMO__SYMBOLS": str(symbols), **environ}
        with started(data, minutes):
            pass
        with started(data, {**minutes, **ENTRIES}) as run:
            yield run


@contextmanager
def started(data: DataDirectory, environ: Mapping[str, str]) -> Iterator[Run]:
    """Start ``kamou run``, wait until it trades, and stop it at the end."""
    ports = (free_port(), free_port())
    command = [sys.executable, str(ASSUMED_RUN), "0", "run", "--data-dir", str(data.path)]
    command += ["--days", "1", "--port", str(ports[0]), "--operator-port", str(ports[1])]
    process = subprocess.Popen(
        command, env=dict(environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    run = Run(process=process, folder=data, port=ports[0], operator_port=ports[1])
    try:
        trio.run(wait_for, run)
        yield run
    finally:
        process.terminate()
        process.wait(timeout=60)


async def wait_for(run: Run) -> None:
    deadline = time.monotonic() + START_S
    while not run.ready():
        if run.process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("kamou run did not start to trade; run it by hand to see why")
        await trio.sleep(1)


def processes(pid: int) -> tuple[list[int], list[int]]:
    """The process itself, and its children."""
    children = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid], [int(child) for path in children for child in path.read_text().split()]


def cpu_s(pids: Sequence[int]) -> float:
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def quantiles_ms(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    last = len(ordered) - 1
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    found = {name: round(ordered[int(share * last)], 2) for name, share in shares.items()}
    return {**found, "count": len(ordered)}


def journal_head(folder: DataDirectory) -> int:
    with closing(open_reader(folder.database)) as reader:
        return head_seq(reader)


def journal_times(folder: DataDirectory, after_seq: int) -> dict[str, Any]:
    """Delays of ranked cycles, and times from an entry's fill to its confirmed stop, in ms."""
    delays: list[float] = []
    protected: list[float] = []
    entries: dict[str, str] = {}  # symbols by client order id
    filled: dict[str, int] = {}
    with closing(open_reader(folder.database)) as reader:
        events = [committed.event for committed in read_events(reader, after_seq)]
    for event in events:
        if isinstance(event, CycleRanked):
            delays.append(event.at_ms - event.cycle_at_ms)
        elif isinstance(event, IntentRecorded) and event.intent.role is OrderRole.ENTRY:
            entries[event.intent.client_order_id] = event.intent.symbol
        elif isinstance(event, FillRecorded) and event.fill.client_order_id in entries:
            filled.setdefault(event.fill.symbol, event.fill.at_ms)
        elif isinstance(event, StopConfirmed) and event.symbol in filled:
            protected.append(event.at_ms - filled.pop(event.symbol))
    return {"cycle_delay_ms": quantiles_ms(delays), "fill_to_stop_ms": quantiles_ms(protected)}


async def probe(run: Run, seconds: float) -> dict[str, float] | None:
    """Ask ``/healthz`` on one connection for so long; the time of its answers."""
    taken = []
    async with httpx.AsyncClient(trust_env=False, timeout=60.0) as client:
        until = trio.current_time() + seconds
        while trio.current_time() < until:
            began = time.perf_counter()
            await client.get(f"http://127.0.0.1:{run.operator_port}/healthz")
            taken.append((time.perf_counter() - began) * 1000)
            await trio.sleep(PROBE_S)
    return quantiles_ms(taken)


def measure(run: Run, mix: Mix, seconds: float) -> dict[str, Any]:
    """Let the readers of one mix read, and see what the trading process noticed."""
    sys.stderr.write(f"  {mix.name}\n")
    head = journal_head(run.folder)
    ours, children = processes(run.process.pid)
    before = (cpu_s(ours), cpu_s(children))
    command = [sys.executable, str(LOAD), str(run.port), mix.kind, str(mix.connections)]
    load = subprocess.Popen(["nice", "-n", "19", *command, str(seconds)], stdout=subprocess.PIPE)
    healthz = trio.run(probe, run, seconds)
    lags = run.lags()
    said, _ = load.communicate(timeout=60)
    after = (cpu_s(ours), cpu_s(children))
    readers = json.loads(said)
    served = after[1] - before[1] if children else after[0] - before[0]
    return {
        "connections": mix.connections,
        **lags,
        "healthz_ms": healthz,
        **journal_times(run.folder, head),
        "trading_cpu_s": round(after[0] - before[0], 2),
        "site_cpu_s": round(after[1] - before[1], 2) if children else None,
        "answers": readers["answers"],
        "answers_per_cpu_s": round(sum(readers["answers"].values()) / served) if served else None,
        "connects": readers["connects"],
        "failed_connects": readers["failed_connects"],
    }


def ratio(found: Any, quiet: Any) -> float | None:
    return round(found / quiet, 2) if found is not None and quiet else None


def compared(mixes: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Each mix against the quiet one: what the issue of the public side asks."""
    quiet = mixes.get("quiet")
    if quiet is None:
        return {}

    def part(mix: Mapping[str, Any], name: str, quantile: str) -> float | None:
        return mix[name][quantile] if mix[name] else None

    return {
        name: {
            "loop_lag_p99": ratio(mix[LAGS[1]], quiet[LAGS[1]]),
            "healthz_p99": ratio(part(mix, "healthz_ms", "p99"), part(quiet, "healthz_ms", "p99")),
            "fill_to_stop_max": ratio(
                part(mix, "fill_to_stop_ms", "max"), part(quiet, "fill_to_stop_ms", "max")
            ),
            "cycle_delay_max": ratio(
                part(mix, "cycle_delay_ms", "max"), part(quiet, "cycle_delay_ms", "max")
            ),
        }
        for name, mix in mixes.items()
        if name != "quiet"
    }


def one_run(
    symbols: int, environ: Mapping[str, str], mixes: Sequence[Mix], seconds: float
) -> dict[str, Any]:
    with running(symbols, environ) as run:
        trio.run(trio.sleep, SETTLE_S)
        found = {mix.name: measure(run, mix, seconds) for mix in mixes}
    return {"mixes": found, "ratios_to_quiet": compared(found)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=70.0, help="of each mix: a cycle and more")
    parser.add_argument("--symbols", type=int, default=220)
    parser.add_argument("--only", nargs="*", choices=[mix.name for mix in MIXES])
    parser.add_argument("--no-defaults", action="store_true", help="leave the default limits out")
    given = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))  # the children inherit it
    mixes = [mix for mix in MIXES if given.only is None or mix.name in given.only]
    raised = {"KAMOU__WEB__CONNECTIONS_PER_ADDRESS_MAX": "2500"}
    report: dict[str, Any] = {
        "benchmark": "readers",
        "seconds": given.seconds,
        "symbols": given.symbols,
        "guards": json.loads(subprocess.check_output([sys.executable, str(GUARDS)])),
        **one_run(given.symbols, raised, mixes, given.seconds),
    }
    if not given.no_defaults:
        report["default_limits"] = one_run(given.symbols, {}, DEFAULTS, given.seconds)
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
