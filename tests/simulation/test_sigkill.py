"""Some points of the suite of `make kills`, with real processes and SIGKILL."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SUITE = Path(__file__).parent / "kills" / "suite.py"
KILLS = 8
FIRST_ENTRY = "venue place entry, stored, not answered"
WITHIN_S = 120.0  # far beyond what it takes


def ran(*arguments: str, folder: Path) -> tuple[int, dict[str, Any], str]:
    """Run the suite; return its exit code, its JSON, and the text of both outputs."""
    told = folder / "kills.json"
    done = subprocess.run(
        [sys.executable, str(SUITE), "--json", str(told), *arguments],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    printed = done.stdout + done.stderr
    return done.returncode, json.loads(told.read_text()) if told.exists() else {}, printed


def test_a_killed_run_goes_on_from_its_files_and_nothing_is_lost_doubled_or_unprotected(
    tmp_path: Path,
) -> None:
    code, told, printed = ran("--points", str(KILLS), "--no-kinds", folder=tmp_path)
    assert code == 0, printed
    assert told["failures"] == 0
    assert told["recovered"] == told["cases"] == KILLS
    assert told["kills"] > KILLS, "no case has a second kill, in its recovery"
    assert told["points_of_the_run"] > 700
    assert told["kinds"] > 150


@pytest.mark.parametrize(
    ("defect", "said"),
    [
        ("log-lost", "were acknowledged"),
        ("fills-forgotten", "fills: lost"),
        ("stops-unattached", "UNPROTECTED"),
    ],
)
def test_the_kill_suite_finds_lost_events_lost_fills_and_an_unprotected_position(
    defect: str, said: str, tmp_path: Path
) -> None:
    case = f"{FIRST_ENTRY}:30000:0"
    code, told, printed = ran("--case", case, "--defect", defect, folder=tmp_path)
    assert code == 1, printed
    assert told["failures"] == 1
    assert said in printed


def test_a_count_of_zero_kill_points_is_a_usage_error(tmp_path: Path) -> None:
    code, _, printed = ran("--points", "0", folder=tmp_path)
    assert code == 2
    assert "1 or more" in printed
