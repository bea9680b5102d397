"""``docs/failure-modes.md`` names exactly the tests of this directory."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/[\w/]+\.py)` `(test_\w+)`")


def test_the_page_of_failure_modes_names_exactly_the_tests_of_this_directory() -> None:
    page = set(NAMED.findall((ROOT / "docs/failure-modes.md").read_text(encoding="utf-8")))
    here = {
        (path.relative_to(ROOT).as_posix(), node.name)
        for path in Path(__file__).parent.glob("test_*.py")
        if path.name != Path(__file__).name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }
    assert here == page
