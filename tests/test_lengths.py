"""A file has at most 400 lines and a function at most 60."""

from __future__ import annotations

import ast

import pytest

from tests.test_tidy import functions, texts, trees

FILE_LINES_MAX = 400  # so that one idea fills a file
FUNCTION_LINES_MAX = 60  # so that a screen shows it whole


def only_declares(body: list[ast.stmt]) -> bool:
    """Return True if a module or a class has fields, constants and classes, and no function."""
    declared = ast.Import | ast.ImportFrom | ast.Assign | ast.AnnAssign | ast.Pass
    return all(
        isinstance(node, declared)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))  # a docstring
        or (isinstance(node, ast.ClassDef) and only_declares(node.body))
        for node in body
    )


def too_long(sources: dict[str, str]) -> list[str]:
    """Return what to do about each file that is too long and not only declarations."""
    return [
        f"{path} has {lines} lines: find the second idea and give it a file"
        for path, text in sources.items()
        if (lines := text.count("\n")) > FILE_LINES_MAX
        if not only_declares(ast.parse(text).body)
    ]


def test_a_file_has_at_most_400_lines_unless_it_only_declares() -> None:
    assert not too_long(texts(frozenset({".py"})))


FIELDS = '"""Events."""\n\nimport attrs\n\n\n@attrs.frozen\nclass A:\n    """An event."""\n\n'
FIELDS += "    at_ms: int = 0\n" * FILE_LINES_MAX


@pytest.mark.parametrize(
    ("source", "long"),
    [
        pytest.param(FIELDS, False, id="fields"),
        pytest.param("class Code(StrEnum):\n" + '    A = "a"\n' * 401, False, id="an enum"),
        pytest.param("ROWS = (\n" + "    1,\n" * 401 + ")\n", False, id="a table"),
        pytest.param(FIELDS + "    def f(self) -> int:\n        return 1\n", True, id="a method"),
        pytest.param(FIELDS + "\n\ndef f() -> int:\n    return 1\n", True, id="a function"),
        pytest.param("if A:\n" + "    B = 1\n" * 401, True, id="a branch"),
        pytest.param("def f() -> None:\n" + "    g()\n" * 399, False, id="400 lines"),
        pytest.param("def f() -> None:\n" + "    g()\n" * 400, True, id="401 lines"),
    ],
)
def test_a_long_file_passes_only_if_it_has_nothing_but_declarations(
    source: str, long: bool
) -> None:
    said = "has {} lines: find the second idea and give it a file".format(source.count("\n"))
    assert too_long({"a.py": source}) == ([f"a.py {said}"] if long else [])


def test_a_function_has_at_most_60_lines() -> None:
    long = [
        f"{path}:{node.lineno} {node.name}"
        for path, tree in trees().items()
        for node in functions(tree)
        if node.end_lineno and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long
