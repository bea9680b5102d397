"""A clock that is set back while a position stands without a stop."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import attrs
import pytest
import stage as stage_module
import trio
from stage import SETTINGS, Stage, at, perform
from trouble import Trouble, TroubledExchange

from kamou.clock import SimulatedClock
from kamou.core.events import (
    IntentRecorded,
)
from kamou.core.model import (
    Intent,
    Leg,
    VenueOrder,
)
from kamou.errors import RejectedError

D = Decimal
HELD = "DDD"  # the symbol whose position the screenplay holds from minute two on
FLAT = "HHH"  # nothing is held in it before minute eleven
SLOW_CYCLES = attrs.evolve(SETTINGS, cycle=attrs.evolve(SETTINGS.cycle, period_s=120))
NO_ATTACHED_STOPS = attrs.evolve(
    SETTINGS, exchange=attrs.evolve(SETTINGS.exchange, attached_stop=False)
)


# --- time ----------------------------------------------------------------------------


class NoNewStops(TroubledExchange):
    """A venue that takes attached stops and refuses separate ones."""

    async def _place(self, intent: Intent, attached: tuple[Intent, ...]) -> VenueOrder:
        if intent.symbol == HELD and intent.leg is Leg.STOP:
            raise RejectedError("REFUSED", "no separate stops today")
        return await super()._place(intent, attached)


BACK_MS = 8_000


class SetBack(SimulatedClock):
    """Our clock, set back by 8 s while the order manager waits for its next look."""

    since_ms = at(2.06) + 5_400

    def now_ms(self) -> int:
        true_ms = super().now_ms()
        return true_ms - (BACK_MS if true_ms >= self.since_ms else 0)

    async def sleep_until(self, at_ms: int) -> None:
        await super().sleep_until(at_ms)
        if (left_ms := at_ms - self.now_ms()) > 0:  # it was set back meanwhile
            await super().sleep_until(at_ms + left_ms)


class SteadyVenue(NoNewStops):
    """Its own clock goes on."""

    def _theirs_ms(self) -> int:
        clock = self._clock
        assert isinstance(clock, SimulatedClock)
        return SimulatedClock(start_ms=clock.start_ms, origin_s=clock.origin_s).now_ms()

    async def _now(self) -> int:
        await trio.lowlevel.checkpoint()
        self._advance(self._theirs_ms())
        return self._theirs_ms()

    async def _travel(self) -> None:
        await trio.sleep(0.15)
        self._advance(self._theirs_ms())

    async def step(self, to_ms: int) -> None:
        await self._now()


async def lose_the_stop(stage: Stage) -> None:
    await stage.until(2.06)
    confirmed = stage.book().trades[HELD].confirmed
    assert confirmed is not None
    stage.session.engine.cancel(confirmed.client_id)
    stage.tree.port._forward(stage.session.engine.take_events())


def test_the_deadline_of_a_stop_does_not_wait_for_a_clock_that_was_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seed 295: the next look was waited for by our clock, which had been set back meanwhile."""
    monkeypatch.setattr(stage_module, "SimulatedClock", SetBack)
    ended = perform(
        adapter=partial(SteadyVenue, trouble=Trouble()),
        direct=lose_the_stop,
        settings=SLOW_CYCLES,
        minutes=4,
    )
    closes = {
        e.intent.client_id
        for e in ended.of(IntentRecorded)
        if e.intent.symbol == HELD and e.intent.leg is Leg.CLOSE
    }
    assert closes
    (closed, *_) = [f for f in ended.fills if f.client_id in closes]
    assert closed.at_ms - at(2.06) < 10_000
    assert [v for v in ended.checked.violations if v.rule == "UNPROTECTED"] == []
