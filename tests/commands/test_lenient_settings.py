"""Settings of the kill switch: what is valid is kept, the data directory above all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kamou.commands.lenient_settings import resolve_valid_settings
from kamou.settings.config import Resolved


def resolved(folder: Path, toml: str, data_dir: Path | None = None) -> tuple[Resolved, list[str]]:
    file = folder / "kamou.toml"
    file.write_text(toml)
    lines: list[str] = []
    return resolve_valid_settings(file, lines.append, data_dir=data_dir), lines


def test_a_contradiction_of_file_and_environment_leaves_the_data_directory_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAMOU__DATA_DIR", "B")
    monkeypatch.setenv("KAMOU__SUPERVISION__BACKOFF_CAP_MS", "1000")
    found, lines = resolved(tmp_path, 'data_dir = "A"\n[supervision]\nbackoff_base_ms = 5000\n')
    assert found.settings.data_dir == Path("B")
    assert found.settings.supervision.backoff_cap_ms == 1000
    assert found.settings.supervision.backoff_base_ms <= 1000
    assert lines


def test_the_data_directory_of_the_file_stays_beside_an_invalid_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAMOU__RISK__LEVERAGE_MAX", "1000")
    monkeypatch.setenv("KAMOU__NO_SUCH", "1")
    found, _ = resolved(tmp_path, 'data_dir = "A"\nequity = "x"\n')
    assert found.settings.data_dir == Path("A")


def test_the_option_of_the_data_directory_overrides_file_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAMOU__DATA_DIR", "B")
    found, _ = resolved(tmp_path, 'data_dir = "A"\nequity = "x"\n', data_dir=tmp_path / "C")
    assert found.settings.data_dir == tmp_path / "C"


def test_settings_that_are_valid_only_together_are_both_kept(tmp_path: Path) -> None:
    text = "equity = 'x'\n[supervision]\nbackoff_base_ms = 40000\nbackoff_cap_ms = 50000\n"
    found, _ = resolved(tmp_path, text)
    assert found.settings.supervision.backoff_base_ms == 40_000
    assert found.settings.supervision.backoff_cap_ms == 50_000


VALUES = {
    "DATA_DIR": ["A", "B", ""],
    "SUPERVISION__BACKOFF_BASE_MS": ["1", "5000", "90000", "x"],
    "SUPERVISION__BACKOFF_CAP_MS": ["1000", "30000", "-1"],
    "RISK__LEVERAGE_MAX": ["3", "1000"],
    "WEB__PORT": ["8080", "99999999"],
    "NO_SUCH": ["1"],
}


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    environ=st.fixed_dictionaries(
        {}, optional={name: st.sampled_from(values) for name, values in VALUES.items()}
    ),
    base=st.sampled_from(["1", "5000", "'x'"]),
    directory=st.sampled_from(['data_dir = "F"', ""]),
)
def test_a_valid_data_directory_is_kept_whatever_else_is_wrong(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environ: dict[str, str],
    base: str,
    directory: str,
) -> None:
    with monkeypatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(f"KAMOU__{name}", value)
        found, _ = resolved(tmp_path, f"{directory}\n[supervision]\nbackoff_base_ms = {base}\n")
    named = environ.get("DATA_DIR") or ("F" if directory else "")
    if named:
        assert found.settings.data_dir == Path(named)
