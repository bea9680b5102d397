"""Light stand-ins for ccxt's packages, which load one exchange at a time.

The packages ``ccxt``, ``ccxt.async_support`` and ``ccxt.pro`` import all exchanges, which costs
about 0.5 s and 90 MiB. A stand-in has the same names and finds them on first use (PEP 562).
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

ROOT = "ccxt"
PACKAGES = (ROOT, f"{ROOT}.async_support", f"{ROOT}.pro")
# Modules of ccxt that define what its packages pass on, besides the exchanges.
SHARED = ("base.errors", "base.decimal_to_precision", "base.precise")


class LazyPackage(ModuleType):
    """A package whose exchanges are imported when an attribute asks for them."""

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute; a module of an exchange stands for the class of its name.

        The import system sets a submodule on its package after loading it. In ccxt's packages the
        name of an exchange is its class.
        """
        if isinstance(value, ModuleType):
            value = vars(value).get(name, value)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> object:
        """Find what the package does not have yet, or raise AttributeError."""
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "Exchange":
            base = "base.exchange" if self.__name__ == ROOT else "async_support.base.exchange"
            found: object = importlib.import_module(f"{ROOT}.{base}").Exchange
        else:
            found = _find_shared(name, self._import_exchange)
        self.__setattr__(name, found)
        return found

    def _import_exchange(self, name: str) -> object:
        if importlib.util.find_spec(f"{self.__name__}.{name}") is None:
            raise AttributeError(f"{self.__name__} has no exchange or name {name!r}")
        module = importlib.import_module(f"{self.__name__}.{name}")
        return vars(module).get(name, module)


def _find_shared(name: str, find_other: Callable[[str], object]) -> object:
    """Return what a shared module has under a name, or what the function finds."""
    for module in SHARED:
        names = vars(importlib.import_module(f"{ROOT}.{module}"))
        if name in names:
            found: object = names[name]
            return found
    return find_other(name)


def install_packages() -> None:
    """Put the stand-ins into ``sys.modules``, unless ccxt is already imported.

    Code that imported ccxt earlier keeps its own packages; everything works with them, too.

    Raises:
        ModuleNotFoundError: ccxt is not installed.
    """
    if ROOT in sys.modules:
        return
    spec = importlib.util.find_spec(ROOT)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{ROOT} is not installed; run `make test` or pip install kamou")
    folder = Path(spec.origin).parent
    for name in PACKAGES:
        place = folder.joinpath(*name.split(".")[1:])
        package = LazyPackage(name)
        package.__path__ = [str(place)]
        package.__file__ = str(place / "__init__.py")
        package.__package__ = name
        package.__spec__ = ModuleSpec(name, None, origin=package.__file__, is_package=True)
        package.__spec__.submodule_search_locations = package.__path__
        sys.modules[name] = package
        parent, _, child = name.rpartition(".")
        if parent:
            ModuleType.__setattr__(sys.modules[parent], child, package)
    vars(sys.modules[ROOT])["__version__"] = version(ROOT)


def load_exchange_class(name: str) -> type:
    """Return ccxt.pro's class of an exchange, such as ``kucoinfutures``."""
    found = getattr(importlib.import_module(f"{ROOT}.pro"), name)
    assert isinstance(found, type)
    return found
