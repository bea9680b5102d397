"""Settings of the strategies: the enabled ones, their folder and their parameters."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping

import attrs

from kamou.errors import ConfigurationError, summarize_error
from kamou.settings.strategy_files import StrategyFile

# Strategies are imported in functions because they import numpy, which many verbs do not need.
NOT_A_SETTING = "not a setting"  # key in the metadata of a field


def _add_defaults(given: Mapping[str, attrs.AttrsInstance]) -> Mapping[str, attrs.AttrsInstance]:
    return {name: kind() for name, kind in strategy_parameter_classes().items()} | dict(given)


@attrs.frozen(kw_only=True)
class StrategySettings:
    """Enabled strategies, the operator's folder, and every strategy's parameters.

    Parameters that are not given have the defaults of the strategy's module.
    """

    enabled: tuple[str, ...] = (
        "order_flow",
        "funding_fade",
        "ratio_fade",
        "mean_reversion",
        "macro",
        "oi_momentum",
    )
    path: str = ""  # folder of the operator's own strategies; empty: none
    # By strategy name. The settings' keys are strategies.NAME.PARAMETER.
    parameters: Mapping[str, attrs.AttrsInstance] = attrs.field(
        factory=dict, converter=_add_defaults, hash=False
    )
    # The strategies in ``path`` by name; empty without a folder, or if the verb runs no file.
    files: Mapping[str, StrategyFile] = attrs.field(
        factory=dict, hash=False, metadata={NOT_A_SETTING: True}
    )

    @property
    def enabled_hashes(self) -> dict[str, str]:
        """SHA-256, in hex, of the file of each enabled strategy in ``files``, by name."""
        return {name: self.files[name].sha256 for name in self.enabled if name in self.files}

    @property
    def parameter_types(self) -> dict[str, type[attrs.AttrsInstance]]:
        """The class of each strategy's parameters, by the strategy's name."""
        return {name: type(each) for name, each in self.parameters.items()}


ParameterTypes = Mapping[str, type[attrs.AttrsInstance]]


def strategy_parameter_classes(files: Mapping[str, StrategyFile] | None = None) -> ParameterTypes:
    """Return the class of each strategy's parameters, by the strategy's name.

    Strategies without parameters are left out.

    Args:
        files: strategies outside of the package, by name; None: none.
    """
    from kamou.core import strategies

    found: dict[str, type[attrs.AttrsInstance]] = dict(strategies.parameter_classes())
    for name, file in (files or {}).items():
        if file.parameter_class is not None:
            found[name] = file.parameter_class
    return found


def list_builtin_strategies() -> tuple[str, ...]:
    """Return the names of the strategies of the package."""
    from kamou.core import strategies

    return strategies.list_names()


def find_contradictions(settings: StrategySettings) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each failed check between a strategy's parameters: keys and condition.

    Raises:
        ConfigurationError: the ``contradictions`` of an operator's strategy raises an error, or
            returns something else.
    """
    from kamou.core.strategies.base import Parameters

    for name, parameters in settings.parameters.items():
        assert isinstance(parameters, Parameters)
        try:
            found = [(tuple(fields), str(what)) for fields, what in parameters.contradictions()]
        except (Exception, SystemExit) as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            raise ConfigurationError(
                f"the strategy {name} fails when its contradictions() is called:"
                f" {summarize_error(error)}, at {frame.filename}:{frame.lineno}; it must return a"
                " tuple of pairs of field names and a condition"
            ) from error
        for fields, what in found:
            yield tuple(f"strategies.{name}.{field}" for field in fields), what
