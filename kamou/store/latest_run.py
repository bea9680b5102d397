"""The newest run of a journal: how it was started, from its own event."""

from __future__ import annotations

import json
import sqlite3

import attrs

from kamou.core.events import RunStarted
from kamou.messages.codec import decode


@attrs.frozen(kw_only=True)
class LatestRun:
    """What the newest run says of the whole record. One data folder has one mode for ever."""

    generation: int
    mode: str  # demo | paper | live
    currency: str
    gate: str  # label of the gate: "assumed" where every strategy was granted size


def latest_run(reader: sqlite3.Connection) -> LatestRun | None:
    """Return the newest run; None before the first one. One look-up by index.

    Raises:
        ValueError: its event is not of this version.
    """
    row = reader.execute(
        "SELECT body FROM event WHERE kind = 'run_started' AND key IS NULL"
        " ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    run = decode(RunStarted, row[0])
    return LatestRun(
        generation=run.generation,
        mode=run.mode,
        currency=str(json.loads(run.config_json).get("currency", DEFAULT_CURRENCY)),
        gate=run.gate,
    )


DEFAULT_CURRENCY = "USDT"  # of a journal whose configuration names none
