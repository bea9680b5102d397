"""Mutants in the supervision of the site's process and in its journalled events."""

from __future__ import annotations

from functools import partial

from kamou.venue.violations import HardRule
from tests.simulation.mutants import Mutant

HEALTH = "kamou/site/health.py"
defect = partial(Mutant, notices=(HardRule.SITE,), faults="site_trouble")

SITE = (
    defect(
        name="every failure of the site is journalled again",
        file=HEALTH,
        old="        if self._recorded_ms is None:  # an",
        new="        if True:  # an",
    ),
    defect(
        name="a recovery of the site is journalled without its failure",
        file=HEALTH,
        old="                    failed_at_ms=self._recorded_ms,\n",
        new="                    failed_at_ms=now_ms,\n",
    ),
    defect(
        name="a site that hangs is not replaced",
        file="kamou/site/process_supervision.py",
        old="            if silent_s >= limits.silence_max_s:\n",
        new="            if silent_s >= limits.silence_max_s * 10_000:\n",
    ),
)
