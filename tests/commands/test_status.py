"""``kamou status``, ``why`` and ``report`` of a journal without a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal as D
from pathlib import Path

import attrs
import pytest

from kamou.core.book.events import Event
from kamou.core.book.strategy_events import StrategyDisabled, StrategyResumed
from kamou.core.codes import Deny
from kamou.core.words import state_cause
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.latch import HaltLatch, LatchAction
from kamou.data_directory.lock import DataDirectoryLock
from kamou.store import database
from kamou.store.journal import JournalWriter
from tests.store import story

Cli = Callable[..., tuple[int, str, str]]


def close_the_trade(directory: DataDirectory) -> None:
    writer = database.open_writer(directory.database, durable=False)
    JournalWriter(writer, run_number=1).append(story.closing_events())
    writer.close()


def test_status_without_a_database_exits_with_3_and_names_kamou_run(cli: Cli) -> None:
    code, out, err = cli("status")
    assert (code, out) == (3, "")
    assert "`kamou run` starts one" in err


def test_status_without_a_run_shows_the_newest_state_of_the_database_and_exits_3(
    cli: Cli, journalled: DataDirectory
) -> None:
    code, out, err = cli("status")
    assert code == 3
    assert "no run holds" in err
    assert "ETHUSDT" in out
    seen = json.loads(cli("status", "--json")[1])
    assert seen["running"] is False
    [position] = seen["book"]["positions"]
    assert (position["stop_price"], position["stop_status"]) == ("1970", "accepted")
    assert seen["book"]["day"]["result"] == 0
    assert seen["book"]["day"]["loss_budget_left"] == 0.04


def test_status_and_why_show_the_days_loss_with_exit_costs_as_the_governor_counts_it(
    cli: Cli, journalled: DataDirectory
) -> None:
    read = story.make_equity(story.DAY0_MS + 40_000_000, "9900")
    lost = attrs.evolve(read, exit_costs=D(7), day_equity=D(10_000), day_lost=D(107))
    writer = database.open_writer(journalled.database, durable=False)
    JournalWriter(writer, run_number=1).append([lost])
    writer.close()
    day = json.loads(cli("status", "--json")[1])["book"]["day"]
    assert (day["result"], day["loss"], day["exit_costs"]) == (-0.01, 0.0107, 0.0007)
    assert day["loss_budget_left"] == 0.0293
    words = "1.07% of 4.00%, exit costs of 0.07% included"
    assert words in cli("status")[1]
    assert f"the day's loss: {words}" in cli("why", "ETHUSDT")[1]
    assert json.loads(cli("why", "ETHUSDT", "--json")[1])["day"] == day


def test_status_names_disabled_strategies_until_they_are_resumed(
    cli: Cli, journalled: DataDirectory
) -> None:
    def shown(*events: Event) -> list[str]:
        writer = database.open_writer(journalled.database, durable=False)
        JournalWriter(writer, run_number=1).append(list(events))
        writer.close()
        named: list[str] = json.loads(cli("status", "--json")[1])["book"]["disabled_strategies"]
        return named

    at_ms = story.DAY0_MS + 40_000_000
    disabled = [
        StrategyDisabled(at_ms=at_ms, strategy=name, code=Deny.RATE_ENTRIES_EXCEEDED, figures=())
        for name in ("oi_momentum", "mean_reversion")
    ]
    assert shown(*disabled) == ["mean_reversion", "oi_momentum"]
    assert "mean reversion, OI momentum" in cli("status")[1]
    assert shown(StrategyResumed(at_ms=at_ms, strategy="oi_momentum")) == ["mean_reversion"]


def test_status_after_a_closed_trade_shows_no_position_and_the_equity(
    cli: Cli, journalled: DataDirectory
) -> None:
    close_the_trade(journalled)
    book = json.loads(cli("status", "--json")[1])["book"]
    assert book["positions"] == []
    assert (book["equity"], book["state"]) == ("10521.85", "active")
    assert cli("status")[0] == 3


def test_status_says_that_a_starting_run_does_not_listen_yet(cli: Cli, tmp_path: Path) -> None:
    with DataDirectoryLock(tmp_path / "kamou-data"):
        code, _, err = cli("status")
    assert code == 3
    assert "does not listen yet" in err


def test_why_prints_the_answers_of_the_tiers_and_figures(
    cli: Cli, journalled: DataDirectory
) -> None:
    code, out, _ = cli("why", "btcusdt")
    assert code == 0
    assert "REWARD_TO_RISK_LOW" in out
    assert "the reward-to-risk after costs is below its minimum: b 1.1" in out
    reasons = json.loads(cli("why", "ETHUSDT", "--json")[1])["reasons"]
    answers = {(row["tier"], row["strategy"], row["answer"]) for row in reasons}
    assert answers == {
        ("T1", "mean_reversion", "SCORED"),
        ("T1", "oi_momentum", "WARMING_UP"),
        ("T3", "mean_reversion", "off"),
        ("governor", "mean_reversion", "GRANTED"),
    }
    (granted,) = [row for row in reasons if row["answer"] == "GRANTED"]
    assert granted["figures"] == "gap_buffer=0.25 = max(0.25, none measured in 30 days)"


def test_why_says_that_the_journal_has_nothing_about_an_unknown_symbol(
    cli: Cli, journalled: DataDirectory
) -> None:
    code, out, _ = cli("why", "NONEUSDT")
    assert code == 0
    assert "the journal has nothing about NONEUSDT" in out


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("btc", "BTCUSDT"),
        ("ETH", "ETHUSDT"),
        ("BTCUSTD", "BTCUSDT"),
        ("1700007300000.mean_reversion.ETHUSDT", "ETHUSDT"),  # the id of a trade
        ("QQQ", None),
    ],
)
def test_why_suggests_a_similar_symbol_for_an_unknown_one_if_there_is_one(
    cli: Cli, journalled: DataDirectory, asked: str, nearest: str | None
) -> None:
    code, out, _ = cli("why", asked)
    assert code == 0
    assert ("did you mean" in out) == (nearest is not None)
    assert f"did you mean {nearest}?" in out or nearest is None
    assert json.loads(cli("why", asked, "--json")[1])["nearest"] == nearest


def test_why_suggests_nothing_for_a_known_symbol(cli: Cli, journalled: DataDirectory) -> None:
    assert json.loads(cli("why", "BTCUSDT", "--json")[1])["nearest"] is None


def test_why_without_a_database_exits_with_3(cli: Cli) -> None:
    assert cli("why", "BTCUSDT")[0] == 3


def test_report_prints_figures_days_and_notices(cli: Cli, journalled: DataDirectory) -> None:
    close_the_trade(journalled)
    code, out, _ = cli("report")
    assert code == 0
    assert "Win rate" in out
    assert "2023-11-15" in out
    assert "not financial advice" in out
    assert "2023-11-15" not in cli("report", "--days", 0)[1].split("\n", 1)[1]
    shown = json.loads(cli("report", "--json")[1])
    assert shown["trades_total"] == 1


def test_report_before_the_first_trade_says_that_evidence_is_insufficient(
    cli: Cli, journalled: DataDirectory
) -> None:
    assert "insufficient evidence" in cli("report")[1]


def test_status_of_a_database_without_a_day_shows_no_budget(cli: Cli, tmp_path: Path) -> None:
    directory = DataDirectory(tmp_path / "kamou-data")
    directory.create()
    database.open_writer(directory.database, durable=False).close()
    assert json.loads(cli("status", "--json")[1])["book"]["day"] is None
    assert cli("status")[0] == 3


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (
            LatchAction.HALT,
            '! halted since 2023-11-15 10:00:00 UTC, "storm": entries are blocked until',
        ),
        (LatchAction.SET, '! flattened 2023-11-15 10:00:00 UTC, "storm", after this record:'),
    ],
)
def test_status_shows_a_halt_latch_that_no_run_has_read(
    cli: Cli, journalled: DataDirectory, action: LatchAction, words: str
) -> None:
    HaltLatch(journalled.latch).set("storm", "operator", 1_700_042_400_000, action=action)
    assert words in cli("status")[1]
    latch = json.loads(cli("status", "--json")[1])["latch"]
    assert (latch["reason"], latch["flattened"]) == ("storm", action is LatchAction.SET)
    HaltLatch(journalled.latch).clear("over", "operator", 1_700_042_500_000)
    assert "storm" not in cli("status")[1]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("reduce_only", "resumed once by the operator; entries need one more `kamou resume`"),
        (
            "reduced_size",
            "resumed by the operator, with the day's loss still at the limit for half size",
        ),
    ],
)
def test_the_cause_of_a_state_after_a_resume_names_the_resume(state: str, words: str) -> None:
    assert state_cause(state, "OPERATOR_RESUME") == words
    assert state_cause(state, "OPERATOR_HALT") == "halted by the operator"
