"""The scripted strategy with entries that rest."""

from __future__ import annotations

from typing import ClassVar

from tests.actors import scripted_market
from tests.actors.strategy_files.scripted import Scripted


class Resting(Scripted):
    name: ClassVar[str] = "resting"
    entry_rest_ms: ClassVar[int] = scripted_market.REST_MS


strategy = Resting
