"""Few signatures have Any, ignored type errors have reasons, and enums are used as texts."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.test_tidy import texts, trees

ANY_IN_SIGNATURES_MAX = 2
ENUM_VALUES_MAX = 1
# Names that the product gives to objects that have a field ``value`` and are not enums.
HAVE_A_VALUE = {
    *("each", "f", "figure", "m", "mark"),  # Figure
    *("all_", "day", "estimate", "found", "max_drawdown"),  # of the record's performance
    *("gap", "gap_buffer"),
    *("_states", "state"),  # of indicators
    "self",
}


def test_at_most_two_signatures_of_the_product_have_any_and_each_has_its_reason() -> None:
    lines = [
        line
        for path, text in texts(frozenset({".py"})).items()
        if path.startswith("kamou/")
        for line in text.splitlines()
        if "noqa: ANN401" in line
    ]
    assert len(lines) <= ANY_IN_SIGNATURES_MAX
    assert not [line for line in lines if not re.search(r"# noqa: ANN401  # \w", line)]


def test_a_suppressed_type_error_has_its_code_and_its_reason_beside_it() -> None:
    with_reason = re.compile(r"\[[a-z,-]+\](  # noqa: \w+)?  # (?!noqa)\w")
    mute = [
        f"{path}: {line.strip()}"
        for path, text in texts(frozenset({".py"})).items()
        for line in text.splitlines()
        for found in re.findall(r"# type: ignore(?!\()(.*)", line)
        if not with_reason.match(found)
    ]
    assert not mute


def test_at_most_one_line_of_the_product_takes_the_value_of_an_enum() -> None:
    """A ``StrEnum`` is its own text, in an f-string, in JSON and as an argument.

    The syntax has no types: every ``.value`` that is not called counts, except on the names above.
    So it cannot see an enum that has one of these names, nor ``getattr``.
    """
    found = [
        f"{path}:{node.lineno} {ast.unparse(node)}"
        for path, tree in trees("kamou/").items()
        for node in _values(tree)
        if _last_name(node.value) not in HAVE_A_VALUE
    ]
    assert len(found) <= ENUM_VALUES_MAX, found


def test_no_field_of_the_product_lists_its_values_in_a_comment() -> None:
    """A closed set is an enum (decision 0032)."""
    listed = re.compile(r"^ +(\w+): str\b.*  # \w+ \| \w+")
    found = [
        (path, match[1])
        for path, text in texts(frozenset({".py"})).items()
        if path.startswith("kamou/")
        for line in text.splitlines()
        if (match := listed.match(line))
    ]
    assert found == []


def _values(tree: ast.Module) -> Iterator[ast.Attribute]:
    """Yield the attributes ``value`` that are read and are not methods."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "value" and id(node) not in called:
            yield node


def _last_name(node: ast.expr) -> str:
    """Return the last name of an expression: ``c`` of ``a.b.c``, ``c()`` and ``c[0]``."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=inner) | ast.Subscript(value=inner):
            return _last_name(inner)
        case _:
            return ast.unparse(node)
