"""Meanings and actions of all codes that Kamou can show."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from kamou.core.codes import ACTIONS, CAUSES, MEANINGS, REJECTIONS, Deny
from kamou.core.words import DRIFTS

ROOT = Path(__file__).parents[2]
ROOMS = ("actors", "exchange", "runs", "store", "venue")
CODE = re.compile(r"[A-Z]+(_[A-Z]+)+")
CARRIERS = frozenset({"InvalidPermitError", "RejectedError", "_reject_entry", "_reject"})


def codes_in(source: str) -> Iterator[str]:
    """Yield each code that the source passes to one of ``CARRIERS``."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        for word in node.args if called in CARRIERS else ():
            if isinstance(word, ast.Constant) and CODE.fullmatch(str(word.value)):
                yield str(word.value)


def test_every_code_has_an_action_that_ends_with_a_period_and_every_action_a_code() -> None:
    codes = {*MEANINGS, *REJECTIONS, *DRIFTS, *(reason.value for reason in CAUSES)}
    assert set(ACTIONS) == codes
    assert not [code for code, action in ACTIONS.items() if not action.endswith(".")]


def test_every_code_of_the_port_and_the_venue_has_a_meaning_and_no_other_does() -> None:
    used = {
        code
        for room in ROOMS
        for path in (ROOT / "kamou" / room).rglob("*.py")
        for code in codes_in(path.read_text(encoding="utf-8"))
    }
    assert used - set(Deny.__members__) == set(REJECTIONS) - set(Deny.__members__)
    assert set(codes_in("raise RejectedError('PRICE_MISSING', why)")) == {"PRICE_MISSING"}
