"""The mutation operators, and the trials of their changes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.simulation import machine_suite
from tests.simulation.machine_equivalents import PROOFS
from tests.simulation.machine_mutants import Change, changes_of, draw, fits
from tests.simulation.machine_suite import Tally
from tests.simulation.machine_trials import Outcome

SAMPLE = '''
LIMIT = 1 + 1


class Book:
    def left(self, a: int | None, b: int = 2 - 1) -> int:
        """Text - text."""
        assert a < b
        if a is None:
            raise ValueError(f"{a - b}")
        total = {expression}
        return total
'''


def found(expression: str) -> set[tuple[str, str]]:
    """Return operator and new text of every change of one expression."""
    text = SAMPLE.replace("{expression}", expression)
    changes = [c for c in changes_of("m.py", text) if c.line == text.count("\n", 0, c.start) + 1]
    for change in changes:
        compile(change.applied(text), "m.py", "exec")
        assert change.function == "Book.left"
    return {(c.operator, "".join(c.new.split())) for c in changes if c.old != "a is None"}


@pytest.mark.parametrize(
    ("expression", "changes"),
    [
        ("a + b", {("sign", "((a)-(b))"), ("dropped term", "(a)"), ("dropped term", "(b)")}),
        ("a - b", {("sign", "((a)+(b))"), ("dropped term", "(a)"), ("dropped term", "(-(b))")}),
        ("a * b", {("dropped term", "(a)"), ("dropped term", "(b)")}),
        ("-a", {("sign", "(a)")}),
        ("abs(a)", {("sign", "(a)")}),
        ("a < b", {("comparison", "((a)<=(b))"), ("comparison", "((a)>=(b))")}),
        ("a == b", {("comparison", "((a)!=(b))")}),
        ("not a", {("comparison", "(a)")}),
        ("a and b", {("dropped term", "((a))"), ("dropped term", "((b))")}),
        (
            "max(a, b)",
            {("min/max", "min"), ("dropped term", "(a)"), ("dropped term", "(b)")},
        ),
        ("a // b", {("rounding", "((a)/(b))"), ("dropped term", "(a)")}),
        ("a.quantize(b)", {("rounding", "(a)")}),
        ("f(ROUND_FLOOR)", {("rounding", "ROUND_CEILING")}),
        ("[x for x in a if x.b]", {("removed guard", "True")}),
        ("a if b.c else b", {("removed guard", "True"), ("removed guard", "False")}),
        ("'a' + b", set()),
        ("f'{a - b}'", set()),
    ],
)
def test_each_mutation_operator_makes_the_change_of_its_name(
    expression: str, changes: set[tuple[str, str]]
) -> None:
    assert found(expression) == changes


def test_mutants_remove_guards_and_change_no_declarations_assertions_or_errors() -> None:
    changes = changes_of("m.py", SAMPLE.replace("{expression}", "a"))
    assert {(c.operator, c.old, c.new) for c in changes} == {
        ("removed guard", "a is None", "False"),
        ("comparison", "a is None", "((a) is not (None))"),
    }


def test_a_change_that_drops_the_free_variable_of_a_closure_does_not_fit() -> None:
    text = "def outer(a):\n    def inner(b):\n        return b + a\n    return inner\n"
    by_new = {c.new: fits(c, text) for c in changes_of("m.py", text)}
    assert by_new == {"((b) - (a))": True, "(b)": False, "(a)": True}
    assert {c.function for c in changes_of("m.py", text)} == {"outer.<locals>.inner"}


def test_a_seed_draws_the_same_mutants_twice_and_another_seed_draws_others() -> None:
    texts = {file: text for file, text in machine_suite.texts().items() if "sizing" in file}
    names = [change.name for change in draw(texts, 7, 20)]
    assert names == [change.name for change in draw(texts, 7, 20)]
    assert len(set(names)) == 20
    assert names != [change.name for change in draw(texts, 8, 20)]


def test_every_change_that_is_proven_equivalent_can_still_be_drawn() -> None:
    identities = {
        change.identity
        for file, text in machine_suite.texts().items()
        for change in changes_of(file, text)
    }
    assert not PROOFS.keys() - identities
    assert all(len(proof) > 30 for proof in PROOFS.values())


def test_the_caught_share_leaves_out_proven_equivalents_and_counts_every_survivor() -> None:
    (proven, *_) = (Change(**_CHANGE, file=f, function=n, old=o, new=w) for f, n, o, w in PROOFS)
    other = attrs.evolve(proven, function="nobody.proved.this")

    def outcome(change: Change, by: str) -> Outcome:
        return Outcome(change=change, by=by, tests=1, left=0, seconds=0.1)

    outcomes = (outcome(proven, ""), outcome(other, ""), outcome(other, "test_x"))
    tally = Tally(seed=1, outcomes=outcomes)
    assert (tally.caught, tally.equivalent, tally.survivors) == (1, (proven,), (other,))
    assert tally.share == 0.5
    assert "nobody.proved.this" in machine_suite.page(tally)


_CHANGE: dict[str, Any] = {"start": 0, "end": 0, "operator": "sign", "line": 1}
TRIAL = """
import json
import machine_suite
from machine_mutants import changes_of
texts = machine_suite.texts()
chosen = []
for file, new in (
    ("kamou/core/risk/pacing.py", "((now_ms) + (self.at_ms))"),
    ("kamou/core/risk/pacing.py", "((self.tokens) + (messages))"),
    ("kamou/core/risk/sizing.py", "((bad))"),  # without the check that equity is above 0
):
    chosen += [change for change in changes_of(file, texts[file]) if change.new == new]
tests = ["tests/core/risk/test_governor_portfolio.py"]
tally = machine_suite.run(chosen, seed=0, jobs=1, tests=tests, simulations=())
print(json.dumps([[o.change.new, o.by, o.tests] for o in tally.outcomes]))
"""


def test_a_change_is_caught_if_a_test_fails_and_survives_if_none_does() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TRIAL],
        cwd=Path(machine_suite.__file__).parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *caught, survived = json.loads(done.stdout.splitlines()[-1])
    assert len(caught) == 2
    for _, by, tests in caught:
        assert by.startswith("tests/core/risk/test_governor_portfolio.py::")
        assert tests >= 1
    assert survived[1] == ""
