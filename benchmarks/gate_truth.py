"""The truth table of the gate: what real runs of the demo find in planted markets.

    python benchmarks/gate_truth.py [--seeds 1..6] [--days 120] [--symbols 220] [--jobs 2]
        [--keep FOLDER] [--markdown]

For each seed the fast-forward of ``kamou run`` trades ``--days`` days of the generated market, with
every actor, all enabled strategies, the shadow book and the gate, and stops at its end. The table
is read from the journal of each run: the strategy has an edge or none, its candidates (signals at
the top of a ranking), shadow trades, blocks, mean R of blocks, e-value now and at its highest, both
of the newest attempt, the highest state with the day on which the gate gave it, and the state at
the end.

The exit code is 1 if a planted strategy has not become a canary, if one without an edge ever was
a canary or live, or if a strategy has no candidate. ``--keep`` leaves the data directories in a
folder, and reads those that stand there instead of running their seeds again. A seed of 120 days
and 220 symbols takes about 10 minutes of CPU.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import closing
from pathlib import Path

import attrs

from kamou.core.day import DAY_MS
from kamou.core.kinds import GateState
from kamou.core.record.gate import EarnedGate
from kamou.core.record.gate_explanation import explain_record
from kamou.core.record.gate_transitions import GateRules
from kamou.data_directory.folder import DataDirectory
from kamou.runs import demo
from kamou.runs.strategy_failures import FailureStop
from kamou.settings.config import Settings, load_settings
from kamou.store.database import open_reader
from kamou.store.gate_records import query_gate_source

GENESIS_MS = 1_756_684_800_000  # 2025-09-01T00:00Z, the first trading day, as in edges.py
HEADER = (
    "| seed | strategy | edge | candidates | shadow trades | blocks | mean R of blocks | E"
    " | highest E | highest state, day | state at the end |",
    "|---|---|---|---|---|---|---|---|---|---|---|",
)
RANKS = {GateState.HALTED: 0, GateState.SHADOW: 0, GateState.CANARY: 1, GateState.LIVE: 2}


@attrs.frozen(kw_only=True)
class Plan:
    """What each seed runs."""

    days: int
    symbols: int

    def settings(self, seed: int, folder: Path) -> Settings:
        """Return the settings of a seed: the defaults, and those of the environment are ignored."""
        given = load_settings(None, {}).settings
        shape = attrs.evolve(given.demo, seed=seed, days=self.days, symbols=self.symbols)
        return attrs.evolve(given, data_dir=folder, demo=shape)


@attrs.frozen(kw_only=True)
class Row:
    """One line of the table."""

    seed: int
    strategy: str
    planted: bool
    candidates: int
    shadow_trades: int
    blocks: int
    block_r: float | None  # mean R of the blocks; None without one
    e_value: float
    highest_e_value: float
    highest_state: GateState
    reached_on_day: int | None  # 1: the first day of trading; None: never more than SHADOW
    state: GateState

    @property
    def failure(self) -> str | None:
        """What contradicts the truth; None: nothing."""
        rank = RANKS[self.highest_state]
        if self.planted and not rank:
            return "has a planted edge and never became a canary"
        if not self.planted and rank:
            return f"has no edge and became {self.highest_state}"
        return None if self.candidates else "has no candidate"


# --- the run of a seed ------------------------------------------------------------------------


def run_seed(seed: int, plan: Plan, folder: Path) -> float:
    """Run the fast-forward of a seed to its end in a new folder; return its CPU seconds."""
    began_s = time.process_time()
    settings = plan.settings(seed, folder)
    until_ms = GENESIS_MS + plan.days * DAY_MS
    directory = DataDirectory(folder)
    directory.create()
    binding = demo.resolve_binding(
        settings, directory, now_ms=until_ms, fast_forward=True, replay=None
    )
    source = demo.open_source(settings, binding, replay=None, now_ms=until_ms)
    demo.store_binding(directory, binding)
    failures = FailureStop(keep_going=False)

    def progress(_phase: str, done: int, total: int) -> None:
        if done % 10 == 0 and done not in shown:
            shown.add(done)
            spent_s = time.process_time() - began_s
            sys.stderr.write(f"seed {seed}: {done} of {total} days, {spent_s:.0f} s of CPU\n")

    shown: set[int] = {0}
    forward = demo.FastForward(
        settings=settings,
        data_dir=directory,
        source=source,
        start_ms=binding.genesis_ms,
        until_ms=binding.until_ms,
        gate=EarnedGate(),
        progress=progress,
        announce=lambda _exit: None,
        on_strategy_failed=failures.record,
        stop=threading.Event(),
    )
    if not forward.run():
        raise SystemExit(f"the run of seed {seed} did not reach its end")
    mark_of(folder).touch()
    return time.process_time() - began_s


def mark_of(folder: Path) -> Path:
    """Return the file beside a data directory that exists once its run reached its end."""
    return folder.with_name(f"{folder.name}.done")


# --- the table --------------------------------------------------------------------------------


def read_rows(seed: int, plan: Plan, folder: Path) -> Iterator[Row]:
    """Yield a row for each enabled strategy, from the journal of a seed's run."""
    settings = plan.settings(seed, folder)
    planted = demo.find_edges(settings.demo)
    with closing(open_reader(DataDirectory(folder).database)) as reader:
        candidates = count_candidates(reader)
        for strategy in settings.strategies.enabled:
            yield judge(reader, seed, strategy, strategy in planted, candidates[strategy])


def count_candidates(reader: sqlite3.Connection) -> Counter[str]:
    """Return the number of candidates of all rankings by strategy."""
    found: Counter[str] = Counter()
    for (body,) in reader.execute("SELECT body FROM event WHERE kind = 'cycle_ranked'"):
        found.update(each["strategy"] for each in json.loads(body)["top"])
    return found


def judge(
    reader: sqlite3.Connection, seed: int, strategy: str, planted: bool, candidates: int
) -> Row:
    """Return the row of a strategy as of the journal's last event."""
    (now_ms,) = reader.execute("SELECT max(at_ms) FROM event").fetchone()
    source = query_gate_source(reader, strategy)
    told = explain_record(source.record, source.gate, now_ms, GateRules())
    changes = [
        (GateState(state), at_ms)
        for state, at_ms in reader.execute(
            "SELECT to_state, at_ms FROM gate_change WHERE strategy = ? ORDER BY number",
            (strategy,),
        )
    ]
    highest, reached_ms = GateState.SHADOW, None
    for state, at_ms in changes:
        if RANKS[state] > RANKS[highest]:
            highest, reached_ms = state, at_ms
    means = [each.mean_r for each in told.blocks]
    return Row(
        seed=seed,
        strategy=strategy,
        planted=planted,
        candidates=candidates,
        shadow_trades=len(source.record.closed) + source.opened,
        blocks=len(told.blocks),
        block_r=sum(means) / len(means) if means else None,
        e_value=told.look.evaluation.e_value_blocks,
        highest_e_value=max((each.e_value for each in told.blocks), default=1.0),
        highest_state=highest,
        reached_on_day=None if reached_ms is None else (reached_ms - GENESIS_MS) // DAY_MS + 1,
        state=source.gate.state,
    )


def markdown(row: Row) -> str:
    """Return a row as a line of the Markdown table."""
    day = "" if row.reached_on_day is None else f", day {row.reached_on_day}"
    mean = "" if row.block_r is None else f"{row.block_r:+.2f}"
    return (
        f"| {row.seed} | `{row.strategy}` | {'planted' if row.planted else 'none'}"
        f" | {row.candidates:,} | {row.shadow_trades:,} | {row.blocks} | {mean}"
        f" | {row.e_value:.3g} | {row.highest_e_value:.3g} | {row.highest_state}{day}"
        f" | {row.state} |"
    )


# --- all seeds --------------------------------------------------------------------------------


def run_all(seeds: Sequence[int], plan: Plan, folder: Path, jobs: int) -> None:
    """Run each seed whose folder has no ended run, ``jobs`` at a time."""
    folders = {seed: folder / f"seed-{seed}-{plan.symbols}-{plan.days}" for seed in seeds}
    waiting = {seed: path for seed, path in folders.items() if not mark_of(path).exists()}
    for path in waiting.values():
        shutil.rmtree(path, ignore_errors=True)  # a run that was interrupted
    if jobs == 1:
        for seed, path in waiting.items():
            sys.stderr.write(f"seed {seed}: {run_seed(seed, plan, path):.0f} s of CPU\n")
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=jobs, mp_context=context) as pool:
        running = {pool.submit(run_seed, seed, plan, path): seed for seed, path in waiting.items()}
        for done in as_completed(running):
            sys.stderr.write(f"seed {running[done]}: {done.result():.0f} s of CPU\n")


def make_table(seeds: Sequence[int], plan: Plan, folder: Path) -> list[Row]:
    """Return the rows of all seeds, whose runs have ended."""
    return [
        row
        for seed in seeds
        for row in read_rows(seed, plan, folder / f"seed-{seed}-{plan.symbols}-{plan.days}")
    ]


def main(arguments: Sequence[str]) -> int:
    """Run the seeds and print the table; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", default="1..6", help="FIRST..LAST, or one seed")
    parser.add_argument("--days", type=int, default=120)
    parser.add_argument("--symbols", type=int, default=220)
    parser.add_argument("--jobs", type=int, default=1, help="seeds at a time")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="data directories stay there")
    parser.add_argument("--markdown", action="store_true", help="print a table, not JSON lines")
    given = parser.parse_args(arguments)
    first, _, last = given.seeds.partition("..")
    seeds = range(int(first), int(last or first) + 1)
    plan = Plan(days=given.days, symbols=given.symbols)
    with tempfile.TemporaryDirectory(prefix="kamou-gate-truth-") as made:
        folder = given.keep or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        run_all(seeds, plan, folder, given.jobs)
        rows = make_table(seeds, plan, folder)
    if given.markdown:
        sys.stdout.write("\n".join((*HEADER, *map(markdown, rows))) + "\n")
    else:
        sys.stdout.write("".join(json.dumps(attrs.asdict(row)) + "\n" for row in rows))
    failed = [row for row in rows if row.failure]
    for row in failed:
        sys.stderr.write(f"seed {row.seed}: {row.strategy} {row.failure}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
