"""Draws random texts of the tree, to be judged by the rules for sentences.

``.venv/bin/python tests/draw_texts.py --seed 7`` prints 40 docstrings, 20 messages, 20 test names
and 20 settings with their places; ``--modules 40`` prints modules instead, each with its name and
first sentence alone. The same seed on the same tree draws the same.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from kamou.settings.config import Settings, flatten_settings
from kamou.settings.table import settings_table

ROOT = Path(__file__).parents[1]
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
SQL = re.compile(
    r"^\s*(\{\w+\} )?(SELECT|INSERT|UPDATE|DELETE|CREATE|WITH|ALTER|DROP|PRAGMA|FROM|WHERE|ORDER BY"
    r"|AND|LIMIT|GROUP BY|VALUES|JOIN|SET)\b|\bORDER BY\b"
)
"""The start of a statement or of a part of one, also after a variable such as ``{where}``."""


def modules(folder: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield the path and syntax tree of each module under ``folder``."""
    for path in sorted((ROOT / folder).rglob("*.py")):
        yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def docstrings() -> list[str]:
    """Return every docstring of the product below its signature."""
    found = []
    for path, tree in modules("kamou"):
        for node in ast.walk(tree):
            if isinstance(node, DOCUMENTED) and (text := ast.get_docstring(node)):
                found.append(f"{path}:{getattr(node, 'lineno', 1)}  {header(node)}\n{text}")
    return found


def header(node: DOCUMENTED) -> str:
    """Return the first line of a definition as it would stand in a reference."""
    if isinstance(node, ast.Module):
        return "module"
    if isinstance(node, ast.ClassDef):
        return f"class {node.name}"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"def {node.name}({ast.unparse(node.args)}){returns}"


def messages() -> list[str]:
    """Return every text of at least four words that the product's code can print."""
    found = []
    for path, tree in modules("kamou"):
        parts = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in node.values
        }
        bare = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
        for node in ast.walk(tree):
            if id(node) in parts | bare:
                continue
            if isinstance(node, ast.JoinedStr):
                text = ast.unparse(node)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                text = node.value
            else:
                continue
            if len(re.findall(r"[A-Za-z]{2,}", text)) >= 4 and not SQL.search(text.lstrip("f'\"")):
                found.append(f"{path}:{node.lineno}\n{text}")
    return found


def names_of_tests() -> list[str]:
    """Return the name of every test."""
    return [
        f"{path}:{node.lineno}  {node.name}"
        for path, tree in modules("tests")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    ]


def settings() -> list[str]:
    """Return every setting: key, default, unit, allowed values, description."""
    table = settings_table()
    return [
        f"{key} = {value!r} [{table[key].unit}] {table[key].range_text()}\n{table[key].about}"
        for key, value in flatten_settings(Settings()).items()
    ]


def first_sentences() -> list[str]:
    """Return the name and the first sentence of every module that has one."""
    return [
        f"{path}\n{text.splitlines()[0]}"
        for path, tree in modules("kamou")
        if (text := ast.get_docstring(tree))
    ]


def draw(texts: list[str], count: int, seed: int) -> list[str]:
    """Return ``count`` texts, those whose hashes with the seed are the lowest."""
    return sorted(texts, key=lambda text: hashlib.sha256(f"{seed} {text}".encode()).digest())[
        :count
    ]


def main() -> None:
    """Print a draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--modules", type=int, default=0)
    asked = parser.parse_args()
    if asked.modules:
        drawn = {"modules": draw(first_sentences(), asked.modules, asked.seed)}
    else:
        drawn = {
            "docstrings": draw(docstrings(), 40, asked.seed),
            "messages": draw(messages(), 20, asked.seed),
            "test names": draw(names_of_tests(), 20, asked.seed),
            "settings": draw(settings(), 20, asked.seed),
        }
    write = sys.stdout.write
    write(f"seed {asked.seed}\n")
    for kind, texts in drawn.items():
        write(f"\n== {len(texts)} {kind}\n")
        for number, text in enumerate(texts, 1):
            write(f"\n{number}. " + textwrap.indent(text, "   ").lstrip() + "\n")


if __name__ == "__main__":
    main()
