"""The guide for authors of strategies, followed word by word in an empty folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kamou.core.strategies.evaluation import FailureKind

ROOT = Path(__file__).parent.parent.parent
GUIDE = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8")
STEP = re.compile(
    r"```console\n(?P<console>.*?)```"
    r"|Write `(?P<file>[\w./]+)`[^`]*?:\n\n```\w+\n(?P<body>.*?)```"
    r"|[Ii]n\s`(?P<edited>[\w./]+)`,\sreplace\s`(?P<old>[^`]+)`\sby\s`(?P<new>[^`]+)`",
    re.DOTALL,
)


def commands(console: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a session, with the texts that its output must have."""
    for part in console.split("$ ")[1:]:
        command, *expected = part.splitlines()
        yield command, expected


def run(command: str, folder: Path) -> tuple[int, str]:
    program, *arguments = command.split()
    module = {"kamou": ["-m", "kamou"], "python": []}[program]
    done = subprocess.run(
        [sys.executable, *module, *arguments],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "HOME": str(folder), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_guide_leads_from_an_empty_folder_to_a_traded_backtest(tmp_path: Path) -> None:
    done: list[str] = []
    for step in STEP.finditer(GUIDE):
        if step["file"]:
            (tmp_path / step["file"]).write_text(step["body"])
        elif step["edited"]:
            path = tmp_path / step["edited"]
            assert path.read_text().count(step["old"]) == 1
            path.write_text(path.read_text().replace(step["old"], step["new"]))
        for command, expected in commands(step["console"] or ""):
            code, output = run(command, tmp_path)
            fails = any(line.startswith(("error:", "failed:")) for line in expected)
            assert (code != 0) == fails, output
            assert [line for line in expected if line not in output] == [], output
            done.append(command)
    assert len(done) == 11
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["by_strategy"]["breakout"]["trades"] > 5
    assert len(report["strategy_files"]["breakout"]) == 64
    assert report["violations"] == 0


@pytest.mark.parametrize("kind", FailureKind)
def test_the_guide_has_every_kind_of_failure(kind: FailureKind) -> None:
    assert f"| `{kind}` | " in GUIDE
