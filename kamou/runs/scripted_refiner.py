"""The scripted refiner of the demo, which knows the generated market.

It gives `kamou refiner value` something to measure. Its verdicts have a small planted skill: in a
share of the candidates it looks at the price some hours later, which no refiner can do, and
otherwise it draws. It only advises, costs nothing and asks nobody; its answers are labeled with the
model ``LABEL``. The seed and the candidate's id decide every draw.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal

import attrs
import trio

from kamou.clock import next_ms
from kamou.core.book.refiner_events import ModelAnswer
from kamou.core.day import DAY_MS, HOUR_MS
from kamou.core.kinds import RefinerVerdict, RunMode
from kamou.core.model import Side
from kamou.core.refiner_codes import AnswerForm, RefinerMode, RefinerReason
from kamou.core.refining.calls import AskModel, Outcome, Question
from kamou.core.refining.responses import Completion
from kamou.settings.config import Settings
from kamou.settings.refiner import RefinerSettings
from kamou.venue.market.market import MadeInDays, MarketSource

LABEL = "scripted"  # the model's name in events, reports and pages
SKILL = 0.3  # share of candidates whose later price the script looks at
AHEAD_MS = 4 * HOUR_MS  # at most until the end of the UTC day, whose data are made already
AHEAD_MIN_MS = HOUR_MS // 2  # later in the day the script only draws
P_WIN_PCT = (40, 55)  # stated for a refused and for an approved candidate


def plan_script(settings: Settings, source: MarketSource) -> tuple[Settings, AskModel | None]:
    """Return the settings of the tree and its scripted refiner; None without one.

    A scripted refiner is only in a demo on the generated market, and not beside a model.
    """
    wanted = settings.mode is RunMode.DEMO and settings.demo.scripted_refiner
    if not wanted or settings.refiner.mode is not RefinerMode.OFF:
        return settings, None
    if not isinstance(source, MadeInDays):
        return settings, None
    refiner = RefinerSettings(
        mode=RefinerMode.ADVISORY,
        model=LABEL,
        input_usd_per_million=Decimal(0),
        output_usd_per_million=Decimal(0),
    )
    script = ScriptedRefiner(source=source, seed=settings.demo.seed)
    return attrs.evolve(settings, refiner=refiner), script.ask


@attrs.frozen(kw_only=True)
class ScriptedRefiner:
    """The script over one market."""

    source: MarketSource
    seed: int

    async def ask(self, question: Question) -> Outcome:
        """Return the script's answer about a candidate, at once."""
        await trio.lowlevel.checkpoint()
        expects_gain = self._expects_gain(question)
        answer = ModelAnswer(
            verdict=RefinerVerdict.APPROVE if expects_gain else RefinerVerdict.REFUSE,
            size_pct=100 if expects_gain else 0,
            p_win_pct=P_WIN_PCT[expects_gain],
            reason=RefinerReason.NO_OBJECTION if expects_gain else RefinerReason.EDGE_TOO_SMALL,
        )
        return Outcome(
            completion=Completion(answer=answer, model=LABEL, finish_reason="stop"),
            form=AnswerForm.JSON_SCHEMA,
        )

    def _expects_gain(self, question: Question) -> bool:
        draws = hashlib.sha256(f"{self.seed}.{question.signal_id}".encode()).digest()
        knows, coin = draws[0] / 256 < SKILL, draws[1] % 2 == 0
        closed_at_ms, _, rest = question.signal_id.partition(".")
        symbol = rest.partition(".")[2]
        at_ms = int(closed_at_ms)
        until_ms = min(at_ms + AHEAD_MS, next_ms(at_ms, DAY_MS) - 1)
        if not knows or until_ms - at_ms < AHEAD_MIN_MS:
            return coin
        column = self.source.symbols.index(symbol)
        move = self.source.prices(until_ms)[column] - self.source.prices(at_ms)[column]
        side = Side(json.loads(question.prompt.data)["direction"])
        return bool(move * side.sign > 0)
