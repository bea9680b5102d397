"""Words that the glossary has replaced stay out of names, pages and messages.

``docs/glossary.md`` has the words in use. A name is split at its underscores and capitals, so
``StopLeg`` and ``stop_leg`` both have the part ``leg``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = (
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("docs/decisions/*.md"),
    *ROOT.glob("kamou/web/templates/*.html"),
)
HISTORY = ("CHANGELOG.md",)  # describes former versions in their own words

IN_NAMES = {
    "leg": "role",
    "legs": "roles",
    "candle": "bar",
    "candles": "bars",
    "evidence": "audit log, or the venue's report",
    "rearm": "resume",
    "rearmed": "resumed",
    "opinion": "scores",
    "opinions": "scores",
    "deed": "due action",
    "diary": "timeline",
    "desk": "order executor",
    "duties": "due actions",
    "saboteur": "crash injection",
    "hostile": "faulty",
    "unrealised": "unrealized",
    "realised": "realized",
    "cancelling": "pending cancel",
    "cancelled": "canceled",
    "acknowledged": "accepted",
    "foreign": "external",
    "flows": "net deposits",
    "unswept": "orphans left",
    "swept": "orphan order",
}
"""Part of a name -> what it is called."""

IN_TEXTS = {
    r"halt_new": "reduce_only",
    r"unrealised": "unrealized",
    r"realised": "realized",
    r"client id": "client order id",
    r"venue id": "venue order id",
    r"the human": "the operator",
    r"a human": "the operator",
    r"rearm(?:s|ed)?": "resume",
    r"mended": "fixed",
    r"for want of": "without",
    r"deepest fall": "maximum drawdown",
    r"hostile world": "simulation with faults",
    r"candles?": "bar",
}
"""Words on a page or in a message -> what is said instead."""


def parts(name: str) -> list[str]:
    """Return the words of a name: ``order`` and ``leg`` for ``OrderLeg``."""
    return [part.lower() for part in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+", name)]


def defined_names(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield the names of a module's classes, functions, arguments and variables."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno


def messages(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Yield all texts of a module: messages, help, descriptions, docstrings."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno


@cache
def product() -> tuple[tuple[str, ast.Module], ...]:
    """Return the modules of the product with their paths."""
    return tuple(
        (str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8")))
        for path in sorted((ROOT / "kamou").rglob("*.py"))
    )


@pytest.mark.parametrize("word", IN_NAMES)
def test_no_name_of_the_product_has_a_retired_word(word: str) -> None:
    found = [
        f"{path}:{line} {name}: {IN_NAMES[word]}"
        for path, tree in product()
        for name, line in defined_names(tree)
        if word in parts(name)
    ]
    assert found == []


@pytest.mark.parametrize("word", IN_TEXTS)
def test_no_page_and_no_message_has_a_retired_word(word: str) -> None:
    pattern = re.compile(rf"\b{word}\b", re.IGNORECASE)
    texts = [
        (f"{path}:{line}", text) for path, tree in product() for text, line in messages(tree)
    ] + [
        (f"{path.relative_to(ROOT)}:{number}", line)
        for path in PAGES
        if path.name not in HISTORY
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1)
    ]
    found = [f"{where}: {IN_TEXTS[word]}" for where, text in texts if pattern.search(text)]
    assert found == []


def test_the_parts_of_a_name_are_its_words() -> None:
    assert parts("OrderLeg") == parts("order_leg") == parts("ORDER_LEG") == ["order", "leg"]
