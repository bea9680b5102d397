"""What the actors are handed of a venue in this process, whichever it is."""

from __future__ import annotations

from typing import Protocol

from kamou.actors.exchange import SteppedPort
from kamou.clock import Clock
from kamou.core.model import Instrument
from kamou.exchange.base import ExchangePort, IsHalted, JournalProof, PermitStore


class Listing(Protocol):
    """What a venue lists, before anybody has asked it."""

    symbols: tuple[str, ...]
    instruments: tuple[Instrument, ...]
    step_ms: int  # of its shortest bars


class VenuePort(ExchangePort, SteppedPort, Protocol):
    """The port as all actors hold it together."""


class PortFactory(Protocol):
    """Makes the port of one venue for the tree that is being composed.

    The tree brings what guards the port; which venue is behind it, only the factory knows.
    """

    def __call__(
        self,
        *,
        clock: Clock,
        permits: PermitStore,
        halted: IsHalted,
        journal_proof: JournalProof,
    ) -> VenuePort: ...
