"""Vetoes (T2), one file each: how they are found and applied to a candidate.

A file registers its veto by the function ``veto``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from typing import cast

from kamou.core.model import Candidate, Denial, Side
from kamou.core.vetoes.base import VetoContext, VetoRule
from kamou.errors import ConfigurationError

READ_REGIMES = frozenset({"regime", "velocity"})
"""Names of the vetoes that read regimes or their figures."""

ALWAYS_ASKED = ("shadow_open",)
"""Names of vetoes that no setting turns off: each candidate has one shadow trade through them."""

VETO_BASE_MODULE = "base"  # types of this package, not a veto


def list_vetoes() -> tuple[str, ...]:
    """Return the names of all vetoes' files, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    return tuple(name for name in names if name != VETO_BASE_MODULE)


def discover_vetoes(enabled: Iterable[str]) -> dict[str, VetoRule]:
    """Return the enabled vetoes and those of ``ALWAYS_ASKED``, in alphabetical order.

    Raises:
        ConfigurationError: a file has no function ``veto``, or its import fails.
    """
    found: dict[str, VetoRule] = {}
    chosen = frozenset((*enabled, *ALWAYS_ASKED))
    for name in (each for each in list_vetoes() if each in chosen):
        try:
            module = importlib.import_module(f"{__name__}.{name}")
            found[name] = cast(VetoRule, module.veto)
        except Exception as problem:
            raise ConfigurationError(
                f"the veto file core/vetoes/{name}.py cannot be loaded: {problem!r}; correct or"
                " remove this file"
            ) from problem
    return found


def apply_vetoes(
    candidate: Candidate, context: VetoContext, vetoes: Mapping[str, VetoRule]
) -> tuple[Denial, ...]:
    """Return the ``Denial`` of each veto that stops the candidate; empty if it passes."""
    answers = (veto(candidate, context) for veto in vetoes.values())
    return tuple(answer for answer in answers if answer is not None)


def find_conflicting_symbols(candidates: Iterable[Candidate]) -> frozenset[str]:
    """Return the symbols with both a long and a short candidate in one cycle."""
    sides: dict[str, Side] = {}
    return frozenset(
        c.symbol for c in candidates if sides.setdefault(c.symbol, c.side) is not c.side
    )
