"""The table of mutants fits the source and the document; some mutants run here."""

from __future__ import annotations

import attrs
import pytest

from kamou.simulator.faults import parse_faults
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


def test_a_mutant_whose_text_is_missing_is_an_error() -> None:
    gone = attrs.evolve(table()[0], old="nobody wrote this")
    with pytest.raises(MutantError, match="0 times, not once"):
        mutation_suite.mutated(gone)


@pytest.mark.parametrize("name", QUICK)
def test_an_obvious_mutant_is_caught_within_three_seeds_or_by_its_tests(name: str) -> None:
    mutant = attrs.evolve(next(m for m in table() if m.name == name), hours=0.1, seeds=3)
    verdict = mutation_suite.judge(mutant, seeds_max=3)
    assert verdict.caught
    assert verdict.rule in mutant.notices or (mutant.tests and verdict.rule.startswith("test_"))


def test_the_page_of_mutants_lists_every_mutant_as_caught() -> None:
    text = DOCS.read_text(encoding="utf-8")
    rows = text[text.index(BEGIN) : text.index(END)].splitlines()
    listed = [row for row in rows if row.startswith("| ")][1:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in listed] == NAMES
    assert not [row for row in listed if "**nothing**" in row]
