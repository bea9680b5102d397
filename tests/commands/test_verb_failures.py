"""Failures of verbs: one line, an exit code, and a JSON document with --json."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import click
import pytest

from kamou.cli import kamou_command, main
from kamou.data_directory.folder import DataDirectory
from kamou.errors import InvalidDataError
from tests.commands.made_reports import make_report
from tests.store.market_files import write_valid_files

Cli = Callable[..., tuple[int, str, str]]
Compose = Callable[..., None]


def test_ctrl_c_in_an_actor_of_a_backtest_prints_no_traceback(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def pressed(*, quiet: bool = False) -> Iterator[Callable[..., None]]:
        def report(what: str, done: int, total: int) -> None:
            raise KeyboardInterrupt  # in an actor, inside the supervisors' nurseries

        yield report

    monkeypatch.setattr("kamou.commands.backtest.show_progress", pressed)
    data = write_valid_files(tmp_path / "good")
    assert cli("backtest", "--data", data) == (130, "", "interrupted\n")


@pytest.mark.parametrize(
    ("raised", "line"),
    [
        (InvalidDataError("no bars"), "error: no bars\n"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a"),
            "error: a: No such file or directory; name a path that exists, or create it first\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "b"),
            "error: b: No space left on device; free some space, then try again\n",
        ),
    ],
)
def test_an_error_in_exception_groups_is_one_line(
    cli: Cli, compose: Compose, raised: Exception, line: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ExceptionGroup("tasks", [ExceptionGroup("a task", [raised])])

    compose("backtest", fail)
    assert cli("backtest", "--data", "any") == (1, "", line)


def test_an_error_of_kamou_is_printed_instead_of_a_system_error_in_its_group(
    cli: Cli, compose: Compose
) -> None:
    def fail(*_: object, **__: object) -> None:
        missing = FileNotFoundError(errno.ENOENT, "No such file or directory", "a")
        raise ExceptionGroup("tasks", [missing, InvalidDataError("no bars")])

    compose("backtest", fail)
    assert cli("backtest", "--data", "any")[2] == "error: no bars\n"


def test_an_unexpected_error_is_raised_with_its_traceback(cli: Cli, compose: Compose) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ExceptionGroup("tasks", [ZeroDivisionError(), InvalidDataError("no bars")])

    compose("backtest", fail)
    with pytest.raises(ExceptionGroup) as caught:
        cli("backtest", "--data", "any")
    assert caught.group_contains(ZeroDivisionError)


@pytest.mark.parametrize(
    "verb",
    [
        ("backtest", "--data", "any", "--json"),
        ("backtest", "--data", "any", "--journal"),
        ("simulate", "--seed", 1, "--json"),
        ("simulate", "--seed", 1, "--trace"),
    ],
)
def test_an_unwritable_output_file_is_an_error_before_the_work_begins(
    cli: Cli, compose: Compose, monkeypatch: pytest.MonkeyPatch, verb: tuple[object, ...]
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    compose("backtest", work)
    monkeypatch.setattr("kamou.simulator.swarm.run_swarm", work)
    reason = "cannot be written: No such file or directory; name a file in a writable directory"
    code, _, err = cli(*verb, "none/out")
    assert code == 1
    assert err.startswith(f"error: none/out: {reason}")
    assert err.count("\n") == 1
    Path("taken").write_text("")
    assert "taken/out: cannot be written: Not a directory" in cli(*verb, "taken/out")[2]
    assert "/dev/null: exists and is not a file" in cli(*verb, "/dev/null")[2]


def test_checking_an_output_file_leaves_no_file_and_changes_none(cli: Cli, tmp_path: Path) -> None:
    Path("out.json").write_text("as it was")
    assert cli("backtest", "--data", "none", "--json", "out.json", "--journal", "j")[0] == 1
    assert [each.name for each in tmp_path.iterdir()] == ["out.json"]
    assert Path("out.json").read_text() == "as it was"


def read_error(out: str) -> tuple[str, int]:
    """Return error and exit code of the only document on standard output."""
    document = json.loads(out)
    assert set(document) == {"error", "exit_code"}
    return document["error"], document["exit_code"]


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        (("status", "--config", "none.toml"), 4),
        (("why", "BTCUSDT"), 3),
        (("report",), 3),
        (("halt",), 3),
        (("resume",), 3),
        (("check-config", "--config", "none.toml"), 4),
        (("show-config", "--config", "none.toml"), 4),
        (("data", "import", "none"), 2),
        (("data", "list", "--data-dir", "none"), 3),
        (("data", "list", "--config", "none.toml"), 4),
        (("db", "migrate"), 3),
        (("db", "backup", "copy"), 3),
        (("db", "restore", "copy"), 1),
        (("status", "--bogus"), 2),
        (("why",), 2),
    ],
)
def test_with_json_an_error_is_also_a_json_document_on_standard_output(
    cli: Cli, verb: tuple[str, ...], expected: int
) -> None:
    code, out, err = cli(*verb, "--json")
    assert code == expected, err
    message, document_code = read_error(out)
    assert document_code == code
    assert message in err, "standard error has the same text"


@pytest.mark.parametrize("form", [("--json", "-"), ("--json=-",), ("--json", "report.json")])
def test_the_error_of_a_backtest_or_simulation_with_json_is_also_a_json_document(
    cli: Cli, form: tuple[str, ...]
) -> None:
    code, out, err = cli("backtest", "--data", "none", *form)
    message, document_code = read_error(out)
    assert (code, document_code) == (1, 1)
    assert err == f"error: {message}\n"
    assert read_error(cli("simulate", *form)[1])[1] == 2


def test_a_failed_verb_with_a_result_prints_only_the_result_on_standard_output(
    cli: Cli, compose: Compose
) -> None:
    code, out, err = cli("status", "--json")
    seen = json.loads(out)
    assert (code, seen["running"]) == (3, False)
    assert err == f"error: {seen['why_not']}\n"
    compose("backtest", lambda *_, **__: make_report(violations=2))
    code, out, _ = cli("backtest", "--data", "any", "--json", "-")
    assert (code, json.loads(out)) == (6, make_report(violations=2))


def test_two_invalid_settings_of_kamou_toml_are_one_json_error_with_a_line_each(
    cli: Cli,
) -> None:
    Path("kamou.toml").write_text("equity = 0\nmode = 'none'\n")
    code, out, err = cli("check-config", "--json")
    message, _ = read_error(out)
    assert code == 4
    assert len(message.splitlines()) == 2
    assert err == f"error: {message}\n"


def test_an_interruption_with_json_is_also_a_json_document(cli: Cli, compose: Compose) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    compose("backtest", interrupted)
    assert read_error(cli("backtest", "--data", "any", "--json", "-")[1]) == ("interrupted", 130)


def test_a_defect_with_json_is_a_json_document_and_a_traceback(
    compose: Compose, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a / b")

    compose("backtest", fail)
    with pytest.raises(ZeroDivisionError):
        main(["backtest", "--data", "any", "--json", "-"])
    message, code = read_error(capsys.readouterr().out)
    assert code == 1
    assert "ZeroDivisionError('a / b')" in message


def test_without_json_an_error_prints_nothing_on_standard_output(cli: Cli) -> None:
    assert cli("report")[1] == ""
    assert cli("why")[1] == ""


GROUPS = [("kamou",)] + [("kamou", name) for name in ("gate", "refiner", "data", "strategy", "db")]


def test_the_list_of_command_groups_is_complete() -> None:
    found = [("kamou", name) for name, each in kamou_command.commands.items() if is_group(each)]
    assert [("kamou",), *found] == GROUPS


def is_group(command: click.Command) -> bool:
    return isinstance(command, click.Group)


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_without_a_verb_prints_its_help_and_is_a_usage_error(
    cli: Cli, group: tuple[str, ...]
) -> None:
    code, out, err = cli(*group[1:])
    assert (code, out) == (2, "")
    assert err == cli(*group[1:], "--help")[1]
    assert "\\n" not in err


@pytest.mark.parametrize(
    ("words", "message", "of"),
    [
        (("nope",), "No such command 'nope'.", "kamou"),
        (("db", "nope"), "No such command 'nope'.", "kamou db"),
        (("--nope",), "No such option '--nope'.", "kamou"),
        (("data", "list", "--nope"), "No such option '--nope'.", "kamou data list"),
        (("backtest",), "Missing option '--data'.", "kamou backtest"),
        (("db", "backup"), "Missing argument 'FILE'.", "kamou db backup"),
        (("why", "A", "b"), "Got unexpected extra argument (b)", "kamou why"),
        (
            ("run", "--port", "x"),
            "Invalid value for '--port': 'x' is not a valid integer.",
            "kamou run",
        ),
    ],
)
def test_a_usage_error_is_one_line_and_a_hint(
    cli: Cli, words: tuple[str, ...], message: str, of: str
) -> None:
    assert cli(*words) == (2, "", f"error: {message}\n`{of} --help` shows the usage\n")


def test_a_usage_error_with_json_is_a_json_document(cli: Cli) -> None:
    code, out, _ = cli("status", "--json", "--nope")
    assert json.loads(out) == {"error": "No such option '--nope'.", "exit_code": code}


@pytest.mark.parametrize(
    "words",
    [
        ("backtest", "--data", "any", "--json"),
        ("backtest", "--data", "any", "--journal"),
        ("simulate", "--seed", "1", "--json"),
        ("init",),
        ("db", "backup"),
    ],
)
def test_an_output_file_in_a_missing_directory_is_an_error_with_a_remedy(
    cli: Cli, journalled: DataDirectory, tmp_path: Path, words: tuple[str, ...]
) -> None:
    code, _, err = cli(*words, tmp_path / "typo" / "file")
    assert code in (1, 4)
    assert f"{tmp_path / 'typo' / 'file'}" in err
    remedy = err.partition(";")[2]
    assert "folder" in remedy or "directory" in remedy
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("why", "BTCUSDT"),
        ("halt",),
        ("resume",),
        ("flatten",),
        ("report",),
        ("site", "--port", 0),
        ("data", "list"),
        ("db", "migrate"),
        ("db", "backup", "copy"),
        ("db", "restore", "copy"),
        ("backtest", "--data", "any"),
    ],
)
def test_a_verb_that_fails_without_a_data_directory_does_not_create_one(
    cli: Cli, tmp_path: Path, words: tuple[object, ...]
) -> None:
    code, _, err = cli(*words, "--data-dir", tmp_path / "typo")
    assert code, err
    assert not (tmp_path / "typo").exists()
