"""Storage of a generated market's states, and the market's run to a day.

The states are in the venue's file. With them a restart need not generate every past day again.
``StoredStates`` reads and queues the rows. A row is used only if the same code wrote it for the
same market (``made_by``) and its hash is right. Any other row counts as absent, and the days are
generated again from an earlier state. No price depends on the rows: without them the market is the
same, bit for bit.
"""

from __future__ import annotations

import hashlib
import inspect
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

import attrs
import numpy as np

from kamou.data_directory.folder import MEMORY
from kamou.messages.codec import decode, encode
from kamou.venue.market import edges, generated_day, planting, universe
from kamou.venue.market.generated_day import MarketState
from kamou.venue.market.generator import GENERATOR_VERSION, GeneratedMarket
from kamou.venue.market.market import MarketSource
from kamou.venue.store import StateRow, VenueStore

MADE_BY = (generated_day, edges, planting, universe)
"""Modules whose code makes a state. A state made by other code is not used."""

CHECKPOINT_TIMEOUT_S = 1.0  # of a read; generating the days again takes about as long

_ROWS = (
    "SELECT day, version, made_by, state, state_hash FROM generator_state"
    " WHERE version = ? AND made_by = ? AND day <= ? ORDER BY day DESC"
)


def keep_checkpoints(source: MarketSource, store: VenueStore) -> None:
    """Make a generated market store its states in ``store`` and start from them.

    A recorded market has no states, and a venue in memory stores none.
    """
    if isinstance(source, GeneratedMarket) and store.path != MEMORY:
        source.use_keeper(StoredStates(source, store))


def run_market_to(source: MarketSource, to_ms: int, stop_requested: Callable[[], bool]) -> None:
    """Run a generated market to the day of ``to_ms``.

    The run ends early if ``stop_requested()`` is True before a day. A recorded market needs no run.
    """
    if isinstance(source, GeneratedMarket):
        source.run_to(to_ms, stop_requested)


class StoredStates:
    """A ``StateKeeper`` that stores the states in one venue's file.

    It reads rows with a connection of its own, and the store writes queued rows with its next
    changes. So any thread may call ``newest`` and ``keep``.
    """

    def __init__(self, market: GeneratedMarket, store: VenueStore) -> None:
        self._store = store
        self._made_by = market_digest(market)
        self._like = market.first_state

    def newest(self, day: int) -> tuple[int, MarketState] | None:
        """Return (day, state) of a valid state at or before ``day``; None without one.

        It is the newest queued state if there is a valid one, otherwise the newest valid stored
        state. If the file cannot be read, it is the queued state or None.
        """
        waiting = [row for row in self._store.unstored_states() if row[0] <= day]
        newest = max(waiting, key=lambda row: row[0], default=None)
        try:
            with closing(self._open_reader()) as reader:
                rows = reader.execute(_ROWS, (GENERATOR_VERSION, self._made_by, day))
                return self._first_valid(rows if newest is None else (newest, *rows))
        except sqlite3.Error:
            return self._first_valid(() if newest is None else (newest,))

    def keep(self, day: int, state: MarketState) -> None:
        """Store the state with the venue's next ``save`` or ``touch``."""
        body = encode(state)
        state_hash = _state_hash(day, self._made_by, body)
        self._store.queue_state((day, GENERATOR_VERSION, self._made_by, body, state_hash))

    def _open_reader(self) -> sqlite3.Connection:
        uri = Path(self._store.path).resolve().as_uri() + "?mode=ro"
        return sqlite3.connect(uri, uri=True, timeout=CHECKPOINT_TIMEOUT_S)

    def _first_valid(self, rows: Iterable[StateRow]) -> tuple[int, MarketState] | None:
        """Return the first state whose row is valid, with its day."""
        for day, _, made_by, body, state_hash in rows:
            if not isinstance(body, bytes) or _state_hash(day, made_by, body) != state_hash:
                continue
            with suppress(ValueError):  # the hash is right, but the body cannot be decoded
                state = decode(MarketState, body)
                if _has_shape_of(state, self._like):
                    return day, state
        return None


@cache
def code_digest() -> str:
    """Return the SHA-256 (hex) of the generator's code and numpy's version.

    The code is read once, because an upgrade may replace the files while the process runs.
    """
    digest = hashlib.sha256(np.__version__.encode())
    for module in MADE_BY:
        digest.update(inspect.getsource(module).encode())
    return digest.hexdigest()


def market_digest(market: GeneratedMarket) -> str:
    """Return the SHA-256 (hex) of everything that decides a generated market's prices."""
    choices = (GENERATOR_VERSION, market.seed, market.first_ms, len(market.symbols), market.step_ms)
    digest = hashlib.sha256(repr(choices).encode())
    for part in (encode(market.universe_settings), encode(market.paths), code_digest().encode()):
        digest.update(part)
    return digest.hexdigest()


def _state_hash(day: int, made_by: str, body: bytes) -> str:
    return hashlib.sha256(f"{day}:{made_by}:".encode() + body).hexdigest()


def _has_shape_of(state: MarketState, like: MarketState) -> bool:
    """Return True if every array has the type and length of this market's states."""
    for field in attrs.fields(MarketState):
        found, expected = getattr(state, field.name), getattr(like, field.name)
        if isinstance(expected, np.ndarray) and (
            found.dtype != expected.dtype or found.shape != expected.shape
        ):
            return False
    return True
