"""Interfaces of a venue for the composition root: listing, port and port factory."""

from __future__ import annotations

from typing import Protocol

from kamou.actors.exchange import SteppedPort
from kamou.core.model import Instrument
from kamou.exchange.base import ExchangePort, PortChecks


class Listing(Protocol):
    """Symbols and instruments that a venue lists, known before its port is made."""

    symbols: tuple[str, ...]
    instruments: tuple[Instrument, ...]
    step_ms: int  # of its shortest bars


class VenuePort(ExchangePort, SteppedPort, Protocol):
    """The exchange port of a venue whose market is stepped."""


class PortFactory(Protocol):
    """A function that makes the port of one venue with the composition root's checks."""

    def __call__(self, checks: PortChecks, /) -> VenuePort: ...
