"""The layers of the house hold, and the contract that says so is not empty."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Outside the layers on purpose: what anything may import.
LEAVES = {"clock", "ids", "errors"}


def contract() -> list[str]:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    [layers] = [
        each["layers"]
        for each in pyproject["tool"]["importlinter"]["contracts"]
        if each["type"] == "layers"
    ]
    return [name.strip(" ()") for layer in layers for name in layer.replace(":", "|").split("|")]


def test_arrows_point_down() -> None:
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
