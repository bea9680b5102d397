"""Approvals at the exchange port: no forgery, copy, pickle or second use."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import attrs
import pytest

from kamou import ids
from kamou.core.book.events import PermitConsumed
from kamou.core.book.intents import entry_intents
from kamou.core.kinds import SizeLimit
from kamou.core.model import Intent, Plan, Quote, Side
from kamou.core.risk.verdict import _MINT, Approved
from kamou.errors import InvalidPermitError
from kamou.messages.orders import Reviewed, ReviewEntry
from tests.actors.system_harness import Ended, Harness, at, run_system

D = Decimal
SYMBOL = "GGG"  # the scripted market has no early signal for it
QUIET_MINUTE = 0.3
QUIET_MINUTES = 0.65  # the run ends before the first scripted signal

Orders = tuple[Intent, tuple[Intent, ...]]


def plan_for(quote: Quote, now_ms: int, signal: str = "0.test.GGG") -> Plan:
    return Plan(
        permit_id=ids.make_permit_id(signal, 1),
        signal_id=signal,
        attempt=1,
        strategy="test",
        symbol=SYMBOL,
        side=Side.LONG,
        quantity=D(5),
        contract_size=D(1),
        entry_price=quote.ask,
        limit_price=quote.ask,
        stop_price=D(98),
        target_price=D(104),
        leverage=5,
        risk=D(20),
        notional=5 * quote.ask,
        bound_by=SizeLimit.RISK,
        hold_ms=0,
        planned_at_ms=now_ms,
        expires_at_ms=now_ms + 30_000,
    )


def orders_of(harness: Harness, plan: Plan) -> Orders:
    entry, *attached = entry_intents(
        plan, now_ms=harness.clock.now_ms(), salt_of=harness.inputs.salt_of
    )
    return entry, tuple(attached)


async def approve(harness: Harness) -> tuple[Approved, Plan]:
    """Return an approval of the governor and its plan, as the order manager gets them."""
    await harness.until(QUIET_MINUTE)
    quote = (await harness.tree.port.quotes((SYMBOL,)))[SYMBOL]
    plan = plan_for(quote, harness.clock.now_ms())
    message = ReviewEntry(cause_id="test", plan=plan, quote=quote)
    reviewed = await harness.tree.governor.call(message, timeout_s=2.0)
    assert isinstance(reviewed, Reviewed)
    assert isinstance(reviewed.verdict, Approved), reviewed
    return reviewed.verdict, plan


async def denied_code(harness: Harness, approved: Approved, orders: Orders) -> str:
    before = len(harness.session.engine.audit_log)
    with pytest.raises(InvalidPermitError) as denial:
        await harness.tree.port.submit(approved, *orders)
    assert len(harness.session.engine.audit_log) == before  # nothing reached the venue
    return denial.value.code


def play(direct: Callable[[Harness], Awaitable[None]]) -> Ended:
    return run_system(direct=direct, minutes=QUIET_MINUTES)


def bare_copy(approved: Approved) -> Approved:
    """Return a forged approval that was made without the constructor."""
    forged = object.__new__(Approved)
    for name in ("permit_id", "symbol", "side", "quantity_max", "stop_price", "expires_at_ms"):
        object.__setattr__(forged, name, getattr(approved, name))
    return forged


def test_an_approval_is_used_once_and_a_second_use_is_denied() -> None:
    async def direct(harness: Harness) -> None:
        approved, plan = await approve(harness)
        entry, attached = orders_of(harness, plan)
        report = await harness.tree.port.submit(approved, entry, attached)
        assert report.filled == plan.quantity
        assert await denied_code(harness, approved, (entry, attached)) == "PERMIT_USED"
        again = attrs.evolve(plan, attempt=2)  # another order under the same permit
        assert await denied_code(harness, approved, orders_of(harness, again)) == "PERMIT_USED"

    ended = play(direct)
    assert len(ended.of(PermitConsumed)) == 1
    assert len(ended.fills) == 1


def test_a_permit_that_two_tasks_use_at_once_sends_one_order() -> None:
    import trio

    codes: list[str] = []

    async def direct(harness: Harness) -> None:
        approved, plan = await approve(harness)

        async def send(attempt: int) -> None:
            orders = orders_of(harness, attrs.evolve(plan, attempt=attempt))
            try:
                await harness.tree.port.submit(approved, *orders)
            except InvalidPermitError as denial:
                codes.append(denial.code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, 1)
            nursery.start_soon(send, 2)

    ended = play(direct)
    assert codes == ["PERMIT_USED"]
    assert len(ended.fills) == 1


def test_the_port_denies_an_approval_that_the_governor_did_not_make() -> None:
    async def direct(harness: Harness) -> None:
        approved, plan = await approve(harness)
        orders = orders_of(harness, plan)
        with pytest.raises(TypeError, match="only the risk governor"):
            Approved(mint=object(), plan=plan, snapshot_seq=1, expires_at_ms=at(5))
        assert await denied_code(harness, bare_copy(approved), orders) == "PERMIT_NOT_GENUINE"
        other = attrs.evolve(plan, permit_id="0.other.GGG.1")
        minted = Approved(mint=_MINT, plan=other, snapshot_seq=1, expires_at_ms=at(5))
        orders_of_other = orders_of(harness, other)
        assert (
            await denied_code(harness, minted, orders_of_other) == "PERMIT_UNKNOWN"
        )  # no permit is committed
        larger = attrs.evolve(plan, quantity=D(50))
        minted = Approved(mint=_MINT, plan=larger, snapshot_seq=1, expires_at_ms=plan.expires_at_ms)
        assert await denied_code(harness, minted, orders_of(harness, larger)) == "PERMIT_MISMATCH"

    assert play(direct).fills == ()


def test_an_approval_can_be_neither_copied_nor_pickled_nor_changed() -> None:
    async def direct(harness: Harness) -> None:
        approved, _ = await approve(harness)
        for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="cannot be"):
                duplicate(approved)
        with pytest.raises(AttributeError, match="cannot be set"):
            approved.quantity_max = D(1_000)

    assert play(direct).fills == ()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"quantity": D(6)}, "PERMIT_MISMATCH"),
        ({"side": Side.SHORT}, "PERMIT_MISMATCH"),
        ({"symbol": "HHH"}, "PERMIT_MISMATCH"),
        ({"permit_id": "0.other.GGG.1"}, "PERMIT_MISMATCH"),
        ({"stop_price": D(90)}, "STOP_NOT_ATTACHED"),
    ],
)
def test_the_port_denies_an_order_that_differs_from_the_approved_one(
    change: dict[str, Any], code: str
) -> None:
    async def direct(harness: Harness) -> None:
        approved, plan = await approve(harness)
        other = attrs.evolve(plan, **change)
        assert await denied_code(harness, approved, orders_of(harness, other)) == code

    assert play(direct).fills == ()


def test_the_port_denies_an_expired_approval() -> None:
    async def direct(harness: Harness) -> None:
        approved, plan = await approve(harness)
        await harness.clock.sleep_until(approved.expires_at_ms)
        assert await denied_code(harness, approved, orders_of(harness, plan)) == "PERMIT_EXPIRED"

    assert play(direct).fills == ()


def test_the_halt_latch_stops_an_entry_that_was_approved_before_the_latch_was_set() -> None:
    latched: list[bool] = []

    async def direct(harness: Harness) -> None:
        approved, plan = await approve(harness)
        latched.append(True)
        assert await denied_code(harness, approved, orders_of(harness, plan)) == "HALT_LATCHED"

    assert (
        run_system(direct=direct, minutes=QUIET_MINUTES, halted=lambda: bool(latched)).fills == ()
    )


def test_an_order_that_the_port_denies_ends_and_frees_its_reservation() -> None:
    """The halt latch is set throughout; the governor does not read it, the port does."""
    ended = run_system(halted=lambda: True, minutes=3)
    assert ended.fills == ()
    assert not ended.book.permits.reservations
    assert not ended.book.orders.unsettled
