"""The benchmark over many symbols compares installed engines and names the absent ones."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
STAND_IN = """
import json, sys
verb, bars, folder, rule = sys.argv[1:]
assert json.loads(rule)["z_entry"] > 0
if verb == "run":
    print("a line of the engine's own")
    print(json.dumps({"version": "7", "symbols": 3, "bars": 1440, "trades": 2}))
"""
SOON_BROKEN = """
import json, sys
import numpy
verb, bars, folder, rule = sys.argv[1:]
if verb == "run":
    if len(numpy.load(bars)["open_ms"]) > 300:
        raise SystemExit("too many bars")
    print(json.dumps({"bars": 900, "trades": 2}))
"""
BROKEN = "raise SystemExit('it needs another machine')"


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[ModuleType]:
    """Yield the benchmark, with no environment of any other engine."""
    names = ("wide", "peer_engines")
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.delenv("KAMOU_SHARED", raising=False)
    module = import_module("wide")
    assert module.peer_engines.FOLDER == FOLDER / ".peers"
    monkeypatch.setattr(module.peer_engines, "FOLDER", tmp_path / "peers")
    yield module
    for name in names:
        sys.modules.pop(name)


def put_in(wide: ModuleType, monkeypatch: pytest.MonkeyPatch, **scripts: str) -> None:
    """Let scripts stand in for engines, run by this interpreter."""
    engines, folder = wide.peer_engines, wide.peer_engines.FOLDER
    for name, script in scripts.items():
        (folder / name / "bin").mkdir(parents=True)
        (folder / name / "bin" / "python").symlink_to(sys.executable)
        (folder / name / "installed").touch()
        (folder / f"{name}.py").write_text(script)
    monkeypatch.setattr(engines, "SCRIPTS", folder)
    monkeypatch.setattr(engines, "NAMES", (*scripts, "absent"))


def test_the_wide_benchmark_measures_kamou_on_generated_bars_and_skips_absent_engines_by_name(
    wide: ModuleType,
) -> None:
    small = {"small": wide.Shape(symbols=3, days=20, step_s=3_600)}
    report = wide.compare(small, peers=True, rounds=1)
    assert set(report["skipped"]) == set(wide.peer_engines.NAMES)
    for name, reason in report["skipped"].items():
        assert reason == f"{name} is not installed; `make bench-peers` makes its environment"
    found = report["sets"]["small"]
    assert (found["source"], found["symbols"], found["bars"]) == ("generated", 3, 3 * 20 * 24)
    assert (found["period_s"], found["cpu_to"]) == (3_600, {})
    ours = found["engines"]["kamou"]
    assert set(found["engines"]) == {"kamou"}
    assert (ours["bars"], ours["violations"]) == (found["bars"], 0)
    assert ours["cpu_s"] > 0
    assert ours["peak_mb"] > 0
    json.dumps(report)


def test_an_installed_engine_takes_part_and_one_that_fails_is_skipped_with_its_reason(
    wide: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in(wide, monkeypatch, works=STAND_IN, broken=BROKEN, soon=SOON_BROKEN)
    figures = {"cpu_s": 1e-3, "peak_mb": 1.0, "bars_per_cpu_s": 1, "trades": 1}
    monkeypatch.setattr(wide, "run_kamou", lambda name, folder: dict(figures))
    small = {"small": wide.Shape(symbols=3, days=20, step_s=3_600)}
    report = wide.compare(small, peers=True, rounds=3)
    assert report["skipped"] == {
        "broken": "broken fails on a few bars: exit code 1: it needs another machine",
        "absent": "absent is not installed; `make bench-peers` makes its environment",
        "soon": "soon fails on small: exit code 1: too many bars",
    }
    engines = report["sets"]["small"]["engines"]
    theirs = engines["works"]
    assert list(engines) == ["kamou", "works"]
    assert (theirs["version"], theirs["trades"]) == ("7", 2)
    assert len(theirs["cpu_s_by_round"]) == 3
    assert theirs["cpu_s"] == sorted(theirs["cpu_s_by_round"])[1]
    assert report["sets"]["small"]["cpu_to"] == {"works": round(1e-3 / theirs["cpu_s"], 3)}


def test_the_table_of_the_wide_benchmark_states_ratio_and_goal_of_each_engine(
    wide: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    engines = {
        "kamou": {"cpu_s": 8.0, "peak_mb": 200.4, "trades": 1_209},
        "nautilus_trader": {"cpu_s": 32.04, "peak_mb": 900.0, "trades": 2_000, "version": "1.2"},
    }
    found = {"source": "recorded", "symbols": 152, "bars": 683_544, "engines": engines}
    found |= {"cpu_to": {"nautilus_trader": 0.25}, "cpu_to_goals": {"nautilus_trader": 0.333}}
    report = {"sets": {"um": found}, "skipped": {"freqtrade": "freqtrade is not installed"}}
    kept = tmp_path / "report.json"
    kept.write_text(json.dumps({"wide": report}))
    monkeypatch.setattr(sys, "argv", ["wide.py", "--markdown", str(kept)])
    wide.main()
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| `um` (recorded): 152 symbols, 683,544 bars | kamou | 8.0 |  |  | 200 | 1,209 |",
        "|  | nautilus_trader 1.2 | 32.0 | 0.25 | 0.333 | 900 | 2,000 |",
        "",
        "Skipped: freqtrade is not installed.",
    ]


def test_the_scripts_of_other_engines_import_nothing_of_kamou_and_each_engine_has_one(
    wide: ModuleType,
) -> None:
    scripts = {path.stem: path.read_text() for path in (FOLDER / "peers").glob("*.py")}
    assert set(scripts) == set(wide.peer_engines.NAMES)
    assert not [name for name, text in scripts.items() if "kamou" in text.lower()]


def test_environments_of_other_engines_do_not_know_our_constraints_and_settings(
    wide: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_CONSTRAINT", "PYTHONPATH", "VIRTUAL_ENV", "KAMOU__EQUITY"):
        monkeypatch.setenv(name, "ours")
    monkeypatch.setenv("HOME", "theirs, too")
    given = wide.peer_engines.environment()
    assert "ours" not in given.values()
    assert given["HOME"] == "theirs, too"


def test_an_engine_that_does_not_install_is_skipped_with_its_reason_and_others_are_not(
    wide: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = wide.peer_engines
    monkeypatch.setattr(engines.venv, "create", make_environment)
    engines.install("refused")
    assert engines.reason_to_skip("refused") == (
        "refused did not install: exit code 1: no version of refused"
    )
    engines.install("found")
    assert engines.reason_to_skip("found") is None


def make_environment(folder: Path, **_options: bool) -> None:
    """Make an interpreter whose pip can install only the package ``found``."""
    interpreter = folder / "bin" / "python"
    interpreter.parent.mkdir(parents=True, exist_ok=True)
    interpreter.write_text(
        '#!/bin/sh\n[ "$6" = found ] || { echo no version of $6 >&2; exit 1; }\n'
    )
    interpreter.chmod(0o700)
