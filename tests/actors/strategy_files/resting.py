"""The scripted strategy with entries that rest."""

from __future__ import annotations

from typing import ClassVar

from tests.actors.strategy_files.scripted import Scripted

REST_MS = 90_000


class Resting(Scripted):
    name: ClassVar[str] = "resting"
    entry_rest_ms: ClassVar[int] = REST_MS


strategy = Resting
