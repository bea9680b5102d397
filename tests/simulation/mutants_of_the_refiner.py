"""Mutants in the refiner: verdicts that do not hold, and money that is not counted."""

from __future__ import annotations

from functools import partial

from kamou.venue.violations import HardRule
from tests.simulation.mutants import Mutant

ACTOR = "kamou/actors/refiner.py"
BUDGET = "kamou/core/refining/budget.py"
CALLS = "kamou/actors/model_calls.py"
verdict = partial(Mutant, notices=(HardRule.VERDICT,), faults="refiner_trouble")
money = partial(Mutant, notices=(HardRule.BUDGET,), faults="refiner_trouble")

REFINER = (
    verdict(
        name="a refused candidate is traded",
        file=ACTOR,
        old="                    if refined.verdict is not RefinerVerdict.REFUSE\n",
        new="",
        also=(
            (
                ACTOR,
                "RefinedSignal(candidate=candidate, size_multiplier=refined.size_multiplier)",
                "RefinedSignal(candidate=candidate, size_multiplier=OFF.size_multiplier)",
            ),
        ),
    ),
    verdict(
        name="a shrunk candidate is traded at full size",
        file="kamou/actors/entries.py",
        old="            signal.size_multiplier,\n",
        new="            signal.size_multiplier ** 0,\n",
    ),
    money(
        name="the day's budget of the refiner is not checked",
        file=BUDGET,
        old="        if self.used_usd + amount_usd > self.limit_usd:\n",
        new="        if self.limit_usd < 0:\n",
    ),
    money(
        name="a settled call gives its whole reservation back",
        file=BUDGET,
        old="            self.used_usd += cost_usd - reserved_usd\n",
        new="            self.used_usd -= reserved_usd\n",
    ),
    money(
        name="a restart forgets what the refiner has spent",
        file=CALLS,
        old="self._budget.restore(*query_refiner_calls(self._journal.reader, now_ms), now_ms)",
        new="query_refiner_calls(self._journal.reader, now_ms)",
        faults="refiner_trouble,actor_crash,process_kill",
        seeds=20,
    ),
    money(
        name="a candidate without money for its call is asked about",
        file=CALLS,
        old="[q for q in questions if self._budget.reserve(q.reserved_usd, began_ms)]",
        new="[q for q in questions if self._budget.reserve(q.reserved_usd, began_ms) or True]",
    ),
)
