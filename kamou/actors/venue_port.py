"""The port, its factory and its listing, as the composition root hands them to the actors."""

from __future__ import annotations

from typing import Protocol

from kamou.actors.exchange import SteppedPort
from kamou.clock import Clock
from kamou.core.model import Instrument
from kamou.exchange.base import ExchangePort, IsHalted, JournalProof, PermitStore


class Listing(Protocol):
    """Symbols and instruments that a venue lists, known before its port is made."""

    symbols: tuple[str, ...]
    instruments: tuple[Instrument, ...]
    step_ms: int  # of its shortest bars


class VenuePort(ExchangePort, SteppedPort, Protocol):
    """The port with everything that any actor uses."""


class PortFactory(Protocol):
    """Makes the port of one venue from the guards that the composition root passes."""

    def __call__(
        self,
        *,
        clock: Clock,
        permits: PermitStore,
        halted: IsHalted,
        journal_proof: JournalProof,
    ) -> VenuePort: ...
