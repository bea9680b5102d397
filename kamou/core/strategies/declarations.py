"""The declarations of a strategy, and the checks of their values."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Iterator, Mapping

from kamou.core.codes import Abstain
from kamou.core.strategies.base import ENTRY_REST_MAX_MS, Requirement, Strategy
from kamou.errors import ConfigurationError, summarize_error

LOOKBACK_MIN = 1  # in bars: a strategy may read the newest bar only


def find_invalid_declarations(name: str, strategy: Strategy, period_ms: int) -> Iterator[str]:
    """Yield each missing or invalid declaration, as ``score_min 3.0; expected ...``.

    Args:
        name: name of the strategy's file.
        strategy: the strategy, as its factory made it.
        period_ms: length of the bars.

    Raises:
        ConfigurationError: a declaration raises an error.
    """
    read: dict[str, object] = {}
    for declared, wanted, is_valid in DECLARATIONS:
        if not _is_declared(strategy, declared):
            if declared in OPTIONAL:
                continue
            yield f"no {declared}; expected {wanted}"
            continue
        try:
            value = getattr(strategy, declared)
            if declared in OF_PERIOD:
                value = value(period_ms)
        except (Exception, SystemExit) as error:
            raise ConfigurationError(
                f"the strategy {name} raises when its {declared} is read: {summarize_error(error)},"
                f" at {_find_place(strategy, error)}; correct it"
            ) from error
        if not is_valid(value):
            yield f"{declared} {value!r}; expected {wanted}"
        read[declared] = value
    if read.get("name", name) != name:
        yield f"the name {read['name']!r}; expected {name!r}, the name of its file"
    lookback, warmup = read.get("lookback_bars"), read.get("warmup_bars")
    if isinstance(lookback, int) and isinstance(warmup, int) and warmup < lookback:
        yield f"warmup_bars {warmup}; expected at least lookback_bars, which are {lookback}"


def _is_declared(strategy: Strategy, declared: str) -> bool:
    """Return True if the strategy or its class has the attribute ``declared``.

    Also True if the class has a ``__getattr__``, which may return it.
    """
    kind = type(strategy)
    of_instance = declared in getattr(strategy, "__dict__", ())
    return of_instance or hasattr(kind, declared) or hasattr(kind, "__getattr__")


def _find_place(strategy: Strategy, error: BaseException) -> str:
    """Return file and line of the error's deepest frame in the strategy's file.

    Without such a frame it is the deepest frame of all; without any frame, the strategy's file.
    """
    own = getattr(sys.modules.get(type(strategy).__module__), "__file__", None)
    frames = traceback.extract_tb(error.__traceback__)[1:]  # the first one is Kamou's
    for frame in [each for each in frames if each.filename == own][-1:] or frames[-1:]:
        return f"{frame.filename}:{frame.lineno}"
    return str(own)


def _is_count(least: int) -> Callable[[object], bool]:
    return lambda value: type(value) is int and value >= least


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and 0 <= value < 1


def _are_proxies(value: object) -> bool:
    if not isinstance(value, tuple) or value[:1] != ("",):
        return False
    return all(isinstance(each, str) for each in value)


def _are_indicators(value: object) -> bool:
    return isinstance(value, tuple) and all(callable(getattr(v, "start", None)) for v in value)


def _are_requirements(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(code, Abstain) and isinstance(each, Requirement) for code, each in value.items()
    )


def _is_rest(value: object) -> bool:
    return _is_count(0)(value) and isinstance(value, int) and value <= ENTRY_REST_MAX_MS


OPTIONAL = frozenset(
    {
        "entry_rest_ms",
        "flow_windows",
        "funding_settlements",
        "premium_hours",
        "ratio_hours",
        "reads_market",
    }
)
OF_PERIOD = ("hold_ms", "lookback_bars", "warmup_bars")  # methods that take the length of the bars

# declaration, expected values, check
DECLARATIONS: tuple[tuple[str, str, Callable[[object], bool]], ...] = (
    ("name", "the name of its file", lambda value: isinstance(value, str)),
    ("cross_sectional", "True or False", lambda value: isinstance(value, bool)),
    ("score_min", "a number from 0 to below 1", _is_share),
    ("proxies", "a tuple of texts whose first is empty", _are_proxies),
    ("indicators", "a tuple of indicators", _are_indicators),
    ("requirements", "a mapping from Abstain to Requirement", _are_requirements),
    ("open_interest_span_ms", "a whole number of ms, at least 0", _is_count(0)),
    ("funding_settlements", "a whole number of settlements, at least 0", _is_count(0)),
    ("flow_windows", "a whole number of windows, at least 0", _is_count(0)),
    ("ratio_hours", "a whole number of hours, at least 0", _is_count(0)),
    ("premium_hours", "a whole number of hours, at least 0", _is_count(0)),
    ("entry_rest_ms", f"a whole number of ms from 0 to {ENTRY_REST_MAX_MS}", _is_rest),
    ("reads_market", "True or False", lambda value: isinstance(value, bool)),
    ("hold_ms", "a whole number of ms, at least 1", _is_count(1)),
    ("lookback_bars", "a whole number of bars, at least 1", _is_count(LOOKBACK_MIN)),
    ("warmup_bars", "a whole number of bars, at least 1", _is_count(1)),
    ("evaluate", "a method that returns StrategyScores", callable),
)
