"""Months of bars of many symbols: a whole backtest, and engines of other projects beside it.

    python benchmarks/wide.py [--sets um_1h_wide um_15m] [--peers] [--rounds 3] [--markdown]

Prints JSON. What is compared is CPU seconds, user and system, of the whole process: start, reading,
trading, report. ``KAMOU_SHARED`` names the folder whose ``data/`` has the recorded sets; without
it bars of the same shape are generated. Import and the files that an engine reads are made before,
uncounted. Engines take turns, and a figure is the median of its rounds. Each engine of others runs
once before, over few bars, so that it does not pay for compiling.

Kamou runs ``kamou backtest`` with two strategies (``STRATEGIES``, those of the kept figures) and
otherwise default settings: every actor, vetoes, governor, permits, journal and checker. The others
run one simpler rule (``RULE``), each in its own way, and say what that includes: ``does`` and
``does_not``.

``--markdown`` prints the table of docs/performance.md instead; ``--markdown FILE`` prints it for a
report that was kept, of this benchmark or of all.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import peer_engines
from peer_engines import PeerFailedError, Spent

HERE = Path(__file__).parent
ROOT = HERE.parent


class Shape(NamedTuple):
    """A recorded set, and what is generated in its place."""

    symbols: int
    days: int
    step_s: int


SETS = {
    "um_1h_wide": Shape(symbols=152, days=187, step_s=3_600),
    "um_15m": Shape(symbols=66, days=144, step_s=900),
}
# Entry against a far close, stop and take-profit at once: one to three thousand trades on each set.
RULE = {
    "window": 100,  # bars
    "z_entry": 3.75,
    "atr_period": 14,
    "stop_atr": 2.0,
    "target_atr": 3.0,
    "stake": 500.0,
    "equity": 10_000.0,
    "positions_max": 20,
    "fee": 0.0006,
}
GOALS = {  # Kamou's CPU seconds to theirs, at most
    "um_1h_wide": {"nautilus_trader": 0.25, "vectorbt": 1.0},
    "um_15m": {"nautilus_trader": 0.333},
}
PEAK_MB_GOAL = 250
STRATEGIES = ("--strategies", "mean_reversion,oi_momentum")
TRIAL = ("--symbols", "3", "--bars", "300")
KAMOU_DOES = (
    "two strategies, cross-sectional ranking, vetoes, sizing",
    "every actor, messages between them, a governor that asks all rules, one-use permits",
    "orders with stop and take-profit at a simulated venue, reconciliation every cycle",
    "one margin account, funding, slippage, fees, contract specifications",
    "a journal of every decision in SQLite, read models, and a checker of the venue's records",
)
KAMOU_DOES_NOT = ("an order book's depth: a model of fills stands on the bars",)


def kamou_environment() -> dict[str, str]:
    return {**peer_engines.environment(), "PYTHONPATH": str(ROOT)}


def spend_on(script: str, *arguments: str, folder: Path) -> Spent:
    """Run a script of this folder with Kamou's own interpreter."""
    command = [sys.executable, str(HERE / script), *arguments]
    return peer_engines.spend(command, cwd=folder, env=kamou_environment())


def spend_on_kamou(*arguments: str, folder: Path) -> Spent:
    command = [sys.executable, "-m", "kamou", *arguments, "--data-dir", str(folder / "data")]
    return peer_engines.spend(command, cwd=folder, env=kamou_environment())


# --- the bars --------------------------------------------------------------------------------


def store(name: str, shape: Shape, folder: Path) -> tuple[str, float]:
    """Store a set, recorded or generated; which of both, and what that cost."""
    recorded = Path(os.environ.get("KAMOU_SHARED", "")) / "data" / name
    if os.environ.get("KAMOU_SHARED") and recorded.is_dir():
        made = spend_on_kamou("data", "import", str(recorded.resolve()), "--json", folder=folder)
        return "recorded", made.cpu_s
    wanted = {"--name": name, "--symbols": shape.symbols, "--days": shape.days}
    options = {"--data-dir": folder / "data", "--step-s": shape.step_s, **wanted}
    words = [str(word) for option in options.items() for word in option]
    return "generated", spend_on("make_data.py", *words, folder=folder).cpu_s


def hand_over(name: str, file: str, folder: Path, *limits: str) -> dict[str, Any]:
    words = ("--data-dir", str(folder / "data"), "--name", name, *limits, str(folder / file))
    shape: dict[str, Any] = json.loads(spend_on("hand_over.py", *words, folder=folder).printed)
    return shape


# --- the engines -----------------------------------------------------------------------------


def run_kamou(name: str, folder: Path) -> dict[str, Any]:
    report = folder / "report.json"
    wanted = ("--data", name, *STRATEGIES, "--json", str(report))
    spent = spend_on_kamou("backtest", *wanted, folder=folder)
    found = json.loads(report.read_text())
    kept = ("symbols", "bars", "trades", "orders", "cycles", "candidates", "violations")
    figures = {figure: found[figure] for figure in kept if figure in found}
    said = {"does": KAMOU_DOES, "does_not": KAMOU_DOES_NOT}
    return {**figures, **said, **peer_engines.cost(spent, found["bars"])}


def run_peer(engine: str, name: str, folder: Path) -> dict[str, Any]:
    bars, work = folder / f"{name}.npz", folder / f"{name}-{engine}"
    if not work.exists():
        work.mkdir()
        peer_engines.ask(engine, "prepare", bars, work, RULE)
    return peer_engines.trade(engine, bars, work, RULE)


# --- the comparison --------------------------------------------------------------------------


def median_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """One engine's rounds as one: its medians, and what each round took."""
    middle = {
        figure: statistics.median(run[figure] for run in runs)
        for figure in ("cpu_s", "peak_mb", "bars_per_cpu_s")
    }
    return {**runs[-1], **middle, "cpu_s_by_round": [run["cpu_s"] for run in runs]}


def compare(sets: Mapping[str, Shape], *, peers: bool, rounds: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    skipped: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="kamou-bench-") as made:
        folder = Path(made)
        (folder / "data").mkdir(mode=0o700)
        for name, shape in sets.items():
            source, stored_cpu_s = store(name, shape, folder)
            found[name] = {"source": source, "stored_cpu_s": round(stored_cpu_s, 2)}
        engines: list[str] = []
        if peers:
            hand_over(next(iter(sets)), "trial.npz", folder, *TRIAL)
            engines, skipped = peer_engines.usable(folder / "trial.npz", folder, RULE)
        for name in found:
            measured, failed = measure(name, engines, rounds, folder)
            found[name] |= measured
            skipped |= failed
    return {
        "benchmark": "wide",
        "unit": "CPU seconds (user and system) of the whole process, medians of the rounds",
        "rounds": rounds,
        "rule_of_the_others": RULE,
        "sets": found,
        "peak_mb_goal": PEAK_MB_GOAL,
        "skipped": skipped,
    }


def measure(
    name: str, engines: list[str], rounds: int, folder: Path
) -> tuple[dict[str, Any], dict[str, str]]:
    """All engines on one set, in turns; and why an engine did not come to the end."""
    shape = hand_over(name, f"{name}.npz", folder)
    runs: dict[str, list[dict[str, Any]]] = {engine: [] for engine in ("kamou", *engines)}
    failed: dict[str, str] = {}
    for number in range(rounds):
        for engine in [one for one in runs if one not in failed]:
            sys.stderr.write(f"{name}, round {number + 1} of {rounds}: {engine} ...\n")
            if engine == "kamou":
                runs[engine].append(run_kamou(name, folder))
                continue
            try:
                runs[engine].append(run_peer(engine, name, folder))
            except PeerFailedError as why:
                failed[engine] = f"{engine} fails on {name}: {why}"
    medians = {engine: median_of(done) for engine, done in runs.items() if engine not in failed}
    ours = medians["kamou"]["cpu_s"]
    ratios = {
        engine: round(ours / figures["cpu_s"], 3)
        for engine, figures in medians.items()
        if engine != "kamou"
    }
    goals = GOALS.get(name, {})
    return {**shape, "engines": medians, "cpu_to": ratios, "cpu_to_goals": goals}, failed


# --- the table -------------------------------------------------------------------------------


def markdown(report: Mapping[str, Any]) -> str:
    """The report as the table of docs/performance.md."""
    lines = [
        "| bars | engine | CPU s | Kamou to it | goal | peak MB | trades |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, found in report["sets"].items():
        bars = f"`{name}` ({found['source']}): {found['symbols']} symbols, {found['bars']:,} bars"
        for engine, figures in found["engines"].items():
            ratio = found["cpu_to"].get(engine)
            goal = found["cpu_to_goals"].get(engine)
            cells = (
                bars,
                " ".join(filter(None, (engine, figures.get("version")))),
                f"{figures['cpu_s']:.1f}",
                "" if ratio is None else f"{ratio:.2f}",
                "" if goal is None else f"{goal:g}",
                f"{figures['peak_mb']:.0f}",
                f"{figures['trades']:,}",
            )
            lines.append(f"| {' | '.join(cells)} |")
            bars = ""
    lines += [f"\nSkipped: {reason}." for reason in report["skipped"].values()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=sorted(SETS), default=list(SETS))
    parser.add_argument("--peers", action="store_true", help="other people's engines, too")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--markdown", nargs="?", const="", metavar="FILE", help="print a table")
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the JSON there, too")
    given = parser.parse_args()
    if given.markdown:
        kept = json.loads(Path(given.markdown).read_text())
        sys.stdout.write(markdown(kept.get("wide", kept)))
        return
    sets = {name: SETS[name] for name in given.sets}
    report = compare(sets, peers=given.peers, rounds=given.rounds)
    text = json.dumps(report, indent=2) + "\n"
    if given.keep:
        given.keep.write_text(text)
    sys.stdout.write(text if given.markdown is None else markdown(report))


if __name__ == "__main__":
    main()
