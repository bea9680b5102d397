"""Invariant 12: every enabled fault occurs in a swarm, and the system trades."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

MUST_HAPPEN = (
    "entries",
    "fills",
    "orders",
    "sent stop_loss",
    "sent exit",
    "TradeClosed",
    "EntriesDenied",
    "PermitDenied",
    "CandidatesVetoed",
    "StopConfirmed",
    "IncomeRecorded",
)
"""Events that a swarm of at least ``MUST_HAPPEN_HOURS`` must have, or it tests too little."""

TRADED = ("entries", "fills", "orders")
MUST_HAPPEN_HOURS = 10.0  # a shorter swarm needs only the events of ``TRADED``


def find_idle(
    coverage: Mapping[str, int], *, enabled: Iterable[str], seeds: int, hours: float
) -> tuple[str, ...]:
    """Return the enabled faults and the required events that never happened.

    For one seed alone faults are left out, because a fault does not strike in every seed.
    """
    names = [f"fault {name}" for name in enabled]
    absent = [name for name in names if not coverage.get(name)] if seeds > 1 else []
    needed = MUST_HAPPEN if hours >= MUST_HAPPEN_HOURS else TRADED
    return (*absent, *(name for name in needed if not coverage.get(name)))
