"""Settings of the strategies: which are enabled, and their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

# Strategies are imported in functions because they import numpy, which many verbs do not need.


def _add_defaults(given: Mapping[str, attrs.AttrsInstance]) -> Mapping[str, attrs.AttrsInstance]:
    return {name: kind() for name, kind in strategy_parameter_classes().items()} | dict(given)


@attrs.frozen(kw_only=True)
class StrategySettings:
    """Enabled strategies, and the parameters of every strategy.

    Parameters that are not given have the defaults of the strategy's module.
    """

    enabled: tuple[str, ...] = ("mean_reversion", "oi_momentum")
    # By strategy name. The settings' keys are strategies.NAME.PARAMETER.
    parameters: Mapping[str, attrs.AttrsInstance] = attrs.field(
        factory=dict, converter=_add_defaults, hash=False
    )


def strategy_parameter_classes() -> Mapping[str, type[attrs.AttrsInstance]]:
    """Return the class of each strategy's parameters, by the strategy's name."""
    from kamou.core import strategies

    return strategies.parameter_classes()


def find_contradictions(settings: StrategySettings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each failed check between parameters: keys and violated condition."""
    from kamou.core.strategies.base import Parameters

    for name, parameters in settings.parameters.items():
        assert isinstance(parameters, Parameters)
        for fields, what in parameters.contradictions():
            yield tuple(f"strategies.{name}.{field}" for field in fields), what
