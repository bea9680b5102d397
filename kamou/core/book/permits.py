"""Reservations of permits, and the ids of released permits."""

from __future__ import annotations

from decimal import Decimal

import attrs

from kamou.core.book.events import PermitConsumed, PermitGranted, PermitReleased
from kamou.core.book.orders import OrderState
from kamou.core.book.retention import PERMITS_KEPT, forget_oldest
from kamou.core.model import Intent, Plan


@attrs.frozen(kw_only=True)
class Reservation:
    """Risk and notional reserved by a permit. They shrink as its entry fills or ends."""

    plan: Plan
    expires_at_ms: int
    remaining: Decimal  # contracts still reserved
    client_order_id: str = ""  # of its entry order; empty before the intent

    @property
    def risk(self) -> Decimal:
        """Risk still reserved, money."""
        return self.plan.risk * self.remaining / self.plan.quantity

    @property
    def notional(self) -> Decimal:
        """Notional still reserved, money."""
        return self.plan.notional * self.remaining / self.plan.quantity


@attrs.define(kw_only=True)
class BookPermits:
    """Reservations of the granted permits, and the ids of released ones."""

    reservations: dict[str, Reservation] = attrs.field(factory=dict)  # by id, until released
    released: dict[str, int] = attrs.field(factory=dict)  # the newest: permit id -> at_ms

    def grant(self, event: PermitGranted) -> None:
        """Reserve risk and notional of the whole plan."""
        self.reservations[event.permit_id] = Reservation(
            plan=event.plan, expires_at_ms=event.expires_at_ms, remaining=event.plan.quantity
        )

    def consume(self, event: PermitConsumed) -> None:
        """Store the client order id of the order that used the permit."""
        reservation = self.reservations.get(event.permit_id)
        if reservation is not None:
            self.reservations[event.permit_id] = attrs.evolve(
                reservation, client_order_id=event.client_order_id
            )

    def release(self, event: PermitReleased) -> None:
        """End the reservation, and keep the permit's id."""
        self.reservations.pop(event.permit_id, None)
        self.released[event.permit_id] = event.at_ms
        forget_oldest(self.released, PERMITS_KEPT)

    def assign(self, intent: Intent) -> Plan | None:
        """Store the order of the intent with its permit, and return the permit's plan.

        Returns None, and stores nothing, if the intent has no reserved permit.
        """
        reservation = self.reservations.get(intent.permit_id) if intent.permit_id else None
        if reservation is None:
            return None
        self.reservations[intent.permit_id] = attrs.evolve(
            reservation, client_order_id=intent.client_order_id
        )
        return reservation.plan

    def shrink(self, entry: OrderState) -> None:
        """Reduce the reservation to the contracts that the entry may still fill."""
        reservation = self.reservations.get(entry.intent.permit_id)
        if reservation is not None and reservation.remaining != entry.remaining:
            self.reservations[entry.intent.permit_id] = attrs.evolve(
                reservation, remaining=min(reservation.plan.quantity, entry.remaining)
            )
