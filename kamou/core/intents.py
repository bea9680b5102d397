"""From a decision to the order that will be sent: content, commitment, client id.

The client id is a hash of the intent's content and a salt, so the venue's own records hold our
commitment, and a retry can never mint another id for the same intent.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

import attrs

from kamou import ids
from kamou.core.model import (
    Intent,
    Leg,
    OrderSide,
    OrderType,
    Plan,
    Side,
    TimeInForce,
    closing_side,
    opening_side,
)

SaltOf = Callable[[str], bytes]
"""32 bytes of salt for an intent's name; unpredictable to outsiders."""


def payload(intent: Intent) -> bytes:
    """The committed content: canonical JSON (cf. RFC 8785) of all fields but id and salt."""
    body = {
        "attempt": intent.attempt,
        "intended_ms": intent.intended_ms,
        "leg": intent.leg.value,
        "leverage": intent.leverage,
        "limit_price": None if intent.limit_price is None else str(intent.limit_price),
        "permit_id": intent.permit_id,
        "quantity": str(intent.quantity),
        "reduce_only": intent.reduce_only,
        "side": intent.side.value,
        "symbol": intent.symbol,
        "time_in_force": intent.time_in_force.value,
        "trade_id": intent.trade_id,
        "trigger_price": None if intent.trigger_price is None else str(intent.trigger_price),
        "type": intent.type.value,
        "v": 1,
    }
    return json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=True).encode()


def proves(intent: Intent) -> bool:
    """Whether the client id really is the commitment to this content under this salt."""
    made = ids.client_id(ids.commitment(bytes.fromhex(intent.salt), payload(intent)))
    return made == intent.client_id


def _seal(
    *,
    trade_id: str,
    permit_id: str,
    leg: Leg,
    attempt: int,
    symbol: str,
    side: OrderSide,
    quantity: Decimal,
    type_: OrderType,
    limit_price: Decimal | None,
    trigger_price: Decimal | None,
    time_in_force: TimeInForce,
    leverage: int,
    intended_ms: int,
    cause_id: str,
    salt_of: SaltOf,
) -> Intent:
    salt = salt_of(f"{trade_id}/{leg.value}/{attempt}")
    draft = Intent(
        client_id="",
        trade_id=trade_id,
        permit_id=permit_id,
        leg=leg,
        attempt=attempt,
        symbol=symbol,
        side=side,
        quantity=quantity,
        type=type_,
        limit_price=limit_price,
        trigger_price=trigger_price,
        time_in_force=time_in_force,
        reduce_only=leg is not Leg.ENTRY,
        leverage=leverage,
        intended_ms=intended_ms,
        salt=salt.hex(),
        cause_id=cause_id,
    )
    named = ids.client_id(ids.commitment(salt, payload(draft)))
    return attrs.evolve(draft, client_id=named)


def entry_intents(plan: Plan, *, now_ms: int, salt_of: SaltOf) -> tuple[Intent, Intent, Intent]:
    """The entry (IOC limit at the plan's worst price) and its attached stop and target."""
    trade_id = ids.trade_id(plan.signal_id)
    opening, closing = opening_side(plan.side), closing_side(plan.side)
    entry = _seal(
        trade_id=trade_id,
        permit_id=plan.permit_id,
        leg=Leg.ENTRY,
        attempt=plan.attempt,
        symbol=plan.symbol,
        side=opening,
        quantity=plan.quantity,
        type_=OrderType.LIMIT,
        limit_price=plan.limit_price,
        trigger_price=None,
        time_in_force=TimeInForce.IOC,
        leverage=plan.leverage,
        intended_ms=now_ms,
        cause_id=plan.permit_id,
        salt_of=salt_of,
    )

    def closing_intent(leg: Leg, type_: OrderType, price: Decimal) -> Intent:
        resting = type_ is OrderType.TARGET_LIMIT
        return _seal(
            trade_id=trade_id,
            permit_id="",
            leg=leg,
            attempt=plan.attempt,
            symbol=plan.symbol,
            side=closing,
            quantity=plan.quantity,
            type_=type_,
            limit_price=price if resting else None,
            trigger_price=None if resting else price,
            time_in_force=TimeInForce.GTC,
            leverage=plan.leverage,
            intended_ms=now_ms,
            cause_id=entry.client_id,
            salt_of=salt_of,
        )

    return (
        entry,
        closing_intent(Leg.STOP, OrderType.STOP_MARKET, plan.stop_price),
        closing_intent(Leg.TARGET, OrderType.TARGET_LIMIT, plan.target_price),
    )


def stop_intent(
    *,
    trade_id: str,
    symbol: str,
    side: Side,
    quantity: Decimal,
    trigger_price: Decimal,
    leverage: int,
    attempt: int,
    now_ms: int,
    cause_id: str,
    salt_of: SaltOf,
) -> Intent:
    """A separate reduce-only stop for a position of ``side``."""
    return _seal(
        trade_id=trade_id,
        permit_id="",
        leg=Leg.STOP,
        attempt=attempt,
        symbol=symbol,
        side=closing_side(side),
        quantity=quantity,
        type_=OrderType.STOP_MARKET,
        limit_price=None,
        trigger_price=trigger_price,
        time_in_force=TimeInForce.GTC,
        leverage=leverage,
        intended_ms=now_ms,
        cause_id=cause_id,
        salt_of=salt_of,
    )


def target_intent(
    *,
    trade_id: str,
    symbol: str,
    side: Side,
    quantity: Decimal,
    limit_price: Decimal,
    leverage: int,
    attempt: int,
    now_ms: int,
    cause_id: str,
    salt_of: SaltOf,
) -> Intent:
    """A separate reduce-only target for a position of ``side``."""
    return _seal(
        trade_id=trade_id,
        permit_id="",
        leg=Leg.TARGET,
        attempt=attempt,
        symbol=symbol,
        side=closing_side(side),
        quantity=quantity,
        type_=OrderType.TARGET_LIMIT,
        limit_price=limit_price,
        trigger_price=None,
        time_in_force=TimeInForce.GTC,
        leverage=leverage,
        intended_ms=now_ms,
        cause_id=cause_id,
        salt_of=salt_of,
    )


def close_intent(
    *,
    trade_id: str,
    symbol: str,
    side: Side,
    quantity: Decimal,
    leverage: int,
    attempt: int,
    now_ms: int,
    cause_id: str,
    salt_of: SaltOf,
) -> Intent:
    """A reduce-only market order that closes a position of ``side``."""
    return _seal(
        trade_id=trade_id,
        permit_id="",
        leg=Leg.CLOSE,
        attempt=attempt,
        symbol=symbol,
        side=closing_side(side),
        quantity=quantity,
        type_=OrderType.MARKET,
        limit_price=None,
        trigger_price=None,
        time_in_force=TimeInForce.IOC,
        leverage=leverage,
        intended_ms=now_ms,
        cause_id=cause_id,
        salt_of=salt_of,
    )
