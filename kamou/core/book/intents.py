"""Intents of entries, stops, take-profits and exits, with their client order ids.

The client order id is a hash of the intent's content and a salt. So the venue's records contain a
commitment to the content, and the same content and salt give the same id. ``SaltOf`` is the type of
the function that makes salts.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from functools import partial

import attrs

from kamou import ids
from kamou.core.model import (
    Intent,
    OrderRole,
    OrderType,
    Plan,
    Side,
    TimeInForce,
)

SaltOf = Callable[[str], bytes]
"""Function that returns 32 secret bytes of salt for a name, ``trade_id/role/attempt``."""


@attrs.frozen(kw_only=True)
class PositionToClose:
    """The position of a trade that a reduce-only order may close."""

    trade_id: str
    symbol: str
    side: Side
    quantity: Decimal  # contracts, > 0
    leverage: int


@attrs.frozen(kw_only=True)
class IntentOrigin:
    """Time and cause of an intent, and its attempt number for its trade and role."""

    attempt: int
    at_ms: int
    cause_id: str


def committed_content(intent: Intent) -> bytes:
    """Return the content to which the client order id commits, without the salt.

    It is JSON with sorted keys, without spaces, with decimals as text. If all texts are ASCII, it
    is the canonical JSON of RFC 8785.
    """
    body = {
        "attempt": intent.attempt,
        "intended_at_ms": intent.intended_at_ms,
        "role": intent.role,
        "leverage": intent.leverage,
        "limit_price": None if intent.limit_price is None else str(intent.limit_price),
        "permit_id": intent.permit_id,
        "quantity": str(intent.quantity),
        "reduce_only": intent.reduce_only,
        "side": intent.side,
        "symbol": intent.symbol,
        "time_in_force": intent.time_in_force,
        "trade_id": intent.trade_id,
        "trigger_price": None if intent.trigger_price is None else str(intent.trigger_price),
        "type": intent.type,
        "v": 1,
    }
    return json.dumps(body, separators=(",", ":"), sort_keys=True, ensure_ascii=True).encode()


def _seal(draft: Intent, salt_of: SaltOf) -> Intent:
    """Return the draft with its salt and the client order id made from its content."""
    salt = salt_of(f"{draft.trade_id}/{draft.role}/{draft.attempt}")
    client_order_id = ids.make_client_order_id(ids.make_commitment(salt, committed_content(draft)))
    return attrs.evolve(draft, client_order_id=client_order_id, salt=salt.hex())


def entry_intents(plan: Plan, *, now_ms: int, salt_of: SaltOf) -> tuple[Intent, Intent, Intent]:
    """Return the intents of entry, stop-loss and take-profit, in this order.

    The entry is an IOC limit order, or a GTC limit order that is post-only if the plan may rest.
    """
    trade_id = ids.make_trade_id(plan.signal_id)
    entry = _seal(
        Intent(
            client_order_id="",
            trade_id=trade_id,
            permit_id=plan.permit_id,
            role=OrderRole.ENTRY,
            attempt=plan.attempt,
            symbol=plan.symbol,
            side=plan.side.opening,
            quantity=plan.quantity,
            type=OrderType.LIMIT,
            limit_price=plan.limit_price,
            trigger_price=None,
            time_in_force=TimeInForce.GTC if plan.rest_ms else TimeInForce.IOC,
            reduce_only=False,
            leverage=plan.leverage,
            intended_at_ms=now_ms,
            salt="",
            cause_id=plan.permit_id,
        ),
        salt_of,
    )

    position = PositionToClose(
        trade_id=trade_id,
        symbol=plan.symbol,
        side=plan.side,
        quantity=plan.quantity,
        leverage=plan.leverage,
    )
    origin = IntentOrigin(attempt=plan.attempt, at_ms=now_ms, cause_id=entry.client_order_id)
    attached = partial(exit_intent, position=position, origin=origin, salt_of=salt_of)
    return (
        entry,
        attached(OrderRole.STOP_LOSS, price=plan.stop_price),
        attached(OrderRole.TAKE_PROFIT, price=plan.target_price),
    )


_EXITS = {
    OrderRole.STOP_LOSS: (OrderType.STOP_MARKET, TimeInForce.GTC),
    OrderRole.TAKE_PROFIT: (OrderType.LIMIT, TimeInForce.GTC),
    OrderRole.EXIT: (OrderType.MARKET, TimeInForce.IOC),
}


def exit_intent(
    role: OrderRole,
    *,
    position: PositionToClose,
    origin: IntentOrigin,
    salt_of: SaltOf,
    price: Decimal | None = None,
) -> Intent:
    """Return the intent of a reduce-only order that closes the position.

    Args:
        role: STOP_LOSS triggers at ``price``, TAKE_PROFIT is a limit order there, EXIT is a market
            order without a price.
        position: the position to close.
        origin: time, cause and attempt of the intent.
        salt_of: function that makes the salt.

    Raises:
        KeyError: the role is ENTRY.
    """
    type_, time_in_force = _EXITS[role]
    draft = Intent(
        client_order_id="",
        trade_id=position.trade_id,
        permit_id="",
        role=role,
        attempt=origin.attempt,
        symbol=position.symbol,
        side=position.side.closing,
        quantity=position.quantity,
        type=type_,
        limit_price=price if role is OrderRole.TAKE_PROFIT else None,
        trigger_price=price if role is OrderRole.STOP_LOSS else None,
        time_in_force=time_in_force,
        reduce_only=True,
        leverage=position.leverage,
        intended_at_ms=origin.at_ms,
        salt="",
        cause_id=origin.cause_id,
    )
    return _seal(draft, salt_of)
