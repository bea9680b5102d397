"""Draw small changes of the risk modules, and find those that no test notices.

``make mutants`` runs it. It exits with 1 when less than CAUGHT_MIN of the drawn changes are caught;
those that are proven to change nothing (``machine_equivalents``) are left out of the count.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))  # so that a script can import the tests

import attrs
import pytest

from tests.simulation.machine_equivalents import PROOFS
from tests.simulation.machine_mutants import Change, draw
from tests.simulation.machine_trials import ROOT, SIMULATIONS, Outcome, Runs, Trials
from tests.simulation.mutation_suite import DOCS, write_page

MODULES = (
    "kamou/core/sides.py",
    "kamou/core/risk/*.py",
    "kamou/core/book/account_state.py",
    "kamou/core/book/balance_changes.py",
    "kamou/core/book/book_orders.py",
    "kamou/core/book/book_trades.py",
    "kamou/core/book/book_transfers.py",
    "kamou/core/book/fold.py",
    "kamou/core/book/midnights.py",
    "kamou/core/book/open_day.py",
    "kamou/core/book/permits.py",
    "kamou/core/book/book_state.py",
    "kamou/core/book/position_book.py",
    "kamou/core/book/recent_activity.py",
    "kamou/core/book/reconciliation_state.py",
    "kamou/core/book/trades.py",
    "kamou/core/book/trading_status.py",
    "kamou/core/reconciliation/protection.py",
    "kamou/core/reconciliation/reconciliation.py",
    "kamou/core/reconciliation/adoption.py",
    "kamou/core/reconciliation/orphan_orders.py",
    "kamou/core/reconciliation/unresolved_orders.py",
    "kamou/runs/flatten.py",
)
TESTS = (
    "tests/core",
    "tests/actors/test_approval.py",
    "tests/actors/test_market_ends.py",
    "tests/actors/test_midnight.py",
    "tests/actors/test_overlap.py",
    "tests/actors/test_pipeline.py",
    "tests/actors/test_stale.py",
    "tests/actors/test_vigilance.py",
    "tests/runs/test_kill_switch.py",
    "tests/runs/test_full_disk.py",
    "tests/runs/test_flatten_before_the_first_trade.py",
    "tests/data_directory/test_private_files.py",
)
"""The quick tests that may catch a change; simulations judge the other changes.

Processes that a test starts run the unchanged source.
"""

ONLY_OF = dict.fromkeys(
    (
        "tests/runs/test_kill_switch.py",
        "tests/runs/test_full_disk.py",
        "tests/runs/test_flatten_before_the_first_trade.py",
        "tests/data_directory/test_private_files.py",
    ),
    "kamou/runs/flatten.py",
)
"""Slow tests that call the kill switch, each with the only file whose changes it judges."""

BESIDE = ("performance", "strategies", "indicators", "ranking", "panel", "bars")
"""Names of tests of the core that call none of these modules."""

CAUGHT_MIN = 0.95
SEED_MAX = 10**9
BEGIN = "<!-- machine: written by make mutants -->"
END = "<!-- end of machine -->"


def texts() -> dict[str, str]:
    """Return the texts of the modules to be changed, by path from the root."""
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for pattern in MODULES
        for path in sorted(ROOT.glob(pattern))
    }


@attrs.frozen(kw_only=True)
class Tally:
    """The outcomes of one draw."""

    seed: int
    outcomes: tuple[Outcome, ...]

    @property
    def survivors(self) -> tuple[Change, ...]:
        """Changes that no test or simulation caught and that have no proof."""
        return tuple(
            o.change for o in self.outcomes if not o.caught and o.change.identity not in PROOFS
        )

    @property
    def equivalent(self) -> tuple[Change, ...]:
        return tuple(
            o.change for o in self.outcomes if not o.caught and o.change.identity in PROOFS
        )

    @property
    def caught(self) -> int:
        return sum(outcome.caught for outcome in self.outcomes)

    @property
    def share(self) -> float:
        """Share of caught changes without the proven equivalents; 1 if none was drawn."""
        judged = self.caught + len(self.survivors)
        return self.caught / judged if judged else 1.0

    def summary(self) -> str:
        simulations = sum(o.by.startswith("simulation ") for o in self.outcomes)
        return (
            f"seed {self.seed}: {len(self.outcomes)} changes, {self.caught} caught"
            f" ({simulations} of them by simulations only),"
            f" {len(self.equivalent)} proven equivalent,"
            f" {len(self.survivors)} survived: {self.share:.1%} caught"
        )


def page(tally: Tally) -> str:
    """Return the part of the document about this draw, with its markers."""
    lines = [BEGIN, "", f"{tally.summary().capitalize()}.", ""]
    lines += [f"- survived: `{change.name}`" for change in tally.survivors]
    return "\n".join([*lines, *([""] if tally.survivors else []), END])


def run(
    changes: Sequence[Change],
    *,
    seed: int,
    jobs: int,
    tests: Sequence[str] = TESTS,
    simulations: Sequence[Runs] = SIMULATIONS,
    notes: Path | None = None,
) -> Tally:
    """Try the changes in this process's forks.

    Raises:
        RuntimeError: the tests cannot be collected or the unchanged product fails them or a
            simulation, or a change cannot be put in.
    """
    outcomes: list[Outcome] = []

    def report(outcome: Outcome) -> None:
        outcomes.append(outcome)
        verdict = outcome.by or ("equivalent" if outcome.change.identity in PROOFS else "SURVIVED")
        sys.stderr.write(
            f"{len(outcomes)}/{len(changes)} {outcome.change.name}: {verdict}"
            f" ({outcome.seconds:.1f} s)\n"
        )

    trials = Trials(
        changes=changes,
        files=texts(),
        jobs=jobs,
        report=report,
        simulations=simulations,
        notes=notes,
        only_of=ONLY_OF,
    )
    quiet = ["-q", "-s", "--no-header", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov"]
    skipped = [f"--ignore-glob=*/test_{name}*" for name in BESIDE]
    pytest.main(
        [
            *quiet,
            "-o",
            "addopts=",
            "--hypothesis-seed=0",
            *skipped,
            *(str(ROOT / t) for t in tests),
        ],
        plugins=[trials],
    )
    if trials.broken:
        raise RuntimeError(trials.broken)
    return Tally(seed=seed, outcomes=tuple(outcomes))


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=None, help="seed of the draw; the default is random"
    )
    parser.add_argument("--count", type=int, default=200, help="changes to draw")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--only", default="", help="try only drawn changes whose name contains this"
    )
    parser.add_argument(
        "--notes", type=Path, help="keep the calls of each test in this file, and reuse them"
    )
    parser.add_argument("--json", type=Path, help="write the outcomes here")
    parser.add_argument(
        "--write-docs", action="store_true", help=f"write the figures into {DOCS.name}"
    )
    options = parser.parse_args()
    seed = secrets.randbelow(SEED_MAX) if options.seed is None else options.seed
    sys.stderr.write(f"--seed {seed} draws these {options.count} changes again\n")
    chosen = [c for c in draw(texts(), seed, options.count) if options.only in c.name]
    tally = run(chosen, seed=seed, jobs=options.jobs, notes=options.notes)
    if options.json:
        rows = [attrs.asdict(o) | {"name": o.change.name} for o in tally.outcomes]
        options.json.write_text(json.dumps({"seed": seed, "trials": rows}, indent=2) + "\n")
    if options.write_docs:
        write_page(page(tally), begin=BEGIN, end=END)
    for change in tally.survivors:
        sys.stderr.write(f"SURVIVED {change.name}\n")
    sys.stderr.write(tally.summary() + "\n")
    return 0 if tally.share >= CAUGHT_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
