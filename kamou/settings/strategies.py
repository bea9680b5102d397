"""The strategies' settings: which trade, and the parameters that each one's file declares."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

# The strategies' files are imported in functions: they bring numpy, which many a verb does without.


def _with_defaults(given: Mapping[str, attrs.AttrsInstance]) -> Mapping[str, attrs.AttrsInstance]:
    return {name: kind() for name, kind in strategy_parameter_classes().items()} | dict(given)


@attrs.frozen(kw_only=True)
class StrategySettings:
    """Parameters that are not given are those that the strategy's file declares."""

    enabled: tuple[str, ...] = ("mean_reversion", "oi_momentum")
    # By strategy. The settings' keys are strategies.NAME.PARAMETER.
    parameters: Mapping[str, attrs.AttrsInstance] = attrs.field(
        factory=dict, converter=_with_defaults, hash=False
    )


def strategy_parameter_classes() -> Mapping[str, type[attrs.AttrsInstance]]:
    """The class of each strategy's parameters, by the strategy's name."""
    from kamou.core import strategies

    return strategies.parameter_classes()


def find_contradictions(settings: StrategySettings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Parameters of one strategy that are wrong together: their keys, and what does not hold."""
    from kamou.core.strategies.base import Parameters

    for name, parameters in settings.parameters.items():
        assert isinstance(parameters, Parameters)
        for fields, what in parameters.contradictions():
            yield tuple(f"strategies.{name}.{field}" for field in fields), what
