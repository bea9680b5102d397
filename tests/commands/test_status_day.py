"""The day's result and loss in ``kamou status`` and ``kamou why``, from a journal without a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import attrs

from kamou.core.book.events import DayOpened, Event, IncomeRecorded, RunStarted
from kamou.core.book.position_book import PositionBook
from kamou.core.kinds import IncomeKind
from kamou.core.model import Income
from kamou.data_directory.folder import DataDirectory
from kamou.store import database
from kamou.store.journal import JournalWriter
from tests.store import story

Cli = Callable[..., tuple[int, str, str]]

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


def test_a_withdrawal_without_a_trade_is_no_loss_of_the_day(
    cli: Cli, journalled: DataDirectory
) -> None:
    taken_out = story.make_transfer(DAY1_MS + 7_000, "-990")
    read = attrs.evolve(story.make_equity(DAY1_MS + 300_000, "9000"), exit_costs=D(0))
    day, row = day_after(cli, journalled, OPENING, taken_out, read)
    assert (day["result"], day["loss"], day["loss_budget_left"]) == (0, 0, 0.04)
    assert "0.00% of 4.00%" in row


def test_the_result_and_the_loss_of_the_first_day_are_fractions_of_one_equity(
    cli: Cli, directory: DataDirectory
) -> None:
    """A run starts with 1,000; 9,000 are deposited before the day opens; 100 are lost."""
    directory.create()
    started = next(event for event in story.opening_events() if isinstance(event, RunStarted))
    deposit = record_income(DAY1_MS + 2_000, "9000", "transfer")
    opening = DayOpened(at_ms=DAY1_MS + 6_000, day="2023-11-16", equity=D(10_000))
    read = attrs.evolve(story.make_equity(DAY1_MS + 300_000, "9900"), exit_costs=D(0))
    day, _ = day_after(cli, directory, attrs.evolve(started, at_ms=DAY1_MS), deposit, opening, read)
    assert (day["result"], day["loss"]) == (-0.1, 0.1)  # of 1,000, as the governor counts it


def record_income(at_ms: int, amount: str, kind: str = "funding") -> IncomeRecorded:
    income = Income(
        income_id=f"p{at_ms}", kind=IncomeKind(kind), symbol="", amount=D(amount), at_ms=at_ms
    )
    return IncomeRecorded(at_ms=at_ms, income=income)


def test_funding_paid_at_midnight_is_a_loss_of_the_new_day(
    cli: Cli, journalled: DataDirectory
) -> None:
    """The equity is 9,992 after 8 was paid and 2,000 deposited, so the day began with 8,000."""
    read = attrs.evolve(BEFORE_OPENING, equity=D(7_992))
    income = (
        record_income(DAY1_MS, "-8"),
        read,
        record_income(DAY1_MS + 3_000, "2000", "transfer"),
    )
    opening = attrs.evolve(OPENING, equity=D(9_992), opening=D(8_000))
    later = record_income(DAY1_MS + 7_000, "-100")  # the next read will show it
    day, _ = day_after(cli, journalled, *income, opening, later)
    assert day["exit_costs"] == 0.000875  # 7 of 8,000
    assert day["loss"] == 0.001875  # 7 and 8 of 8,000
    assert day["result"] == -0.001
    book = PositionBook()
    book.apply_all(enumerate((*story.opening_events(), *income, opening), 1))
    assert book.day.equity == 8_000  # as the governor counts it
    assert book.measure_day(opening.equity, D(7)).loss == D("0.001875")


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


def test_a_deposit_before_the_day_opened_is_subtracted_once_from_the_days_result(
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


def test_before_the_day_has_opened_status_says_why_the_days_loss_is_unknown(
    cli: Cli, journalled: DataDirectory
) -> None:
    day, row = day_after(cli, journalled, BEFORE_OPENING)
    assert (day["day"], day["loss"], day["exit_costs"]) == ("2023-11-15", None, None)
    assert day["loss_unknown"] == (
        "2023-11-16 has not opened yet; that needs two account reads that agree"
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
    assert "unknown: the exit costs of the open positions were not read since 00:00" in row


def test_status_before_the_first_day_says_that_the_loss_is_unknown(
    cli: Cli, journalled: DataDirectory, tmp_path: Path
) -> None:
    directory = DataDirectory(tmp_path / "kamou-data")
    directory.database.unlink()
    database.open_writer(directory.database, durable=False).close()
    assert "unknown: the record has no day with equity yet" in cli("status")[1]


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
