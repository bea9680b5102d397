"""The tests have no unused code: every name that they declare stands at a second place.

Names are looked for as words of the text, so a docstring that has the word counts as a user.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import PurePath

from tests.test_names import targets
from tests.test_tidy import texts

Files = Mapping[str, str]  # path -> text

FOUND_BY_NAME = {
    # pattern of a name: who finds it
    r"[Tt]est.*": "pytest",
    r"pytest_\w+": "pytest",
    r"pytestmark": "pytest",
    r"strategy": "the discovery of strategies",
    r"__\w+__": "Python",
    r"before_io_wait": "Trio calls it on its instruments",
    r"handle_(start|end)tag": "the HTML parser calls it",
    r"isatty": "rich asks a stream",
    r"shuffle": "Trio's scheduler calls it on its generator",
    r"teardown": "hypothesis calls it at the end of a state machine",
}


@cache
def python_files() -> Files:
    return texts(frozenset({".py"}))


def count_words(files: Files) -> dict[str, Counter[str]]:
    return {path: Counter(re.findall(r"\w+", text)) for path, text in files.items()}


def is_found(node: ast.stmt, name: str) -> bool:
    """Return True for what a library finds: by its name, or by a decorator that registers it."""
    decorators = [ast.unparse(each) for each in getattr(node, "decorator_list", [])]
    return any(re.fullmatch(pattern, name) for pattern in FOUND_BY_NAME) or any(
        "autouse=True" in each or each.startswith(("rule", "invariant", "initialize"))
        for each in decorators
    )


def is_fixture(node: ast.stmt) -> bool:
    return any("fixture" in ast.unparse(each) for each in getattr(node, "decorator_list", []))


def unused_declarations(files: Files) -> Iterator[str]:
    """Yield names that a module of the tests declares, and that no file uses."""
    words = count_words(files)
    for path, text in files.items():
        if not path.startswith("tests/"):
            continue
        module = PurePath(path).stem
        for node in ast.parse(text).body:
            for name in targets(node):
                used = words[path][name] > 1 or any(
                    name in others and (is_fixture(node) or module in others)
                    for other, others in words.items()
                    if other != path
                )
                if not used and not is_found(node, name):
                    yield f"{path}:{node.lineno} {name}"


def unused_members(files: Files) -> Iterator[str]:
    """Yield the members of classes of the tests whose name occurs only once."""
    words = sum(count_words(files).values(), Counter[str]())
    for path, text in files.items():
        if path.startswith("tests/"):
            for node in ast.walk(ast.parse(text)):
                for inner in node.body if isinstance(node, ast.ClassDef) else ():
                    for name in targets(inner):
                        if words[name] == 1 and not is_found(inner, name):
                            yield f"{path}:{inner.lineno} {name}"


def test_every_declaration_of_the_tests_has_a_user() -> None:
    assert list(unused_declarations(python_files())) == []


def test_every_member_of_a_class_of_the_tests_has_a_user() -> None:
    assert list(unused_members(python_files())) == []


def test_the_search_for_unused_code_of_the_tests_finds_constants_fixtures_and_methods() -> None:
    made = {
        "tests/one.py": "A = B = 1\n"
        "@pytest.fixture\ndef lonely(): pass\n@pytest.fixture\ndef held(): pass\n"
        "class C:\n    def m(self): pass\n",
        "tests/two.py": "from tests.one import A, C\ndef test_x(held): assert A(C)\n",
        "tests/three.py": "B = 2\nprint(B)\n",
    }
    unused = [*unused_declarations(made), *unused_members(made)]
    assert unused == ["tests/one.py:1 B", "tests/one.py:3 lonely", "tests/one.py:7 m"]
