"""The mailboxes of a tree (``Mailboxes``), made by ``make_mailboxes``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Never

import attrs

from kamou.actors.journal import CastsWaiting
from kamou.messages.governor import ProtectionFailed
from kamou.messages.market import BarsClosed
from kamou.messages.orders import GovernorMessage, OrderMessage, ReconcileNow
from kamou.messages.signals import (
    CandidatesCleared,
    CandidatesJudged,
    ShadowRecordGrew,
    ShardRanked,
)
from kamou.runtime.mailboxes import Mailbox, WhenFull

ORDERS_CAPACITY = 4_096  # updates of a busy minute; an overflow starts a reconciliation
CALLS_CAPACITY = 256
SIGNALS_CAPACITY = 64


@attrs.frozen(kw_only=True, eq=False)
class Mailboxes:
    """The mailboxes of the actors. They outlive the incarnations that take from them."""

    journal: Mailbox[CastsWaiting]
    risk_governor: Mailbox[GovernorMessage]
    order_manager: Mailbox[OrderMessage]
    reconciler: Mailbox[ReconcileNow]
    shadow_book: Mailbox[CandidatesJudged]
    refiner: Mailbox[CandidatesCleared]
    veto: Mailbox[ShardRanked]
    feed: Mailbox[Never]
    gate: Mailbox[ShadowRecordGrew]
    scanners: tuple[Mailbox[BarsClosed], ...]

    def report_unprotected(self, symbol: str) -> None:
        """Tell the governor that a position has no stop that holds."""
        self.risk_governor.put_priority(ProtectionFailed(symbol=symbol))

    def wake_gate(self) -> None:
        """Tell the gate's actor that shadow trades have closed."""
        self.gate.put_nowait(ShadowRecordGrew())


def make_mailboxes(shards: int, now_ms: Callable[[], int]) -> Mailboxes:
    """Return empty mailboxes for ``shards`` scanners; ``now_ms`` is their clock."""

    def make(
        name: str,
        capacity: int,
        when_full: WhenFull,
        key: Callable[[object], str] | None = None,
        on_overflow: Callable[[], object] | None = None,
    ) -> Mailbox[Any]:
        return Mailbox(name, capacity, when_full, key, now_ms=now_ms, on_overflow=on_overflow)

    reconciler = make("reconciler", SIGNALS_CAPACITY, WhenFull.REJECT)
    return Mailboxes(
        journal=make("journal", CALLS_CAPACITY, WhenFull.BLOCK),
        risk_governor=make("risk_governor", CALLS_CAPACITY, WhenFull.BLOCK),
        order_manager=make(
            "order_manager",
            ORDERS_CAPACITY,
            WhenFull.OVERFLOW,
            on_overflow=lambda: reconciler.put_nowait(ReconcileNow()),
        ),
        reconciler=reconciler,
        shadow_book=make("shadow_book", SIGNALS_CAPACITY, WhenFull.REJECT),
        refiner=make("refiner", SIGNALS_CAPACITY, WhenFull.REJECT),
        veto=make("veto", 4 * shards, WhenFull.REJECT),
        feed=make("feed", 1, WhenFull.REJECT),
        gate=make("gate", 1, WhenFull.CONFLATE, key=_same),
        scanners=tuple(
            make(f"scanner-{index}", 2, WhenFull.CONFLATE, key=_same) for index in range(shards)
        ),
    )


def _same(_message: object) -> str:
    """Return the same key for all messages, of which only the newest one is needed."""
    return "newest"
