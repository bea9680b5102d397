"""``kamou run`` and ``kamou backtest``: options passed on, and invalid options."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kamou.data_directory.lock import DataDirectoryLock, lock_holder
from kamou.runs.backtest_options import BacktestOptions
from kamou.settings.config import Resolved, Settings
from tests.commands.made_reports import make_report

Cli = Callable[..., tuple[int, str, str]]
Compose = Callable[[str, Callable[..., Any]], None]


def test_run_passes_the_settings_to_the_service_while_it_holds_the_lock(
    cli: Cli, compose: Compose, tmp_path: Path
) -> None:
    seen: dict[str, Any] = {}

    def run(resolved: Resolved, **given: Any) -> int:
        seen.update(given, resolved=resolved, holder=lock_holder(tmp_path / "d"))
        given["progress"]("fast-forward", 1, 5)
        given["announce"]("open the page")
        return 0

    compose("service", run)
    options = ("--data-dir", "d", "--days", 5, "--port", 18080, "--operator-port", 18081)
    code, out, err = cli("run", *options, "--no-fast-forward", "--replay", ".")
    assert (code, out) == (0, "")
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    assert re.fullmatch(rf"{time} INFO fast-forward: 1 of 5\n{time} INFO open the page\n", err), err
    settings: Settings = seen["resolved"].settings
    assert (settings.web.port, settings.web.operator_port, settings.demo.days) == (18080, 18081, 5)
    assert (seen["fast_forward"], seen["replay"]) == (False, Path("."))
    assert seen["resolved"].origins["demo.days"] == "--days"
    assert seen["holder"] is not None
    assert lock_holder(tmp_path / "d") is None


def test_run_exits_with_the_code_of_the_service(cli: Cli, compose: Compose) -> None:
    compose("service", lambda *_, **__: 5)
    assert cli("run")[0] == 5


def test_a_second_run_on_the_same_data_directory_fails(cli: Cli, tmp_path: Path) -> None:
    with DataDirectoryLock(tmp_path / "kamou-data"):
        code, _, err = cli("run")
    assert code == 1
    assert "is already running on the data directory" in err


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_a_mode_that_needs_a_real_venue_is_a_configuration_error(cli: Cli, mode: str) -> None:
    Path("kamou.toml").write_text(f'mode = "{mode}"\n')
    code, _, err = cli("run")
    assert code == 4
    assert "kamou.toml:1" in err
    assert "this release does not have" in err


def test_the_option_live_is_a_configuration_error(cli: Cli) -> None:
    code, _, err = cli("run", "--live")
    assert code == 4
    assert 'mode = "live"' in err


def test_an_option_outside_its_settings_range_is_a_configuration_error(cli: Cli) -> None:
    code, _, err = cli("run", "--port", 70_000)
    assert code == 4
    assert "--port: web.port must be between 0 and 65535" in err


def test_backtest_passes_its_options_on_and_writes_its_report(cli: Cli, compose: Compose) -> None:
    seen: dict[str, Any] = {}

    def run(resolved: Resolved, **given: Any) -> dict[str, Any]:
        seen.update(given, resolved=resolved)
        return make_report()

    compose("backtest", run)
    options = (
        "--timerange",
        "20251001-20251101",
        "--strategies",
        "oi_momentum",
        "--symbols",
        "A, B",
    )
    code, out, _ = cli("backtest", "--data", "um", *options, "--json", "out.json")
    assert code == 0
    assert seen["data"] == "um"
    assert seen["options"] == BacktestOptions(
        timerange=(1_759_276_800_000, 1_761_955_200_000), symbols=("A", "B")
    )
    assert seen["resolved"].settings.strategies.enabled == ("oi_momentum",)
    assert json.loads(Path("out.json").read_text()) == make_report()
    assert "backtest of traded_days" in out
    assert json.loads(cli("backtest", "--data", "um", "--json", "-")[1]) == make_report()


def test_a_violation_fails_the_backtest_after_its_report_is_printed(
    cli: Cli, compose: Compose
) -> None:
    compose("backtest", lambda *_, **__: make_report(violations=2))
    code, out, err = cli("backtest", "--data", "um")
    assert code == 6
    assert "violations" in out
    assert "2 violations" in err


@pytest.mark.parametrize(
    ("text", "expected"),
    [("20251001-", (1_759_276_800_000, None)), ("-20251101", (None, 1_761_955_200_000))],
)
def test_a_timerange_may_omit_either_side(
    cli: Cli, compose: Compose, text: str, expected: tuple[int | None, int | None]
) -> None:
    seen: dict[str, Any] = {}
    compose("backtest", lambda *_, **given: seen.update(given) or make_report())
    assert cli("backtest", "--data", "um", "--timerange", text)[0] == 0
    assert seen["options"].timerange == expected


@pytest.mark.parametrize(
    "text", ["20251001", "-", "2025-10-01", "20251301-", "20251101-20251001", "2025100-20251001"]
)
def test_an_invalid_timerange_is_a_usage_error(cli: Cli, text: str) -> None:
    assert cli("backtest", "--data", "um", "--timerange", text)[0] == 2


def test_an_empty_list_of_names_is_a_usage_error(cli: Cli) -> None:
    assert cli("backtest", "--data", "um", "--symbols", ",")[0] == 2
