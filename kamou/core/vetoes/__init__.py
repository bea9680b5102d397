"""T2: vetoes, one file each. The file is the registration: it has a function ``veto``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from typing import cast

from kamou.core.model import Candidate, Denial, Side
from kamou.core.vetoes.base import VetoContext, VetoRule
from kamou.errors import ConfigurationError

VETO_BASE_MODULE = "base"  # the vocabulary of this package, not a veto


def discover_vetoes() -> dict[str, VetoRule]:
    """Every veto by file name, in alphabetical order.

    Raises:
        ConfigurationError: a file has no function ``veto``, or does not import.
    """
    found: dict[str, VetoRule] = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        if name == VETO_BASE_MODULE:
            continue
        try:
            module = importlib.import_module(f"{__name__}.{name}")
            found[name] = cast(VetoRule, module.veto)
        except Exception as problem:
            raise ConfigurationError(f"veto file {name}.py gives no veto: {problem!r}") from problem
    return found


def ask_all(
    candidate: Candidate, context: VetoContext, vetoes: Mapping[str, VetoRule]
) -> tuple[Denial, ...]:
    """Ask every veto and keep every denial; empty when the candidate is cleared."""
    answers = (veto(candidate, context) for veto in vetoes.values())
    return tuple(answer for answer in answers if answer is not None)


def conflicting_symbols(candidates: Iterable[Candidate]) -> frozenset[str]:
    """Symbols that one cycle's candidates want both long and short."""
    sides: dict[str, Side] = {}
    return frozenset(
        c.symbol for c in candidates if sides.setdefault(c.symbol, c.side) is not c.side
    )
