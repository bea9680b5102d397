"""``kamou status``, ``why`` and ``report`` of a journal without a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import attrs
import pytest
from store import story

from kamou.core.book.events import DayOpened, Event, IncomeRecorded, RunStarted
from kamou.core.book.position_book import PositionBook
from kamou.core.book.strategy_events import StrategyDisabled, StrategyResumed
from kamou.core.codes import state_cause
from kamou.core.model import Income
from kamou.core.risk.equity import day_loss_at
from kamou.data_directory.folder import DataDirectory
from kamou.data_directory.latch import HALT, SET_WORD, HaltLatch
from kamou.data_directory.lock import DataDirectoryLock
from kamou.store import database
from kamou.store.journal import JournalWriter

Cli = Callable[..., tuple[int, str, str]]
Compose = Callable[[str, Callable[..., Any]], None]


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


def test_the_daily_loss_limit_of_status_is_that_of_the_newest_run(
    cli: Cli, journalled: DataDirectory
) -> None:
    read = attrs.evolve(
        story.make_equity(story.DAY0_MS + 40_000_000, "9900"),
        exit_costs=D(7),
        day_equity=D(10_000),
        day_lost=D(107),
    )
    again = attrs.evolve(
        next(event for event in story.opening_events() if isinstance(event, RunStarted)),
        at_ms=read.at_ms - 1,
        run_number=2,
        config_json='{"risk.daily_loss_max":"0.02"}',
    )
    day, row = day_after(cli, journalled, again, read)
    assert (day["loss_limit"], day["loss_budget_left"]) == (0.02, 0.0093)
    assert "1.07% of 2.00%" in row
    assert "1.07% of 2.00%" in cli("why", "ETHUSDT")[1]


DAY1_MS = story.DAY0_MS + 86_400_000
BEFORE_OPENING = attrs.evolve(story.make_equity(DAY1_MS + 1_000, "9990"), exit_costs=D(7))
OPENING = DayOpened(
    at_ms=DAY1_MS + 6_000,
    day="2023-11-16",
    equity=D(9990),
    opening=D(9990),
    midnight_at_ms=DAY1_MS,
)


def day_after(cli: Cli, directory: DataDirectory, *events: Event) -> tuple[dict[str, Any], str]:
    """Return the day of `status --json` after these events, and the line of its loss."""
    writer = database.open_writer(directory.database, durable=False)
    JournalWriter(writer, run_number=1).append(list(events))
    writer.close()
    day: dict[str, Any] = json.loads(cli("status", "--json")[1])["book"]["day"]
    (row,) = [line for line in cli("status")[1].splitlines() if "loss today" in line]
    return day, row


def test_the_loss_of_a_day_that_has_just_opened_is_its_exit_costs(
    cli: Cli, journalled: DataDirectory
) -> None:
    """The newest read opens the day; the read before it has the exit costs."""
    day, row = day_after(cli, journalled, BEFORE_OPENING, OPENING)
    assert day == {
        "day": "2023-11-16",
        "result": 0,
        "loss": 0.000701,
        "exit_costs": 0.000701,
        "loss_unknown": None,
        "loss_limit": 0.04,
        "loss_budget_left": 0.039299,
    }
    assert "0.07% of 4.00%, exit costs of 0.07% included" in row


def test_a_day_that_opened_without_positions_has_no_loss(
    cli: Cli, journalled: DataDirectory
) -> None:
    flat = attrs.evolve(BEFORE_OPENING, exit_costs=D(0))
    paid_in = story.make_transfer(DAY1_MS + 9_000, "500")  # after the newest equity read
    day, row = day_after(cli, journalled, flat, OPENING, paid_in)
    assert (day["result"], day["loss"], day["loss_budget_left"]) == (0, 0, 0.04)
    assert "0.00% of 4.00%" in row


def record_income(at_ms: int, amount: str, kind: str = "funding") -> IncomeRecorded:
    income = Income(income_id=f"p{at_ms}", kind=kind, symbol="", amount=D(amount), at_ms=at_ms)
    return IncomeRecorded(at_ms=at_ms, income=income)


def test_funding_paid_at_midnight_is_a_loss_of_the_new_day(
    cli: Cli, journalled: DataDirectory
) -> None:
    """Equity 9,992 after 8 paid and 2,000 deposited: the day began with 8,000."""
    read = attrs.evolve(BEFORE_OPENING, equity=D(7_992))
    income = (
        record_income(DAY1_MS, "-8"),
        read,
        record_income(DAY1_MS + 3_000, "2000", "transfer"),
    )
    opening = attrs.evolve(OPENING, equity=D(9_992), opening=D(8_000))
    later = record_income(DAY1_MS + 7_000, "-100")  # in the next read
    day, _ = day_after(cli, journalled, *income, opening, later)
    assert day["exit_costs"] == 0.000875  # 7
    assert day["loss"] == 0.001875  # and 8
    assert day["result"] == -0.001
    book = PositionBook()
    book.apply_all(enumerate((*story.opening_events(), *income, opening), 1))
    assert book.day_equity == 8_000  # as the governor counts it
    assert day_loss_at(book, opening.equity, D(7)) / book.day_equity == D("0.001875")


def test_funding_received_at_midnight_does_not_make_the_loss_negative(
    cli: Cli, journalled: DataDirectory
) -> None:
    read = attrs.evolve(BEFORE_OPENING, equity=D(9_999))
    day, _ = day_after(cli, journalled, record_income(DAY1_MS, "9"), read, OPENING)
    assert (day["result"], day["loss"]) == (0.000901, 0)


def test_after_a_late_start_the_loss_counts_from_midnight(
    cli: Cli, journalled: DataDirectory
) -> None:
    """During a downtime 10,000 became 9,700; the first read has exit costs of 5."""
    start_ms = DAY1_MS + 11 * 3_600_000
    read = attrs.evolve(story.make_equity(start_ms, "9700"), exit_costs=D(5))
    opening = attrs.evolve(OPENING, at_ms=start_ms + 5_000, equity=D(9_700), opening=D(10_000))
    day, row = day_after(cli, journalled, read, opening)
    assert (day["result"], day["loss"], day["exit_costs"]) == (-0.03, 0.0305, 0.0005)
    assert day["loss_budget_left"] == 0.0095
    assert "3.05% of 4.00%" in row


def test_a_deposit_before_the_day_opened_is_subtracted_once_from_its_result(
    cli: Cli, journalled: DataDirectory
) -> None:
    paid_in = record_income(DAY1_MS + 2_000, "9990", "transfer")
    read = attrs.evolve(story.make_equity(DAY1_MS + 3_000, "10000"), exit_costs=D("0.1"))
    opening = attrs.evolve(OPENING, equity=D(10_000), opening=D(10))
    day, _ = day_after(cli, journalled, paid_in, read, opening)
    assert (day["result"], day["loss"]) == (0, 0.01)


def test_a_transfer_after_the_newest_read_does_not_change_the_days_result(
    cli: Cli, journalled: DataDirectory
) -> None:
    read = story.make_equity(DAY1_MS + 300_000, "9990")
    taken_out = record_income(DAY1_MS + 400_000, "-900", "transfer")
    day, _ = day_after(cli, journalled, OPENING, read, taken_out)
    assert day["result"] == 0


def test_before_the_day_has_opened_status_says_why_its_loss_is_unknown(
    cli: Cli, journalled: DataDirectory
) -> None:
    day, row = day_after(cli, journalled, BEFORE_OPENING)
    assert (day["day"], day["loss"], day["exit_costs"]) == ("2023-11-15", None, None)
    assert day["loss_unknown"] == (
        "2023-11-16 has not opened yet: two account reads must agree first"
    )
    assert "unknown: 2023-11-16 has not opened yet" in row
    assert "the day's loss: unknown: 2023-11-16" in cli("why", "ETHUSDT")[1]


def test_the_loss_is_unknown_if_no_read_of_the_day_has_exit_costs(
    cli: Cli, journalled: DataDirectory
) -> None:
    yesterday = attrs.evolve(
        story.make_equity(DAY1_MS - 1_000, "9990"),
        exit_costs=D(7),
        day_equity=D(10_000),
        day_lost=D(17),
    )
    day, row = day_after(cli, journalled, yesterday, OPENING)
    assert (day["day"], day["loss"]) == ("2023-11-16", None)  # not the 17 of yesterday
    assert day["result"] == 0
    assert "unknown: no exit costs of the open positions are on record since 00:00 UTC" in row


def test_status_before_the_first_day_says_that_the_loss_is_unknown(
    cli: Cli, journalled: DataDirectory, tmp_path: Path
) -> None:
    directory = DataDirectory(tmp_path / "kamou-data")
    directory.database.unlink()
    database.open_writer(directory.database, durable=False).close()
    assert "unknown: the record has no day with equity yet" in cli("status")[1]


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
        StrategyDisabled(at_ms=at_ms, strategy=name, code="RATE_ENTRIES_EXCEEDED", figures=())
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
    assert "what may be won after costs is too little for what may be lost: b 1.1" in out
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
            HALT,
            '! halted since 2023-11-15 10:00:00 UTC, "storm": entries are blocked until',
        ),
        (SET_WORD, '! flattened 2023-11-15 10:00:00 UTC, "storm", after this record:'),
    ],
)
def test_status_shows_a_halt_latch_that_no_run_has_read(
    cli: Cli, journalled: DataDirectory, action: str, words: str
) -> None:
    HaltLatch(journalled.latch).set("storm", "operator", 1_700_042_400_000, action=action)
    assert words in cli("status")[1]
    latch = json.loads(cli("status", "--json")[1])["latch"]
    assert (latch["reason"], latch["flattened"]) == ("storm", action == SET_WORD)
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
