"""``kamou halt``, ``resume`` and ``flatten`` without a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.latch import HaltLatch
from kamou.settings.config import Resolved

Cli = Callable[..., tuple[int, str, str]]
Compose = Callable[..., None]


def count_none(*_: object, **__: object) -> int:
    """Return 0 in place of the number of positions in the venue's file."""
    return 0


@pytest.fixture
def created(tmp_path: Path) -> DataDirectory:
    """Make an empty data directory at the default path."""
    directory = DataDirectory(tmp_path / "kamou-data")
    directory.create()
    return directory


@pytest.mark.parametrize("verb", ["halt", "resume", "flatten"])
def test_a_missing_data_directory_is_an_error_and_is_not_created(
    cli: Cli, tmp_path: Path, verb: str
) -> None:
    code, _, err = cli(verb, "--data-dir", tmp_path / "typo")
    assert code == 3
    assert f"{tmp_path / 'typo'}" in err
    assert not (tmp_path / "typo").exists()


def test_a_halt_without_a_run_sets_the_halt_latch(cli: Cli, created: DataDirectory) -> None:
    code, out, err = cli("halt", "--json", "--reason", " bad news ")
    assert code == 0
    assert json.loads(out) == {
        "latch": "set",
        "entries": "held",
        "next": "`kamou resume` removes the latch",
    }
    assert "no run holds" in err
    latch = HaltLatch(created.latch)
    assert latch.is_set()
    assert [(each.action, each.reason) for each in latch.log()] == [("halt", "bad news")]


@pytest.mark.parametrize("verb", ["halt", "flatten"])
def test_halt_and_flatten_shorten_a_reason_that_is_too_long(
    cli: Cli, compose: Compose, created: DataDirectory, verb: str
) -> None:
    compose("flatten", lambda *_, **__: {}, count_venue_positions=count_none)
    code, _, err = cli(verb, "--reason", 5_000 * "w")
    assert code == 0
    assert "warning: the reason was shortened from 5000 to 200 characters" in err
    latch = HaltLatch(created.latch)
    assert latch.is_set()
    assert [record.reason for record in latch.log()] == [200 * "w"]


def test_a_resume_with_a_reason_that_is_too_long_changes_nothing(
    cli: Cli, created: DataDirectory
) -> None:
    latch = HaltLatch(created.latch)
    latch.set("", "operator", 0)
    code, _, err = cli("resume", "--reason", 201 * "w")
    assert code == 2
    assert err == (
        "error: the reason has 201 characters and 200 are published at most; shorten the reason\n"
        "`kamou resume --help` shows the usage\n"
    )
    assert latch.is_set()


@pytest.mark.parametrize("verb", ["halt", "flatten"])
@pytest.mark.parametrize("given", [(), ("--reason", "   ")])
def test_without_a_reason_the_latch_has_an_empty_reason(
    cli: Cli, compose: Compose, created: DataDirectory, verb: str, given: tuple[str, ...]
) -> None:
    compose("flatten", lambda *_, **__: {}, count_venue_positions=count_none)
    assert cli(verb, *given)[0] == 0
    assert [record.reason for record in HaltLatch(created.latch).log()] == [""]


@pytest.mark.parametrize("verb", ["halt", "resume", "flatten"])
def test_the_help_says_that_the_reason_is_published(cli: Cli, verb: str) -> None:
    assert "published on the results page" in " ".join(cli(verb, "--help")[1].split())


def test_flatten_without_a_run_sets_the_latch_and_closes_the_positions_itself(
    cli: Cli, compose: Compose, created: DataDirectory
) -> None:
    latch = HaltLatch(created.latch)
    latch_set: list[bool] = []

    def flatten(_: Resolved, **__: Any) -> dict[str, Any]:
        latch_set.append(latch.is_set())
        return {"orders_canceled": 2, "closed": 1, "positions_left": 0}

    compose("flatten", flatten, count_venue_positions=count_none)
    code, out, err = cli("flatten", "--json", "--reason", "storm")
    assert (code, latch_set) == (0, [True])
    assert json.loads(out) == {
        "latch": "set",
        "by": "flatten",
        "orders_canceled": 2,
        "closed": 1,
        "positions_left": 0,
    }
    assert "without the run" in err
    assert [record.reason for record in latch.log()] == ["storm"]


def test_a_flatten_that_leaves_a_position_open_fails_with_code_6(
    cli: Cli, compose: Compose, created: DataDirectory
) -> None:
    compose("flatten", lambda *_, **__: {}, count_venue_positions=lambda *_, **__: 1)
    code, _, err = cli("flatten")
    assert code == 6
    assert "1 position is still open" in err


def test_resume_after_a_flatten_removes_the_latch_and_names_the_second_resume(
    cli: Cli, compose: Compose, created: DataDirectory
) -> None:
    compose("flatten", lambda *_, **__: {}, count_venue_positions=count_none)
    cli("flatten")
    latch = HaltLatch(created.latch)
    code, out, _ = cli("resume", "--json")
    assert code == 0
    result = json.loads(out)
    assert result["latch"] == "removed"
    assert result["next"] == (
        "repeat `kamou resume` once a run answers; a run that starts before that is halted"
    )
    assert not latch.is_set()
    assert cli("resume")[0] == 3


def test_flatten_closes_positions_and_fails_if_the_latch_cannot_be_set(
    cli: Cli, compose: Compose, tmp_path: Path
) -> None:
    directory = DataDirectory(tmp_path / "kamou-data")
    directory.latch.mkdir(parents=True)  # a directory at the path of the file
    compose(
        "flatten",
        lambda *_, **__: {"positions_closed": 2},
        count_venue_positions=count_none,
    )
    code, out, err = cli("flatten", "--json")
    assert code == 6
    assert json.loads(out)["positions_closed"] == 2
    assert json.loads(out)["latch"] == "not set"
    assert "may enter again" in err


def test_flatten_counts_the_positions_left_at_the_venue(
    cli: Cli, compose: Compose, created: DataDirectory
) -> None:
    compose(
        "flatten", lambda *_, **__: {"positions_left": 0}, count_venue_positions=lambda *_, **__: 3
    )
    code, out, err = cli("flatten", "--json")
    assert code == 6
    assert json.loads(out)["positions_left"] == 3
    assert "3 positions are still open" in err


def test_flatten_prints_each_warning_once(
    cli: Cli, compose: Compose, created: DataDirectory
) -> None:
    def warned(*_: object, warn: Callable[[str], None]) -> dict[str, Any]:
        warn("the schema was changed")
        return {}

    def count(*_: object, warn: Callable[[str], None]) -> int:
        warn("the schema was changed")
        return 0

    compose("flatten", warned, count_venue_positions=count)
    code, _, err = cli("flatten")
    assert code == 0
    assert err.count("warning: the schema was changed") == 1
