"""Settings that a strategy's file declares: their table rows, checks and use."""

from __future__ import annotations

from pathlib import Path

import pytest

from kamou.core import strategies
from kamou.errors import ConfigurationError
from kamou.settings.commented_toml import render_commented_toml
from kamou.settings.config import (
    Settings,
    canonical_json,
    flatten_settings,
    load_settings,
)
from tests.settings_page import settings_page

FADER = """
import attrs
from kamou.core.strategies.base import Parameters, parameter

@attrs.frozen(kw_only=True)
class FaderParameters(Parameters):
    patience: int = parameter(7, "patience in a trend", unit="bars", low=2, high=9)
    haste: int = parameter(1, "speed of the fade", low=0, high=100)

    def contradictions(self):
        return () if self.haste < self.patience else ((("haste",), "must be below patience"),)

class Fader:
    name = "fader"
    parameter_class = FaderParameters

    def __init__(self, parameters=None):
        self.parameters = parameters or FaderParameters()

strategy = Fader
"""


@pytest.fixture
def fader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fader.py").write_text(FADER)
    monkeypatch.setattr(strategies, "__path__", [*strategies.__path__, str(tmp_path)])


def test_every_strategy_of_the_package_is_enabled_by_default() -> None:
    assert sorted(Settings().strategies.enabled) == list(strategies.list_names())


@pytest.mark.usefixtures("fader")
def test_a_new_strategy_file_adds_its_settings_to_toml_and_page_with_range_and_unit() -> None:
    assert flatten_settings(Settings())["strategies.fader.patience"] == 7
    assert '"strategies.fader.patience":7' in canonical_json(Settings())
    written = render_commented_toml().partition("[strategies.fader]\n")[2].splitlines()[:2]
    assert written == [
        "# patience in a trend [bars] (between 2 and 9 bars)",
        "#patience = 7",
    ]
    row = "| `strategies.fader.patience` | `7` | bars | between 2 and 9 | patience in a trend. |"
    assert row in settings_page()


@pytest.mark.usefixtures("fader")
def test_a_declared_parameter_is_checked_and_passed_to_its_strategy() -> None:
    key = "KAMOU__STRATEGIES__FADER__PATIENCE"
    chosen = load_settings(None, {key: "9"}).settings.strategies
    made = strategies.make_strategies(["fader"], chosen.parameters)["fader"]
    assert made.parameters.patience == 9  # type: ignore[attr-defined]  # a parameter of the fixture's own strategy
    with pytest.raises(ConfigurationError, match=r"fader\.patience must be between 2 and 9 bars"):
        load_settings(None, {key: "10"})
    with pytest.raises(ConfigurationError, match=r"fader\.haste .* must be below patience"):
        load_settings(None, {"KAMOU__STRATEGIES__FADER__HASTE": "7"})


def test_a_strategy_file_that_is_not_python_changes_no_setting_and_cannot_be_discovered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = canonical_json(Settings())
    (tmp_path / "gibberish.py").write_text("this is no Python")
    monkeypatch.setattr(strategies, "__path__", [*strategies.__path__, str(tmp_path)])
    assert canonical_json(load_settings(None, {}).settings) == before
    with pytest.raises(ConfigurationError, match=r"gibberish\.py cannot be loaded"):
        strategies.discover_strategies()


@pytest.mark.usefixtures("fader")
@pytest.mark.parametrize("body", ["raise KeyError('haste')", "return ('haste',)", "return None"])
def test_contradictions_that_raise_or_return_something_else_are_an_error_with_file_and_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    kind = strategies.parameter_classes()["fader"]
    names: dict[str, object] = {}
    file = tmp_path / "checks.py"
    file.write_text(f"def contradictions(self):\n    {body}\n")
    exec(compile(file.read_text(), file, "exec"), names)
    monkeypatch.setattr(kind, "contradictions", names["contradictions"])
    with pytest.raises(ConfigurationError) as error:
        load_settings(None, {})
    assert "the strategy fader fails when its contradictions() is called" in str(error.value)
    if body.startswith("raise"):
        assert f"KeyError('haste'), at {file}:2" in str(error.value)
