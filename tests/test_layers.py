"""Imports follow the layers, and each package has its layer and its description."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Modules of the lowest layer, which all other modules may import.
LEAVES = {"clock", "ids", "errors"}


def contract() -> list[str]:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    [layers] = [
        each["layers"]
        for each in pyproject["tool"]["importlinter"]["contracts"]
        if each["type"] == "layers" and "containers" not in each
    ]
    return [name.strip(" ()") for layer in layers for name in layer.replace(":", "|").split("|")]


def test_imports_follow_the_layers() -> None:
    program = (
        "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    )
    linted = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_every_module_of_the_product_has_its_layer() -> None:
    placed = {name.removeprefix("kamou.") for name in contract()}
    modules = {
        path.stem
        for path in (ROOT / "kamou").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    } - {"__init__"}
    assert modules <= placed, f"add to the layers of pyproject.toml: {sorted(modules - placed)}"
    assert placed >= LEAVES


OPEN = ("kamou", "kamou.core", "kamou.web")  # a module directly in one of these counts as a package


def modules() -> dict[str, Path]:
    """Return every module of the product: dotted name -> file."""
    found = {}
    for path in (ROOT / "kamou").rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


def room_of(module: str, path: Path) -> str:
    """Return the package that a module is in; the module itself if it is at the top."""
    folder = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return module if folder in OPEN else folder


def imports_of(path: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """Yield the modules of the product that a file imports anywhere."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def arrows() -> dict[str, set[str]]:
    """Return the packages that each package imports from."""
    known = modules()
    found: dict[str, set[str]] = {}
    for module, path in known.items():
        room = room_of(module, path)
        there = {room_of(name, known[name]) for name in imports_of(path, known)}
        found.setdefault(room, set()).update(there - {room})
    return found


def in_order(graph: Mapping[str, set[str]]) -> list[str]:
    """Return the packages, each after those it imports; raise CycleError for a cycle."""
    return list(TopologicalSorter(graph).static_order())


def test_no_import_cycle_leads_through_two_packages() -> None:
    graph = arrows()
    assert "kamou.core.book" in graph["kamou.core.risk"], "the imports of core.risk are not found"
    order = in_order(graph)
    assert order.index("kamou.core.book") < order.index("kamou.core.risk")


def test_an_import_cycle_between_packages_is_found() -> None:
    graph = arrows()
    graph["kamou.core.book"].add("kamou.core.risk")
    with pytest.raises(CycleError, match=r"kamou\.core\.book"):
        in_order(graph)


def test_every_package_has_its_line_in_the_architecture() -> None:
    table = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    lines = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {name.strip("/") for line in lines for name in line.split("`")[1::2]}
    rooms = {
        path.parent.relative_to(ROOT / "kamou").as_posix()
        for path in (ROOT / "kamou").rglob("__init__.py")
    } - {".", "web/pages"}  # their modules have lines of their own, or need none
    assert rooms <= named, f"add a line for {sorted(rooms - named)}"
