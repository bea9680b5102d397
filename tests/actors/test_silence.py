"""A governor that does not answer or denies all, failed reads, unknown messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import pytest
import trio

from kamou.actors.base import HandlerHungError
from kamou.actors.risk_governor import KeptCommand, RiskGovernor
from kamou.app import SystemInputs, Tree
from kamou.core.book.events import (
    EquityRecorded,
    IntentRecorded,
    PermitDenied,
    PermitGranted,
    ReductionProved,
    StateChanged,
    TradeClosed,
)
from kamou.core.codes import Deny
from kamou.core.model import Denial, Figure, OrderRole, PositionReport, TradingState
from kamou.core.risk.verdict import Denied
from kamou.exchange.embedded import SimulatedExchange
from kamou.messages.orders import ReviewEntry
from tests.actors import scripted_market
from tests.actors.account_of import faults
from tests.actors.system_harness import Ended, Harness, at, replaced, run_system

Answer = Callable[[RiskGovernor, object], Awaitable[Any]]


def governed(answer: Answer, *, since_minute: float) -> Callable[[Tree, SystemInputs], Tree]:
    """Return a function that gives a tree a governor with ``answer`` from a minute on."""

    class Other(RiskGovernor):
        async def answer(self, message: object) -> Any:
            if self.clock.now_ms() < at(since_minute):
                return await super().answer(message)
            return await answer(self, message)

    def arrange(tree: Tree, inputs: SystemInputs) -> Tree:
        settings = inputs.settings

        async def start(task_status: trio.TaskStatus[None]) -> None:
            await Other(
                inbox=tree.governor,
                clock=inputs.clock,
                journal=tree.journal,
                orders=tree.mailboxes.order_manager,
                reconciler=tree.mailboxes.reconciler,
                gate=inputs.gate,
                parameters=settings.trading_parameters,
                excluded=frozenset(),
                kept=KeptCommand(),
                handler_deadline_s=float(settings.supervision.handler_deadline_s),
            ).run(task_status)

        return replaced(tree, "risk_governor", start)

    return arrange


async def hang(governor: RiskGovernor, message: object) -> Any:
    await trio.sleep_forever()


async def dawdle(governor: RiskGovernor, message: object) -> Any:
    await trio.sleep(2.5)  # longer than the timeout of a review
    return await RiskGovernor.answer(governor, message)


async def crash(governor: RiskGovernor, message: object) -> Any:
    await trio.lowlevel.checkpoint()
    raise ZeroDivisionError("a governor's own mistake")


def entries(ended: Ended) -> list[IntentRecorded]:
    return [e for e in ended.of(IntentRecorded) if e.intent.role is OrderRole.ENTRY]


@pytest.mark.parametrize("answer", [hang, dawdle, crash])
def test_without_the_governors_answer_entries_are_denied_and_the_port_proves_reductions(
    answer: Answer,
) -> None:
    ended = run_system(arrange=governed(answer, since_minute=2.5))
    assert max(e.at_ms for e in entries(ended)) < at(2.5)
    silent = [e for e in ended.of(PermitDenied) if e.denials[0].code == "GOVERNOR_TIMEOUT"]
    assert "AAA" in {e.symbol for e in silent}
    assert {e.denials[0].figures[0] for e in silent} == {Figure(name="timeout_s", value="2")}
    proofs = {proof.symbol for proof in ended.of(ReductionProved)}
    assert "DDD" in proofs  # the time limit
    (timed,) = [e for e in ended.of(TradeClosed) if e.symbol == "DDD"]
    assert timed.exit_reason == "time_limit"
    assert ended.checked.violations == ()
    assert faults(ended, until_minute=scripted_market.MINUTES) == []


def test_a_governor_that_hangs_is_crashed_by_its_handler_deadline() -> None:
    ended = run_system(arrange=governed(hang, since_minute=2.5))
    assert [e.child for e in ended.crashes if isinstance(e.error, HandlerHungError)]


def test_an_approval_that_comes_after_the_timeout_sends_no_order() -> None:
    ended = run_system(arrange=governed(dawdle, since_minute=2.5))
    late = [e for e in ended.of(PermitGranted) if e.at_ms > at(2.5)]
    assert late  # the governor approved, after the timeout
    assert not [e for e in entries(ended) if e.at_ms > at(2.5)]
    assert set(ended.book.permits.reservations) <= {e.permit_id for e in late[-2:]}


def test_no_entry_is_sent_while_the_governor_denies_all() -> None:
    async def no(governor: RiskGovernor, message: object) -> Any:
        await trio.lowlevel.checkpoint()
        if isinstance(message, ReviewEntry):
            denial = Denial(code=Deny.SYMBOL_RESTRICTED.value)
            return Denied(permit_id=message.plan.permit_id, denials=(denial,))
        return None

    ended = run_system(arrange=governed(no, since_minute=-1))
    assert (ended.fills, ended.checked.orders, entries(ended)) == ((), 0, [])


def test_a_second_equity_read_triggers_the_daily_loss_limit_even_after_a_failed_read() -> None:
    """The governor itself requests the read that confirms a breach of the day's limit."""
    from functools import partial

    from tests.actors.system_harness import SETTINGS
    from tests.actors.trouble import Trouble, TroubledExchange

    trouble = Trouble()
    strict = attrs.evolve(SETTINGS.risk, daily_loss_max=scripted_market.D("0.005"))

    async def direct(harness: Harness) -> None:
        await harness.until(
            5.03
        )  # after the reconciliation of minute 5, whose read is beyond the limit
        trouble.away = frozenset({"account"})
        await harness.until(5.2)
        trouble.away = frozenset()

    ended = run_system(
        adapter=partial(TroubledExchange, trouble=trouble),
        settings=attrs.evolve(SETTINGS, risk=strict),
        direct=direct,
    )
    changes = [(c.after, c.reason) for c in ended.of(StateChanged)]
    assert any(reason.startswith("DAY_LOSS") for _, reason in changes)
    assert changes[-1][0] is not TradingState.ACTIVE


class Moving(SimulatedExchange):
    """A venue with a deposit between the reconciler's reads of account and income."""

    paid = False

    async def positions(self) -> tuple[PositionReport, ...]:
        if not Moving.paid and self.engine.market_ms > at(2):
            Moving.paid = True
            self.engine.transfer(scripted_market.D(5_000))
        return await super().positions()


def test_an_equity_snapshot_includes_a_transfer_made_between_two_reads() -> None:
    Moving.paid = False
    ended = run_system(adapter=Moving)
    earned = [mark.equity - mark.net_deposits for mark in ended.of(EquityRecorded)]
    assert {mark.net_deposits for mark in ended.of(EquityRecorded)} == {0, 5_000}
    assert max(earned) - min(earned) < 1_000
    assert ended.of(StateChanged) == []


def test_an_actor_that_gets_an_unknown_message_crashes_and_is_restarted() -> None:
    unknown: Any = "gibberish"

    async def direct(harness: Harness) -> None:
        await harness.until(3.5)
        harness.tree.mailboxes.order_manager.put_nowait(unknown)
        await harness.until(4.5)
        harness.tree.mailboxes.risk_governor.put_nowait(unknown)
        harness.tree.mailboxes.feed.put_nowait(unknown)
        await harness.until(5.5)
        harness.tree.mailboxes.reconciler.put_nowait(unknown)

    ended = run_system(direct=direct)
    assert {e.child for e in ended.crashes} == {
        "order_manager",
        "risk_governor",
        "feed",
        "reconciler",
    }
    assert faults(ended, until_minute=scripted_market.MINUTES) == []
