"""``kamou halt``, ``resume`` and ``flatten`` without a running system."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kamou.data_directory.folder import DataFolder
from kamou.data_directory.latch import HaltLatch
from kamou.settings.config import Resolved

Cli = Callable[..., tuple[int, str, str]]
Compose = Callable[..., None]


def nothing_left(*_: object, **__: object) -> int:
    """Stands in for the count of positions in the venue's file."""
    return 0


def test_halt_needs_a_running_system(cli: Cli) -> None:
    assert cli("halt")[0] == 3


def test_flatten_without_a_running_system_sets_the_latch_and_does_it_itself(
    cli: Cli, compose: Compose, tmp_path: Path
) -> None:
    latch = HaltLatch(DataFolder(tmp_path / "kamou-data").latch)
    seen: list[bool] = []

    def flatten(_: Resolved, **__: Any) -> dict[str, Any]:
        seen.append(latch.is_set())
        return {"cancelled": 2, "closed": 1, "positions_left": 0}

    compose("flatten", flatten, positions_at_venue=nothing_left)
    code, out, err = cli("flatten", "--json", "--reason", "storm")
    assert (code, seen) == (0, [True])
    assert json.loads(out) == {
        "latch": "set",
        "by": "flatten",
        "cancelled": 2,
        "closed": 1,
        "positions_left": 0,
    }
    assert "without the running system" in err
    assert [record.reason for record in latch.log()] == ["storm"]


def test_flatten_that_leaves_a_position_open_fails_loudly(cli: Cli, compose: Compose) -> None:
    compose("flatten", lambda *_, **__: {}, positions_at_venue=lambda *_, **__: 1)
    code, _, err = cli("flatten")
    assert code == 6
    assert "1 positions are still open" in err


def test_resume_after_flatten_takes_two_steps(cli: Cli, compose: Compose, tmp_path: Path) -> None:
    compose("flatten", lambda *_, **__: {}, positions_at_venue=nothing_left)
    cli("flatten")
    latch = HaltLatch(DataFolder(tmp_path / "kamou-data").latch)
    code, out, _ = cli("resume")
    assert code == 0
    assert "removed" in out
    assert not latch.is_set()
    assert cli("resume")[0] == 3


def test_a_latch_that_cannot_be_set_keeps_nothing_open_and_is_told(
    cli: Cli, compose: Compose, tmp_path: Path
) -> None:
    folder = DataFolder(tmp_path / "kamou-data")
    folder.latch.mkdir(parents=True)  # in the way of the file
    compose("flatten", lambda *_, **__: {"positions_closed": 2}, positions_at_venue=nothing_left)
    code, out, err = cli("flatten", "--json")
    assert code == 6
    assert json.loads(out)["positions_closed"] == 2
    assert json.loads(out)["latch"] == "not set"
    assert "may enter again" in err


def test_flatten_reports_what_stands_at_the_venue_and_not_what_was_told(
    cli: Cli, compose: Compose
) -> None:
    compose(
        "flatten", lambda *_, **__: {"positions_left": 0}, positions_at_venue=lambda *_, **__: 3
    )
    code, out, err = cli("flatten", "--json")
    assert code == 6
    assert json.loads(out)["positions_left"] == 3
    assert "3 positions are still open" in err


def test_a_warning_of_the_kill_switch_is_said_once(cli: Cli, compose: Compose) -> None:
    def warned(*_: object, warn: Callable[[str], None]) -> dict[str, Any]:
        warn("the schema was changed")
        return {}

    def count(*_: object, warn: Callable[[str], None]) -> int:
        warn("the schema was changed")
        return 0

    compose("flatten", warned, positions_at_venue=count)
    code, _, err = cli("flatten")
    assert code == 0
    assert err.count("warning: the schema was changed") == 1
