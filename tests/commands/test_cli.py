"""The command line as a whole, the configuration verbs, and printing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kamou.commands.printing import format_time, show_progress
from kamou.settings.config import load_settings

Cli = Callable[..., tuple[int, str, str]]
Compose = Callable[[str, Callable[..., Any]], None]


def test_importing_the_command_line_loads_no_slow_module() -> None:
    program = (
        "import sys, kamou.cli\n"
        "heavy = {'numpy', 'pyarrow', 'trio', 'rich', 'httpx', 'starlette'}\n"
        "heavy |= {'sqlite_utils', 'ccxt', 'wsproto'}\n"
        "sys.exit(', '.join(heavy & sys.modules.keys()) or 0)"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert loaded.returncode == 0, loaded.stderr


def test_help_lists_the_verbs_with_run_first(cli: Cli) -> None:
    listed = cli("--help")[1].partition("Commands:")[2].splitlines()
    verbs = [line.split()[0] for line in listed if line[2:3].strip()]
    assert verbs[0] == "run"
    assert set(verbs) >= {"status", "why", "backtest", "report", "halt", "resume", "flatten", "db"}


def test_an_error_is_printed_on_standard_error_with_its_exit_code(cli: Cli) -> None:
    code, out, err = cli("show-config", "--config", "none.toml")
    assert (code, out) == (4, "")
    assert err.startswith("error: none.toml: cannot be read")


def test_an_unknown_option_is_a_usage_error_that_suggests_the_right_one(cli: Cli) -> None:
    code, _, err = cli("run", "--prot", 1)
    assert code == 2
    assert "--port" in err


def test_an_interrupted_verb_exits_with_code_130(cli: Cli, compose: Compose) -> None:
    def interrupted(*_: object, **__: object) -> int:
        raise KeyboardInterrupt

    compose("service", interrupted)
    code, _, err = cli("run")
    assert (code, err.strip()) == (130, "interrupted")


def test_a_closed_output_pipe_is_no_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("kamou.commands.configuration.print_table", leave)
    assert cli("show-config") == (0, "", "")


def test_init_writes_a_valid_file_and_overwrites_only_with_force(cli: Cli) -> None:
    assert cli("init")[0] == 0
    assert cli("check-config")[0] == 0
    code, _, err = cli("init")
    assert code == 4
    assert "--force" in err
    assert cli("init", "--force")[0] == 0
    assert "cannot be written" in cli("init", "none/kamou.toml")[2]


def test_check_config_names_and_counts_the_changed_settings(cli: Cli) -> None:
    Path("kamou.toml").write_text("[demo]\nseed = 8\n")
    code, out, _ = cli("check-config", "--json")
    assert code == 0
    assert json.loads(out)["changed"] == ["demo.seed"]
    assert "1 of " in cli("check-config")[1]


def test_check_config_fails_for_a_strategy_without_a_file(cli: Cli) -> None:
    Path("kamou.toml").write_text("strategies.enabled = ['mean_revision']\n")
    code, _, err = cli("check-config")
    assert code == 4
    assert "kamou.toml:1" in err
    assert "mean_reversion" in err


def test_show_config_prints_a_value_with_its_origin(cli: Cli) -> None:
    Path("other.toml").write_text("\n[veto]\nexcluded = ['AUSDT', 'BUSDT']\n")
    code, out, _ = cli("show-config", "--config", "other.toml")
    assert code == 0
    [line] = [line for line in out.splitlines() if "veto.excluded" in line]
    assert "AUSDT, BUSDT" in line
    assert "other.toml:3" in line
    assert "│ true" in next(line for line in out.splitlines() if "attached_stop" in line)


def test_show_config_as_json_has_the_settings_and_the_digest(cli: Cli) -> None:
    shown = json.loads(cli("show-config", "--json")[1])
    assert shown["digest"] == load_settings(None, {}).digest
    assert shown["settings"]["equity"] == {"value": "10000", "unit": "USDT", "origin": "default"}


def test_times_are_formatted_in_utc_and_unknown_ones_as_empty_text() -> None:
    assert format_time(1_700_000_000_000) == "2023-11-14 22:13:20"
    assert format_time(None) == ""


def test_progress_without_a_terminal_is_one_line_for_each_new_task(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with show_progress() as report:
        for done in range(3):
            report("reading", done, 3)
        report("storing", 0, 1)
    with show_progress(quiet=True) as report:
        report("nothing of this", 0, 1)
    out, err = capsys.readouterr()
    assert (out, err) == ("", "reading ...\nstoring ...\n")
