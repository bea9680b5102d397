"""Open the embedded exchange without a journal, for the kill switch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import attrs
import trio

from kamou.clock import Clock, SimulatedClock
from kamou.data_directory.folder import Announce, DataDirectory
from kamou.errors import NotRunningError
from kamou.exchange.base import ExchangePort, JournalProof, PermitStore, PortChecks
from kamou.exchange.embedded import SimulatedExchange
from kamou.runs.demo import load_binding, open_source
from kamou.settings.config import Settings
from kamou.venue.checkpoints import keep_checkpoints
from kamou.venue.engine import Engine
from kamou.venue.models import VenueModels
from kamou.venue.store import VenueStore


@contextlib.contextmanager
def open_venue_without_journal(
    settings: Settings,
    data_dir: DataDirectory,
    clock: Clock,
    *,
    permits: PermitStore,
    journal_proof: JournalProof,
    warn: Announce,
) -> Iterator[ExchangePort]:
    """Open the port of the data directory's venue, as if the halt latch were set.

    A run may have the same venue open, because two processes can share its file.

    Args:
        settings: their market is replaced by the one on which the data directory was begun.
        data_dir: the data directory of the venue.
        clock: the clock; a recorded market uses its last simulated time instead.
        permits: the permit store for entries.
        journal_proof: takes each proof that an order only reduces.
        warn: takes a line if the schema of the venue's file was changed.

    Raises:
        NotRunningError: the venue's file does not exist, or it was never traded on.
        StoreError: the venue's file cannot be opened.
        InvalidDataError: the replayed dataset cannot be opened.
    """
    if not data_dir.exchange.exists():
        raise NotRunningError(f"{data_dir.exchange} does not exist, so no position is open")
    store = VenueStore(data_dir.exchange, on_changed_schema=warn)
    binding = load_binding(store)
    if binding is None:
        store.close()
        raise NotRunningError(f"{data_dir.exchange} was never traded on, so no position is open")
    replay = binding.replay
    # The settings may have changed since the data directory was begun, so its own market counts.
    settings = attrs.evolve(settings, demo=binding.demo(settings.demo))
    source = open_source(settings, binding, replay=replay, now_ms=clock.now_ms())
    keep_checkpoints(source, store)
    engine = Engine(
        source,
        VenueModels.from_settings(settings.exchange, settings.costs),
        store,
        start_ms=binding.genesis_ms,
        wallet_balance=settings.equity,
    )

    # A recorded market has no current prices, so positions close at its last simulated time.
    if replay is not None:
        clock = SimulatedClock(engine.market_ms, trio.current_time())
    try:
        yield SimulatedExchange(
            engine,
            PortChecks(
                clock=clock, permits=permits, halted=lambda: True, journal_proof=journal_proof
            ),
            attached_stop=settings.exchange.attached_stop,
        )
    finally:
        engine.close()
