"""Fakes around a port under test: clock, permits, proofs, latch and intents."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import trio

from kamou.core.book.events import ReductionProved
from kamou.core.book.intents import IntentOrigin, PositionToClose, entry_intents, exit_intent
from kamou.core.kinds import SizeLimit
from kamou.core.model import Intent, OrderRole, Plan, Side
from kamou.core.risk.verdict import _MINT, Approved
from kamou.errors import InvalidPermitError

D = Decimal
SYMBOL = "AAA"


def salt(name: str) -> bytes:
    return name.encode().ljust(32, b".")[:32]


@attrs.define
class LeapClock:
    """A clock that jumps to the time that is waited for."""

    time_ms: int

    def now_ms(self) -> int:
        return self.time_ms

    async def sleep_until(self, at_ms: int) -> None:
        await trio.lowlevel.checkpoint()
        self.time_ms = max(self.time_ms, at_ms)


@attrs.define(slots=False)
class Permits:
    """Permit rows in memory: committed, then used once."""

    committed: dict[str, str] = attrs.Factory(
        dict
    )  # permit id -> client order id, empty until used

    async def consume(self, approved: Approved, client_order_id: str) -> None:
        if approved.permit_id not in self.committed:
            raise InvalidPermitError("PERMIT_UNCOMMITTED", approved.permit_id)
        if self.committed[approved.permit_id]:
            raise InvalidPermitError("PERMIT_USED", approved.permit_id)
        self.committed[approved.permit_id] = client_order_id


@attrs.define
class Proofs:
    journalled: list[ReductionProved] = attrs.Factory(list)

    async def commit(self, proof: ReductionProved) -> None:
        self.journalled.append(proof)


@attrs.define
class Latch:
    closed: bool = False

    def __call__(self) -> bool:
        return self.closed


def plan_of(signal: str = "1.test.AAA", **changes: Any) -> Plan:
    plain = Plan(
        permit_id=f"{signal}.1",
        signal_id=signal,
        attempt=1,
        strategy="test",
        symbol=SYMBOL,
        side=Side.LONG,
        quantity=D(100),
        contract_size=D("0.1"),
        entry_price=D("100.5"),
        limit_price=D("101"),
        stop_price=D("98"),
        target_price=D("104"),
        leverage=5,
        risk=D(25),
        notional=D(1000),
        bound_by=SizeLimit.RISK,
        hold_ms=3_600_000,
        planned_at_ms=0,
        expires_at_ms=0,
    )
    return attrs.evolve(plain, **changes)


def approve(plan: Plan, expires_at_ms: int) -> Approved:
    """Return the permit of a plan as the governor makes it."""
    return Approved(mint=_MINT, plan=plan, snapshot_seq=1, expires_at_ms=expires_at_ms)


def intents_of(plan: Plan, now_ms: int) -> tuple[Intent, tuple[Intent, ...]]:
    entry, stop, target = entry_intents(plan, now_ms=now_ms, salt_of=salt)
    return entry, (stop, target)


def _to_close(quantity: int, side: Side) -> PositionToClose:
    return PositionToClose(trade_id="t", symbol=SYMBOL, side=side, quantity=D(quantity), leverage=5)


def stop_of(quantity: int, trigger: str, *, attempt: int = 7, side: Side = Side.LONG) -> Intent:
    return exit_intent(
        OrderRole.STOP_LOSS,
        position=_to_close(quantity, side),
        origin=IntentOrigin(attempt=attempt, at_ms=0, cause_id="test"),
        salt_of=salt,
        price=D(trigger),
    )


def close_of(quantity: int, *, attempt: int = 9, side: Side = Side.LONG) -> Intent:
    return exit_intent(
        OrderRole.EXIT,
        position=_to_close(quantity, side),
        origin=IntentOrigin(attempt=attempt, at_ms=0, cause_id="test"),
        salt_of=salt,
    )
