"""Commands of the operator, a full mailbox, details of cycles, and commitments."""

from __future__ import annotations

from decimal import Decimal

import attrs
import pytest

from kamou import ids
from kamou.actors import mailbox_set
from kamou.actors.followers import BookFollower
from kamou.actors.order_executor import OrderExecutor, OrderExecutorSettings
from kamou.actors.timed_port import TimedPort
from kamou.core.book.events import (
    EquityRecorded,
    IntentRecorded,
    StateChanged,
    TradeClosed,
)
from kamou.core.book.intents import committed_content
from kamou.core.book.operator_events import CommandRecorded
from kamou.core.codes import Abstain, StateReason
from kamou.core.model import Figure, Intent, OrderRole, TradingState
from kamou.core.ranking import scan_detail
from kamou.exchange import embedded
from kamou.messages.governor import Flatten, Halt, Resume
from kamou.messages.orders import GovernorMessage
from kamou.settings.strategies import StrategySettings
from tests.actors import scripted_market
from tests.actors.account_of import faults
from tests.actors.system_harness import SETTINGS, Director, Ended, Harness, at, run_system

D = Decimal


def states(ended: Ended) -> list[tuple[str, str]]:
    return [(e.after.value, e.reason) for e in ended.of(StateChanged)]


def entered(ended: Ended) -> set[str]:
    return {e.intent.symbol for e in ended.of(IntentRecorded) if e.intent.role is OrderRole.ENTRY}


def send_at(*messages: tuple[float, GovernorMessage]) -> Director:
    async def direct(harness: Harness) -> None:
        for minute, message in messages:
            await harness.until(minute)
            harness.tree.governor.put_priority(message)

    return direct


def test_a_halt_denies_entries_until_the_operator_resumes() -> None:
    ended = run_system(
        direct=send_at(
            (1.5, Halt(reason=StateReason.OPERATOR_HALT, note="lunch")), (4.5, Resume(note="back"))
        )
    )
    assert states(ended) == [("reduce_only", "OPERATOR_HALT"), ("active", "OPERATOR_RESUME")]
    assert {e.symbol for e in ended.denied} >= {"DDD", "EEE", "FFF"}
    assert entered(ended) == {"AAA", "BBB", "CCC", "GGG", "HHH"}
    notes = [f.value for e in ended.of(StateChanged) for f in e.figures if f.name == "note"]
    assert notes == ["lunch", "back"]
    assert faults(ended, until_minute=scripted_market.MINUTES) == []


def test_a_resume_that_fails_is_journalled_with_its_reason() -> None:
    """The day is not open yet: it opens on the second read of the account."""
    asked = (
        (0.0, Halt(reason=StateReason.OPERATOR_HALT, note="lunch")),
        (0.0, Resume(note="too early")),
        (0.0, Resume()),
    )
    ended = run_system(direct=send_at(*asked))
    assert states(ended) == [("reduce_only", "OPERATOR_HALT")]
    assert [(e.reason, e.note, e.refusal) for e in ended.of(CommandRecorded)] == [
        ("OPERATOR_RESUME", "too early", "the day has not opened yet"),
        ("OPERATOR_RESUME", "", "the day has not opened yet"),
    ]


def test_a_command_that_changes_no_state_is_journalled_if_it_has_a_note() -> None:
    asked = (
        (1.5, Halt(reason=StateReason.OPERATOR_HALT, note="lunch")),
        (2.0, Halt(reason=StateReason.OPERATOR_HALT, note="a long one")),
        (2.5, Halt(reason=StateReason.OPERATOR_HALT, note="")),
        (3.5, Flatten(reason=StateReason.OPERATOR_FLATTEN, note="storm")),
        (4.0, Halt(reason=StateReason.OPERATOR_HALT, note="still closed")),
    )
    ended = run_system(direct=send_at(*asked))
    assert states(ended) == [("reduce_only", "OPERATOR_HALT"), ("flattening", "OPERATOR_FLATTEN")]
    assert [(e.reason, e.note, e.at_ms - at(0)) for e in ended.of(CommandRecorded)] == [
        ("OPERATOR_HALT", "a long one", 120_000),
        ("OPERATOR_HALT", "still closed", 240_000),
    ]
    notes = [f.value for e in ended.of(StateChanged) for f in e.figures if f.name == "note"]
    assert notes == ["lunch", "storm"]


def test_an_equity_snapshot_follows_the_last_exit_of_a_flatten_within_2_s() -> None:
    ended = run_system(direct=send_at((2.5, Flatten(reason=StateReason.OPERATOR_FLATTEN, note=""))))
    last_ms = max(e.closed_at_ms for e in ended.of(TradeClosed) if e.closed_at_ms < at(2.6))
    snapshots = [e for e in ended.of(EquityRecorded) if e.at_ms >= last_ms]
    assert last_ms < at(2.6)
    assert snapshots[0].at_ms - last_ms <= 2_000, (
        "no snapshot came before the next cycle, 30 s later"
    )
    assert snapshots[0].unrealized_pnl == 0


def test_a_resume_after_a_flatten_leads_to_reduce_only_and_a_second_one_to_active() -> None:
    ended = run_system(
        direct=send_at(
            (2.5, Flatten(reason=StateReason.OPERATOR_FLATTEN, note="")),
            (3.5, Resume(note="")),
            (5.5, Resume(note="")),
        )
    )
    assert [after for after, _ in states(ended)] == ["flattening", "reduce_only", "active"]
    closes = [e.exit_reason for e in ended.of(TradeClosed) if e.closed_at_ms < at(2.6)]
    assert closes == ["exit"] * 5
    assert "FFF" not in entered(ended)  # its signal came during the halt
    assert faults(ended, until_minute=scripted_market.MINUTES) == []


def test_after_half_of_the_daily_loss_limit_entries_are_about_half_the_size() -> None:
    """The loss of minutes 3 and 5 is half the limit; minute 6 enters in REDUCED_SIZE."""
    risk = attrs.evolve(SETTINGS.risk, daily_loss_max=D("0.008"), flatten_at=D(9))
    ended = run_system(settings=attrs.evolve(SETTINGS, risk=risk))
    assert ("reduced_size", "DAY_LOSS_HALF") in states(ended)
    quantity = [
        e.intent.quantity
        for e in ended.of(IntentRecorded)
        if e.intent.role is OrderRole.ENTRY and e.intent.symbol in ("AAA", "GGG")
    ]
    assert min(quantity) < max(quantity) * D("0.6")
    assert ended.checked.violations == ()


@pytest.mark.parametrize("name", ["ORDERS_CAPACITY", "EVENTS_MAX"])
def test_reconciliation_makes_up_for_an_update_that_a_full_mailbox_or_stream_dropped(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_set if name == "ORDERS_CAPACITY" else embedded, name, 1)
    ended = run_system()
    assert ended.fills
    found = faults(ended, until_minute=scripted_market.MINUTES)
    assert found == []


def test_the_reasons_of_a_symbol_are_kept_with_keep_detail() -> None:
    bodies: list[bytes] = []

    async def direct(harness: Harness) -> None:
        await harness.until(4.5)
        rows = harness.session.reader.execute(
            "SELECT body FROM detail WHERE cycle_at_ms = ?", (at(1),)
        )
        bodies.extend(row[0] for row in rows)

    run_system(direct=direct, keep_detail=True, minutes=5)
    (body,) = bodies
    (reason,) = scan_detail.read_reasons(body, "DDD")
    assert "scripted" in str(reason)


def test_the_error_of_a_strategy_is_kept_with_the_details_of_its_cycle() -> None:
    bodies: list[bytes] = []
    minute = scripted_market.RAISES_AT_MINUTE

    async def direct(harness: Harness) -> None:
        await harness.until(minute + 1.5)
        rows = harness.session.reader.execute(
            "SELECT body FROM detail WHERE cycle_at_ms = ?", (at(minute),)
        )
        bodies.extend(row[0] for row in rows)

    both = attrs.evolve(SETTINGS, strategies=StrategySettings(enabled=("scripted", "raising")))
    run_system(direct=direct, keep_detail=True, minutes=minute + 2, settings=both)
    (body,) = bodies
    (failed,) = [r for r in scan_detail.read_reasons(body, "AAA") if r.strategy == "raising"]
    assert failed.abstain is Abstain.STRATEGY_FAILED
    (figure,) = failed.figures
    error = 'ZeroDivisionError("a strategy\'s own mistake"), at strategy_files/raising.py:'
    assert (figure.name, figure.value.startswith(error)) == ("error", True)
    (quiet,) = [r for r in scan_detail.read_reasons(body, "GGG") if r.strategy == "raising"]
    assert quiet.figures == (
        Figure(name="script", value="0"),
        Figure(name="wanted", value="a line of the script"),
    )


def committed_id(intent: Intent) -> str:
    """Return the client order id that commits to the order's content under its salt."""
    return ids.make_client_order_id(
        ids.make_commitment(bytes.fromhex(intent.salt), committed_content(intent))
    )


def test_the_client_order_id_of_every_order_commits_to_its_content() -> None:
    intents = [e.intent for e in run_system().of(IntentRecorded)]
    assert len(intents) > 20
    assert all(committed_id(intent) == intent.client_order_id for intent in intents)
    larger = attrs.evolve(intents[0], quantity=intents[0].quantity + 1)
    assert committed_id(larger) != larger.client_order_id


def test_a_follower_that_begins_at_a_snapshot_has_the_book_that_all_events_fold_into() -> None:
    books: list[tuple[bytes, bytes, int]] = []

    async def direct(harness: Harness) -> None:
        await harness.until(8.5)
        assert harness.tree.journal.load_book_snapshot() is not None
        follower = BookFollower(harness.tree.journal)
        recovered = await follower.recover()
        books.append((recovered.dump(), harness.book().dump(), recovered.seq))

    run_system(direct=direct)
    ((recovered, folded, seq),) = books
    assert seq > SETTINGS.store.snapshot_every
    assert recovered == folded


def test_an_event_that_was_committed_before_is_skipped_and_the_rest_is_committed() -> None:
    seen: list[int] = []

    async def direct(harness: Harness) -> None:
        await harness.until(2.5)
        book = harness.book()
        order = next(iter(book.orders.unsettled.values()))
        executor = OrderExecutor(
            journal=harness.tree.journal,
            port=TimedPort(harness.tree.port, 5.0),
            governor=harness.tree.governor,
            clock=harness.clock,
            salt_of=harness.inputs.salt_of,
            settings=OrderExecutorSettings(),
        )
        old = IntentRecorded(at_ms=at(2), cause_id="", intent=order.intent)
        new = attrs.evolve(old, intent=attrs.evolve(order.intent, client_order_id="km-new"))
        after = await executor.commit(old, new)
        seen.append(
            sum(name in after.orders.unsettled for name in (order.client_order_id, "km-new"))
        )

    ended = run_system(direct=direct, minutes=3)
    assert seen == [2]
    assert ended.book.trading.state is TradingState.ACTIVE
