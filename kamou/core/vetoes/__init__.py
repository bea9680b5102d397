"""Vetoes (T2), one file each. A file is registered by its function ``veto``."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from typing import cast

from kamou.core.model import Candidate, Denial, Side
from kamou.core.vetoes.base import VetoContext, VetoRule
from kamou.errors import ConfigurationError

VETO_BASE_MODULE = "base"  # types of this package, not a veto


def discover_vetoes() -> dict[str, VetoRule]:
    """Return every veto by file name, in alphabetical order.

    Raises:
        ConfigurationError: a file has no function ``veto``, or its import fails.
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
    """Ask every veto and return every denial; empty if the candidate passes."""
    answers = (veto(candidate, context) for veto in vetoes.values())
    return tuple(answer for answer in answers if answer is not None)


def conflicting_symbols(candidates: Iterable[Candidate]) -> frozenset[str]:
    """Return the symbols that candidates of one cycle want both long and short."""
    sides: dict[str, Side] = {}
    return frozenset(
        c.symbol for c in candidates if sides.setdefault(c.symbol, c.side) is not c.side
    )
