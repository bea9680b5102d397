"""The rules of the code are those of docs/reliability.md, and each stands in its own file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from kamou.venue.violations import HardRule
from tests.simulation.mutants import TrialRule

ROOT = Path(__file__).parents[2]
INVARIANTS = ROOT / "kamou/simulator/invariants"
VENUE = (
    "kamou/venue/checker.py",
    "kamou/venue/limit_checker.py",
    "kamou/simulator/invariants/venue_records.py",
)
ELSEWHERE = {
    "kamou/simulator/invariants/crashes.py": ("13", "it checks actors, whatever ended them"),
    # file: number of the invariant, and why it does not stand with the others
    "kamou/simulator/site_faults.py": ("13", "it supervises the site and sees that it serves"),
    "kamou/simulator/monitor.py": ("6 7 13", "it reports what compares book, money and record"),
}


def rules_of_the_page() -> dict[str, set[str]]:
    """Return the rules of each row: number, or an empty text -> names."""
    text = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")
    table = text[text.index("\n## Invariants") : text.index("\n## What this does not show")]
    rows = [line.split("|") for line in table.splitlines() if line.startswith("| ")]
    return {row[1].strip(): set(re.findall(r"`([A-Z_]+)`", row[3])) for row in rows[1:]}


def rules_named_in(path: Path) -> set[str]:
    """Return the members of ``HardRule`` that a file names."""
    return {
        node.attr
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "HardRule"
    }


def number_of(path: Path) -> str:
    """Return the number in the first line of a file of an invariant; empty if it has none."""
    found = re.match(r'"""Invariant (\d+)', path.read_text(encoding="utf-8"))
    return found[1] if found else ""


FILES = sorted(path for path in INVARIANTS.glob("*.py") if rules_named_in(path))


def test_the_page_of_reliability_names_every_rule_and_no_other() -> None:
    listed = set().union(*rules_of_the_page().values())
    assert listed == {rule.value for rule in HardRule} | {rule.value for rule in TrialRule}


def test_the_text_of_a_rule_is_its_name() -> None:
    assert [rule.value for rule in HardRule] == [rule.name for rule in HardRule]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_an_invariant_reports_only_rules_of_its_number(path: Path) -> None:
    assert rules_named_in(path) <= rules_of_the_page()[number_of(path)]


def test_every_rule_is_reported_by_a_file_of_its_number_or_by_the_venues_checkers() -> None:
    by_venue = set().union(*(rules_named_in(ROOT / file) for file in VENUE))
    reported: dict[str, set[str]] = {}
    for path in FILES:
        reported.setdefault(number_of(path), set()).update(rules_named_in(path))
    for file, (numbers, _) in ELSEWHERE.items():
        for number in numbers.split():
            reported.setdefault(number, set()).update(rules_named_in(ROOT / file))
    trials = {rule.value for rule in TrialRule}
    for number, rules in rules_of_the_page().items():
        assert rules - trials <= reported.get(number, set()) | by_venue, number


def test_the_package_of_invariants_lists_every_file() -> None:
    text = (INVARIANTS / "__init__.py").read_text(encoding="utf-8")
    files = {path.stem for path in INVARIANTS.glob("*.py")} - {"__init__"}
    assert files <= set(re.findall(r"``(\w+)``", text))
