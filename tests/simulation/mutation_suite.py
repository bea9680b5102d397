"""Trials of each mutant of the table in a copy of the product.

``make mutants`` runs it. It exits with 1 when a defect is not caught, or when the product as it
is fails one of the same simulations or tests. A defect is caught if one of the checks that its row
names reports it. If another check does, the suite names it, and the defect is not caught.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[2]))  # so that a script can import the tests

import attrs

from tests.simulation.mutants import Mutant, TrialRule, table

ROOT = Path(__file__).parents[2]
TRIAL = Path(__file__).with_name("mutant_trial.py")
DOCS = ROOT / "docs" / "reliability-mutants.md"
BEGIN = "<!-- mutants: written by make mutants -->"
END = "<!-- end of mutants -->"
TRIAL_MAX_S = 300.0  # of a simulation, or of tests; a defect may make the system spin
QUICK = (
    "the intent is journalled after the order was sent",
    "the port does not use permits up",
    "fees are not subtracted from a trade's result",
    "a resume passes in spite of drift",
)


class MutantError(Exception):
    """A mutant does not fit the source, its trial failed, or a page has no markers."""


@attrs.frozen(kw_only=True)
class Verdict:
    """The outcome of one mutant. ``seed`` is the simulation that caught it; 0: none.

    ``other`` is the first check that failed and that the mutant does not name; empty: none.
    """

    mutant: Mutant
    seed: int
    rule: str
    detail: str
    cpu_s: float
    other: str = ""

    @property
    def caught(self) -> bool:
        return self.seed > 0


def mutated(mutant: Mutant, root: Path = ROOT) -> dict[str, str]:
    """Return the files of the mutant: path from the root -> text.

    Raises:
        MutantError: an old text is not there exactly once, or its new one changes nothing.
    """
    texts: dict[str, str] = {}
    for file, old, new in ((mutant.file, mutant.old, mutant.new), *mutant.also):
        text = texts.get(file) or (root / file).read_text(encoding="utf-8")
        if (found := text.count(old)) != 1:
            raise MutantError(
                f"{mutant.name}: its old text is in {file} {found} times, not once; correct it"
            )
        if old == new:
            raise MutantError(
                f"{mutant.name}: its old and new text of {file} are the same; correct it"
            )
        texts[file] = text.replace(old, new)
    return texts


def by_simulations(simulations: Iterable[tuple[str, float, Sequence[int]]]) -> dict[str, Any]:
    """Return what a trial of simulations of (faults, hours, seeds) runs."""
    return {"simulations": [(faults, hours, list(seeds)) for faults, hours, seeds in simulations]}


def by_tests(files: Iterable[str]) -> dict[str, Any]:
    """Return what a trial of the tests of these files, from the root, runs."""
    return {"tests": [str(ROOT / file) for file in files]}


def trial(
    change: Mutant | None, runs: dict[str, Any], *, limit_s: float = TRIAL_MAX_S
) -> dict[str, Any]:
    """Run simulations or tests with the change in a copy, up to the first failure.

    With a change, only a failure of a check that it names ends the trial.
    """
    named = change.named if change is not None else ()
    with tempfile.TemporaryDirectory(prefix="kamou-mutant-") as folder:
        copy = Path(folder)
        shutil.copytree(
            ROOT / "kamou", copy / "kamou", ignore=shutil.ignore_patterns("__pycache__")
        )
        if change is not None:
            for file, text in mutated(change).items():
                (copy / file).write_text(text, encoding="utf-8")
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                [sys.executable, str(TRIAL), json.dumps(runs | {"named": named})],
                cwd=folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            caught = not named or TrialRule.SPINS in named
            return {
                "seed": int(caught),
                "rule": TrialRule.SPINS if caught else "",
                "detail": f"it did not end in {limit_s} s",
                "cpu_s": 0.0,
                "simulations": 0,
                "other": "" if caught else TrialRule.SPINS,
            }
    if done.returncode:
        raise MutantError(f"{change.name if change else 'control'}: {done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def judge(mutant: Mutant, seeds_max: int) -> Verdict:
    """Let simulations judge one defect, or its tests if it has any."""
    seeds = range(1, min(mutant.seeds, seeds_max) + 1)
    if mutant.tests:
        found = trial(mutant, by_tests(mutant.tests))
    else:
        simulations = by_simulations([(mutant.faults, mutant.hours, seeds)])
        found = trial(mutant, simulations, limit_s=TRIAL_MAX_S * len(seeds))
    return Verdict(
        mutant=mutant,
        seed=found["seed"],
        rule=found["rule"],
        detail=found["detail"],
        cpu_s=found["cpu_s"],
        other=found["other"],
    )


def control(verdicts: Iterable[Verdict]) -> dict[str, Any]:
    """Judge the unchanged product by every simulation and test of the mutants."""
    simulations: dict[tuple[str, float], int] = {}
    tests: dict[str, None] = {}
    for verdict in verdicts:
        if verdict.mutant.tests:
            tests |= dict.fromkeys(verdict.mutant.tests)
            continue
        key = (verdict.mutant.faults, verdict.mutant.hours)
        simulations[key] = max(simulations.get(key, 1), verdict.seed or verdict.mutant.seeds)
    if tests and (found := trial(None, by_tests(tests)))["seed"]:
        return found
    return trial(
        None,
        by_simulations(
            [(faults, hours, range(1, last + 1)) for (faults, hours), last in simulations.items()]
        ),
        limit_s=TRIAL_MAX_S * 10,  # the simulations of all mutants
    )


def page(verdicts: Sequence[Verdict], controlled: int) -> str:
    """Return the part of the document with the table of mutants."""
    lines = [
        BEGIN,
        "",
        f"{len(verdicts)} defects, {sum(v.caught for v in verdicts)} caught. The product itself"
        f" passed all {controlled} simulations in which one was, and the tests that caught one.",
        "",
        "| defect | in | by | faults | caught by | seeds |",
        "|---|---|---|---|---|---|",
    ]
    for verdict in verdicts:
        mutant = verdict.mutant
        faults = mutant.faults.replace(",", ", ")
        seeds = "" if mutant.tests else verdict.seed or f"not in {mutant.seeds}"
        rule = f"`{verdict.rule}`" if mutant.tests and verdict.caught else verdict.rule
        lines.append(
            f"| {mutant.name} | `{mutant.file}` | {mutant.author} | {faults or 'tests'} |"
            f" {rule or _describe_escape(verdict)} | {seeds} |"
        )
    return "\n".join([*lines, "", END])


def _describe_escape(verdict: Verdict) -> str:
    """Return what the page says of a mutant that no named check saw."""
    return f"**nothing** that it names, but {verdict.other}" if verdict.other else "**nothing**"


def write_page(text: str, document: Path = DOCS, *, begin: str = BEGIN, end: str = END) -> None:
    """Replace the text between the markers, and the markers, by ``text``.

    Raises:
        MutantError: the document lacks one of the markers.
    """
    before, _, rest = document.read_text(encoding="utf-8").partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise MutantError(f"{document.name} has no markers {begin} and {end}; put them back")
    document.write_text(before + text + after, encoding="utf-8")


def run(chosen: Sequence[Mutant], *, jobs: int, seeds: int) -> tuple[list[Verdict], dict[str, Any]]:
    """Judge all chosen mutants, and then the unchanged product."""
    for mutant in chosen:
        mutated(mutant)  # fails here for the whole table, before trials that take an hour
    verdicts = []
    with ThreadPoolExecutor(jobs) as pool:
        for verdict in pool.map(lambda mutant: judge(mutant, seeds), chosen):
            told = f"seed {verdict.seed}: {verdict.rule}"
            if not verdict.caught:
                seen = f", but by {verdict.other}" if verdict.other else ""
                told = f"NOT CAUGHT by {', '.join(verdict.mutant.named)}{seen}"
            sys.stderr.write(f"{verdict.mutant.name}: {told} ({verdict.cpu_s:.1f} s)\n")
            verdicts.append(verdict)
    return verdicts, control(verdicts)


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--seeds", type=int, default=1_000, help="maximum number of seeds for each mutant"
    )
    parser.add_argument(
        "--only", default="", help="only names that contain one of these, separated by commas"
    )
    parser.add_argument("--json", type=Path, help="write the verdicts here")
    parser.add_argument(
        "--write-docs", action="store_true", help=f"replace the table of {DOCS.name}"
    )
    options = parser.parse_args()
    wanted = options.only.split(",")
    chosen = [mutant for mutant in table() if any(part in mutant.name for part in wanted)]
    if not chosen:
        parser.error(f"no mutant has one of {wanted} in its name")
    if options.only and options.write_docs:
        parser.error("--write-docs needs the verdicts of all mutants, so not --only")
    verdicts, controlled = run(chosen, jobs=options.jobs, seeds=options.seeds)
    if options.json:
        rows = [attrs.asdict(verdict) | {"caught": verdict.caught} for verdict in verdicts]
        told = {"control": controlled, "mutants": rows}
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    if options.write_docs:
        write_page(page(verdicts, controlled["simulations"]))
    missed = [verdict.mutant.name for verdict in verdicts if not verdict.caught]
    sys.stderr.write(f"{len(verdicts) - len(missed)} of {len(verdicts)} caught\n")
    if controlled["seed"]:
        sys.stderr.write(f"the product itself fails: {controlled}\n")
    return 1 if missed or controlled["seed"] else 0


if __name__ == "__main__":
    sys.exit(main())
