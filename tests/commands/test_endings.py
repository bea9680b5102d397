"""How verbs end that cannot do what they were asked: one line, and an exit code that says it."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store.market_files import good_folder

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
    assert cli("backtest", "--data", data, "--json", "-") == (130, "", "interrupted\n")


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
    code, out, err = cli(*verb, "none/out")
    assert (code, out) == (1, "")
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
