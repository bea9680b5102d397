"""The table of mutants fits the source and the document; some mutants run here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import attrs
import pytest

from kamou.simulator.faults import parse_faults
from kamou.venue.violations import HardRule
from tests.simulation import mutation_suite
from tests.simulation.mutants import table
from tests.simulation.mutation_suite import BEGIN, DOCS, END, QUICK, ROOT, MutantError

NAMES = [mutant.name for mutant in table()]
FROM_THE_REVIEWER = 10


def test_every_mutant_of_the_table_still_finds_its_text_and_changes_it() -> None:
    for mutant in table():
        for file, text in mutation_suite.mutated(mutant).items():
            compile(text, file, "exec")
        if not mutant.tests:
            parse_faults(mutant.faults)
        assert all((ROOT / file).exists() for file in mutant.tests)
    assert len(set(NAMES)) == len(NAMES) >= 40
    assert sum(mutant.author == "reviewer" for mutant in table()) >= FROM_THE_REVIEWER


def test_no_mutant_uses_a_name_that_its_file_does_not_define(tmp_path: Path) -> None:
    """Such a mutant crashes at once, whatever its defect is meant to be."""
    for number, mutant in enumerate(table()):
        for file, text in mutation_suite.mutated(mutant).items():
            to = tmp_path / f"mutant_{number}" / file
            to.parent.mkdir(parents=True, exist_ok=True)
            to.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_mutant_whose_text_is_missing_is_an_error() -> None:
    gone = attrs.evolve(table()[0], old="nobody wrote this")
    with pytest.raises(MutantError, match="0 times, not once"):
        mutation_suite.mutated(gone)


@pytest.mark.parametrize("name", QUICK)
def test_an_obvious_mutant_is_caught_within_three_seeds_or_by_its_tests(name: str) -> None:
    mutant = attrs.evolve(next(m for m in table() if m.name == name), hours=0.1, seeds=3)
    verdict = mutation_suite.judge(mutant, seeds_max=3)
    assert verdict.caught
    assert verdict.rule.partition("[")[0] in mutant.named


def test_every_mutant_names_rules_or_tests_that_exist_in_its_files() -> None:
    for mutant in table():
        assert bool(mutant.notices) is not bool(mutant.tests), mutant.name
        assert bool(mutant.fails) is bool(mutant.tests), mutant.name
        texts = [(ROOT / file).read_text(encoding="utf-8") for file in mutant.tests]
        for name in mutant.fails:
            assert any(f"def {name}(" in text for text in texts), f"{mutant.name}: {name}"


def test_a_mutant_that_only_a_check_reports_that_it_does_not_name_is_not_caught() -> None:
    mutant = attrs.evolve(next(m for m in table() if m.name == QUICK[0]), hours=0.1)
    verdict = mutation_suite.judge(attrs.evolve(mutant, notices=(HardRule.LOST,)), seeds_max=1)
    assert (verdict.caught, verdict.other) == (False, "UNJOURNALLED")
    row = f"| design | none | **nothing** that it names, but {verdict.other} |"
    assert row in mutation_suite.page([verdict], controlled=0)


def test_a_mutant_that_only_a_test_sees_that_it_does_not_name_is_not_caught() -> None:
    mutant = next(m for m in table() if m.name == QUICK[3])
    name = "test_a_resume_needs_a_reason"
    verdict = mutation_suite.judge(attrs.evolve(mutant, fails=(name,)), seeds_max=1)
    assert (verdict.caught, verdict.other.partition("[")[0]) == (False, mutant.fails[0])


def test_the_page_of_mutants_lists_every_mutant_as_caught_by_a_check_that_it_names() -> None:
    text = DOCS.read_text(encoding="utf-8")
    rows = text[text.index(BEGIN) : text.index(END)].splitlines()
    listed = [row for row in rows if row.startswith("| ")][1:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in listed] == NAMES
    caught_by = [row.split(" | ")[4].strip("`").partition("[")[0] for row in listed]
    pairs = zip(table(), caught_by, strict=True)
    assert not [by for mutant, by in pairs if by not in mutant.named]
