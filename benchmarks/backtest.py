"""A whole backtest: generated 1m bars through every actor, against a loop without actors.

    python benchmarks/backtest.py [--symbols 200] [--days 10] [--peers]

Prints JSON. Every engine runs in a process of its own, and what is counted is that process's
user and system time, imports and loading included. ``run_bars_per_cpu_s`` leaves those out. The
loop is what is left of a backtest when nothing can fail: the same bars, panel and strategies, stops
and targets compared at every bar, floats for money, no messages, journal, governor or venue.

``--peers`` adds engines of others (``peer_engines.py``), and says which were skipped. They run a
z-score reversion with stop and target, all but vectorbt on fewer symbols: compare bars per CPU
second. ``wide.py`` compares more.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import peer_engines

NAME = "generated"
STRATEGIES = ("mean_reversion", "oi_momentum")  # those of the kept figures
PEER_SYMBOLS = 20  # a peer is timed on so many, but for vectorbt, whose start costs more than them
TIMEOUT_S = 1_800
NOW_MS = 4_102_444_800_000  # 2100: generated bars are never in the future
RULE = {  # of the peers, in bars of a minute
    "window": 1_500,
    "z_entry": 2.5,
    "atr_period": 14,
    "stop_atr": 10.0,
    "target_atr": 12.0,
    "stake": 500.0,
    "equity": 10_000.0,
    "positions_max": 20,
    "fee": 0.0006,
}


# --- one engine, in a process of its own -----------------------------------------------------


def run_kamou(data_dir: Path) -> dict[str, Any]:
    import attrs

    from kamou.runs import backtest
    from kamou.settings.config import load_settings

    resolved = load_settings(None, {"KAMOU__STRATEGIES__ENABLED": ",".join(STRATEGIES)})
    resolved = attrs.evolve(resolved, settings=attrs.evolve(resolved.settings, data_dir=data_dir))
    began = time.process_time()
    report = backtest.run(resolved, data=NAME)
    wanted = ("symbols", "bars", "cycles", "candidates", "orders", "fills", "trades", "violations")
    found = {name: value for name, value in report.items() if name in wanted}
    return {**found, "run_cpu_s": time.process_time() - began}


def run_loop(data_dir: Path) -> dict[str, Any]:
    """The same bars through the same panel and strategies, and nothing else."""
    import numpy as np

    from kamou.core.market.bars import resample
    from kamou.core.strategies import make_panel, make_strategies
    from kamou.store.importer import open_market

    bars = open_market(data_dir, NAME, now_ms=NOW_MS).data.bars
    began = time.process_time()
    width, period_ms = len(bars.symbols), 900_000
    strategies = make_strategies(STRATEGIES, {})
    panel = make_panel(tuple(strategies.values()), bars.symbols, period_ms)
    bars = resample(bars, period_ms)
    per_bar = period_ms // bars.period_ms
    side, stop, target = np.zeros(width), np.zeros(width), np.zeros(width)
    trades = 0
    for row in range(len(bars.open_ms)):
        high, low = bars.high[row], bars.low[row]
        up, down = np.maximum(stop * -side, target * side), np.maximum(stop * side, target * -side)
        done = (side != 0) & ((high >= up) & (up > 0) | (low <= down) & (down > 0))
        if done.any():
            trades += int(done.sum())
            side[done] = 0
        if (row + 1) % per_bar:
            continue
        at = row // per_bar
        panel.append(
            int(bars.open_ms[at]),
            bars.open[at],
            bars.high[at],
            bars.low[at],
            bars.close[at],
            bars.volume[at],
        )
        for strategy in strategies.values():
            opinion = strategy.evaluate(panel, panel.close_ms)
            enter = (opinion.abstain == 0) & (side == 0) & (opinion.score != 0)
            direction = np.sign(opinion.score)
            side = np.where(enter, direction, side)
            stop = np.where(enter, bars.close[at] - direction * opinion.stop_distance, stop)
            target = np.where(enter, bars.close[at] + direction * opinion.target_distance, target)
    total = int(np.count_nonzero(~np.isnan(bars.close)))
    spent = time.process_time() - began
    return {"symbols": width, "bars": total, "trades": trades, "run_cpu_s": spent}


ENGINES = {"kamou": run_kamou, "loop": run_loop}


# --- the comparison --------------------------------------------------------------------------


def measured(engine: str, data_dir: Path) -> dict[str, Any]:
    """Run one engine in a fresh process; its report, and bars per CPU second of all of it."""
    before = os.times()
    done = subprocess.run(
        [sys.executable, __file__, "--engine", engine, "--data-dir", str(data_dir)],
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
    )
    after = os.times()
    spent = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    report: dict[str, Any] = json.loads(done.stdout)
    report["cpu_s"] = round(spent, 3)
    report["bars_per_cpu_s"] = round(report["bars"] / spent)
    report["run_bars_per_cpu_s"] = round(report["bars"] / report.pop("run_cpu_s"))
    return report


def hand_over(data_dir: Path, *, symbols: int, bars: int | None = None) -> Path:
    """Some of the bars in a file for the engines of others."""
    script, file = Path(__file__).with_name("hand_over.py"), data_dir / f"{symbols}-{bars}.npz"
    command = [sys.executable, str(script), "--data-dir", str(data_dir), "--name", NAME, str(file)]
    command += ["--symbols", str(symbols)] + (["--bars", str(bars)] if bars else [])
    subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S)
    return file


def measured_peer(engine: str, data_dir: Path, symbols: int) -> dict[str, Any]:
    bars, work = hand_over(data_dir, symbols=symbols), data_dir / f"peer-{engine}"
    work.mkdir()
    peer_engines.ask(engine, "prepare", bars, work, RULE)
    return peer_engines.trade(engine, bars, work, RULE)


def compare(symbols: int, days: int, *, peers: bool) -> dict[str, Any]:
    made = Path(__file__).with_name("make_data.py")
    with tempfile.TemporaryDirectory(prefix="kamou-bench-") as folder:
        data_dir = Path(folder)
        wanted = ("--name", NAME, "--symbols", str(symbols), "--days", str(days))
        subprocess.run(
            [sys.executable, str(made), "--data-dir", folder, *wanted],
            check=True,
            capture_output=True,
            timeout=TIMEOUT_S,
        )
        found = {engine: measured(engine, data_dir) for engine in ("kamou", "loop")}
        skipped: dict[str, str] = {}
        if peers:
            engines, skipped = peer_engines.usable(
                hand_over(data_dir, symbols=2, bars=2_000), data_dir, RULE
            )
            for engine in engines:
                some = symbols if engine == "vectorbt" else min(symbols, PEER_SYMBOLS)
                found[engine] = measured_peer(engine, data_dir, some)
    ours = found["kamou"]["bars_per_cpu_s"]
    ratios = {
        f"to_{engine}": round(ours / report["bars_per_cpu_s"], 3)
        for engine, report in found.items()
        if engine != "kamou"
    }
    return {
        "benchmark": "backtest",
        "unit": "bars per CPU second, whole process",
        "engines": found,
        "ratios": ratios,
        "skipped": skipped,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", type=int, default=200)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--engine", choices=sorted(ENGINES), help=argparse.SUPPRESS)
    parser.add_argument("--data-dir", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.engine:
        report = ENGINES[given.engine](given.data_dir)
    else:
        report = compare(given.symbols, given.days, peers=given.peers)
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
