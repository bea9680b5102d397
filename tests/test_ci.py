"""Steps of ``.ci/run``, with a ``make`` that only prints its target."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

RUN = Path(__file__).parents[1] / ".ci" / "run"
MAKE = """#!/bin/sh
echo "$1 with ${KAMOU_SHARED:-nothing}"
[ "$1" != "$FAILS" ]
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a directory that the script takes for a clone."""
    made = tmp_path / "clone"
    (made / ".ci").mkdir(parents=True)
    shutil.copy(RUN, made / ".ci" / "run")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("make", MAKE), ("chromium", "#!/bin/sh\n")):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    return made


def run(clone: Path, **environment: str) -> tuple[int, list[str], str]:
    """Return the exit code, the lines of standard output, and standard error."""
    kept = {name: value for name, value in os.environ.items() if name != "KAMOU_SHARED"}
    path = f"{clone.parent / 'tools'}{os.pathsep}{kept['PATH']}"
    done = subprocess.run(
        [str(clone / ".ci" / "run")],
        env={**kept, "PATH": path, "FAILS": "", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_ci_reports_that_the_tests_on_recorded_data_were_skipped(clone: Path) -> None:
    code, made, err = run(clone)
    assert (code, made) == (0, ["test with nothing"])
    assert "SKIPPED: make test-real" in err


def test_ci_finds_recorded_data_next_to_the_clone(clone: Path) -> None:
    (clone.parent / "shared" / "data").mkdir(parents=True)
    assert run(clone) == (0, ["test with nothing", "test-real with ../shared"], "")


def test_recorded_data_named_in_the_environment_come_before_those_next_to_the_clone(
    clone: Path,
) -> None:
    (clone.parent / "shared" / "data").mkdir(parents=True)
    code, made, _ = run(clone, KAMOU_SHARED="/data/market")
    assert (code, made) == (0, ["test with nothing", "test-real with /data/market"])


@pytest.mark.parametrize("fails", ["test", "test-real"])
def test_ci_fails_if_make_test_or_make_test_real_fails(clone: Path, fails: str) -> None:
    assert run(clone, KAMOU_SHARED="/data/market", FAILS=fails)[0] != 0
