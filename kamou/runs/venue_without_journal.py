"""Opens the embedded exchange without a journal: what the kill switch stands on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import attrs
import trio

from kamou.clock import Clock, SimulatedClock
from kamou.data_directory.folder import Announce, DataDirectory
from kamou.errors import NotRunningError
from kamou.exchange.base import ExchangePort, JournalProof, PermitStore
from kamou.exchange.embedded import SimulatedExchange
from kamou.runs.demo import open_source, stored_track
from kamou.settings.config import Settings
from kamou.venue.checkpoints import keep_checkpoints
from kamou.venue.engine import Engine
from kamou.venue.models import VenueModels
from kamou.venue.store import VenueStore


@contextlib.contextmanager
def open_venue_without_journal(
    settings: Settings,
    folder: DataDirectory,
    clock: Clock,
    *,
    permits: PermitStore,
    journal_proof: JournalProof,
    warn: Announce,
) -> Iterator[ExchangePort]:
    """Open the port over the folder's venue, with the halt latch taken as set.

    A run may have the same venue open: two processes share its file.

    Args:
        settings: the market that the track was begun on comes before what they say of it.
        folder: whose venue it is.
        clock: the time now; of a recorded market the time is where its prices end.
        permits: what an entry would need.
        journal_proof: is told of each proof that an order only reduces.
        warn: is told if the schema of the venue's file was changed.

    Raises:
        NotRunningError: nothing was ever traded in this folder.
        StoreError: the venue's file cannot be opened.
    """
    if not folder.exchange.exists():
        raise NotRunningError(f"there is no exchange in {folder.path}: nothing is open")
    store = VenueStore(folder.exchange, on_changed_schema=warn)
    track = stored_track(store)
    if track is None:
        store.close()
        raise NotRunningError(f"the exchange in {folder.path} was never traded on: nothing is open")
    replay = track.replay
    # The market that it was begun on, whatever a configuration says or fails to say.
    settings = attrs.evolve(settings, demo=track.demo(settings.demo))
    source = open_source(settings, track, replay=replay, now_ms=clock.now_ms())
    keep_checkpoints(source, store)
    engine = Engine(
        source,
        VenueModels.from_settings(settings.exchange, settings.costs),
        store,
        start_ms=track.genesis_ms,
        wallet_balance=settings.equity,
    )

    # A recorded market has no prices now: its positions are closed where its time stands.
    if replay is not None:
        clock = SimulatedClock(engine.market_ms, trio.current_time())
    try:
        yield SimulatedExchange(
            engine,
            clock=clock,
            permits=permits,
            halted=lambda: True,
            journal_proof=journal_proof,
            attached_stop=settings.exchange.attached_stop,
        )
    finally:
        engine.close()
