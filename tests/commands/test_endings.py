"""How verbs end that cannot do what they were asked: one line, and an exit code that says it."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store.market_files import good_folder

from kamou.cli import main
from kamou.errors import DataRefusedError

Cli = Callable[..., tuple[int, str, str]]
Compose = Callable[..., None]


def test_ctrl_c_deep_in_a_backtest_is_an_interruption_without_a_traceback(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def pressed(*, quiet: bool = False) -> Iterator[Callable[..., None]]:
        def report(what: str, done: int, total: int) -> None:
            raise KeyboardInterrupt  # in an actor, below nurseries of the supervisors

        yield report

    monkeypatch.setattr("kamou.commands.backtest.progress", pressed)
    data = good_folder(tmp_path / "good")
    assert cli("backtest", "--data", data) == (130, "", "interrupted\n")


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (DataRefusedError("no bars"), "error: no bars\n"),
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a/b"),
            "error: a/b: No such file or directory; make the folder first, or name another path\n",
        ),
        (
            OSError(errno.ENOSPC, "No space left on device", "b"),
            "error: b: No space left on device; free some space, then try again\n",
        ),
    ],
)
def test_an_error_among_groups_is_one_line(
    cli: Cli, compose: Compose, raised: Exception, said: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ExceptionGroup("tasks", [ExceptionGroup("a task", [raised])])

    compose("backtest", fail)
    assert cli("backtest", "--data", "any") == (1, "", said)


def test_our_own_error_says_more_than_the_one_of_the_system_beside_it(
    cli: Cli, compose: Compose
) -> None:
    def fail(*_: object, **__: object) -> None:
        missing = FileNotFoundError(errno.ENOENT, "No such file or directory", "a")
        raise ExceptionGroup("tasks", [missing, DataRefusedError("no bars")])

    compose("backtest", fail)
    assert cli("backtest", "--data", "any")[2] == "error: no bars\n"


def test_an_error_that_nobody_foresaw_is_not_made_a_line_of_ours(
    cli: Cli, compose: Compose
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ExceptionGroup("tasks", [ZeroDivisionError(), DataRefusedError("no bars")])

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
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    cli: Cli, compose: Compose, monkeypatch: pytest.MonkeyPatch, verb: tuple[object, ...]
) -> None:
    def work(*_: object, **__: object) -> None:
        raise AssertionError("it began")

    compose("backtest", work)
    monkeypatch.setattr("kamou.simulator.run.swarm", work)
    said = "cannot be written: No such file or directory; name a file in a folder"
    code, _, err = cli(*verb, "none/out")
    assert code == 1
    assert err.startswith(f"error: none/out: {said}")
    assert err.count("\n") == 1
    Path("taken").write_text("")
    assert "taken/out: cannot be written: Not a directory" in cli(*verb, "taken/out")[2]
    assert "/dev/null: is there and is no file" in cli(*verb, "/dev/null")[2]


def test_looking_whether_a_file_can_be_written_leaves_nothing(cli: Cli, tmp_path: Path) -> None:
    Path("out.json").write_text("as it was")
    assert cli("backtest", "--data", "none", "--json", "out.json", "--journal", "j")[0] == 1
    assert [each.name for each in tmp_path.iterdir()] == ["out.json"]
    assert Path("out.json").read_text() == "as it was"


def error_of(out: str) -> tuple[str, int]:
    """The one document of standard output, which is an error and nothing else."""
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
        (("data", "list", "--config", "none.toml"), 4),
        (("db", "migrate"), 3),
        (("db", "backup", "copy"), 3),
        (("db", "restore", "copy"), 1),
        (("status", "--bogus"), 2),
        (("why",), 2),
    ],
)
def test_with_json_an_error_is_a_document_on_standard_output_too(
    cli: Cli, verb: tuple[str, ...], expected: int
) -> None:
    code, out, err = cli(*verb, "--json")
    assert code == expected, err
    said, told = error_of(out)
    assert told == code
    assert said in err, "a person reads the same"


@pytest.mark.parametrize("form", [("--json", "-"), ("--json=-",), ("--json", "report.json")])
def test_a_backtest_or_simulation_that_fails_is_a_document_too(
    cli: Cli, form: tuple[str, ...]
) -> None:
    code, out, err = cli("backtest", "--data", "none", *form)
    said, told = error_of(out)
    assert (code, told) == (1, 1)
    assert err == f"error: {said}\n"
    assert error_of(cli("simulate", *form)[1])[1] == 2


def test_a_result_that_says_what_is_wrong_is_the_only_document(cli: Cli, compose: Compose) -> None:
    code, out, err = cli("status", "--json")
    seen = json.loads(out)
    assert (code, seen["running"]) == (3, False)
    assert err == f"error: {seen['why_not']}\n"
    compose("backtest", lambda *_, **__: {"violations": 2})
    code, out, _ = cli("backtest", "--data", "any", "--json", "-")
    assert (code, json.loads(out)) == (6, {"violations": 2})


def test_several_problems_are_one_document_with_a_line_each(cli: Cli) -> None:
    Path("kamou.toml").write_text("equity = 0\nmode = 'none'\n")
    code, out, err = cli("check-config", "--json")
    said, _ = error_of(out)
    assert code == 4
    assert len(said.splitlines()) == 2
    assert err == f"error: {said}\n"


def test_an_interruption_is_a_document_too(cli: Cli, compose: Compose) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    compose("backtest", interrupted)
    assert error_of(cli("backtest", "--data", "any", "--json", "-")[1]) == ("interrupted", 130)


def test_a_defect_is_a_document_and_still_a_traceback(
    compose: Compose, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a / b")

    compose("backtest", fail)
    with pytest.raises(ZeroDivisionError):
        main(["backtest", "--data", "any", "--json", "-"])
    said, code = error_of(capsys.readouterr().out)
    assert code == 1
    assert "ZeroDivisionError('a / b')" in said


def test_without_json_nothing_of_an_error_is_on_standard_output(cli: Cli) -> None:
    assert cli("report")[1] == ""
    assert cli("why")[1] == ""
