"""``StrategyFile``, one of the operator's own strategies, and its loading.

These files run as code of the operator, with all rights of the process. Only verbs that need a
strategy load them: `kamou run`, `kamou backtest`, `kamou strategy list` and `check`, and the two
that check or show the configuration. What runs is what was hashed: a file is read once.
"""

from __future__ import annotations

import hashlib
import inspect
import keyword
import os
import re
import stat
import sys
import traceback
from collections.abc import Collection, Iterator
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_type_hints

import attrs

from kamou.errors import ConfigurationError, summarize_error
from kamou.settings.values import EXPECTED, expand_home

if TYPE_CHECKING:
    from kamou.core.strategies import StrategyFactory
    from kamou.core.strategies.base import Parameters

PATTERN = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")  # `__` separates a variable's parts
LETTERS_MAX = 60
# strategies.enabled and strategies.path are settings, and `all` is the sum over all strategies.
RESERVED = frozenset({"enabled", "path", "all"})
WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


@attrs.frozen(kw_only=True)
class StrategyFile:
    """A strategy outside of the package, which its file registers."""

    name: str
    path: Path
    sha256: str
    factory: StrategyFactory = attrs.field(eq=False, repr=False)

    @property
    def parameter_class(self) -> type[Parameters] | None:
        """The class of its parameters; None without parameters."""
        return cast("type[Parameters] | None", getattr(self.factory, "parameter_class", None))


def find_name_problem(name: str, taken: Collection[str] = ()) -> str:
    """Return why a strategy cannot have this name; empty if it can.

    Args:
        name: name of the file, without its suffix.
        taken: names of the strategies of the package.
    """
    if not PATTERN.fullmatch(name) or keyword.iskeyword(name) or len(name) > LETTERS_MAX:
        return (
            "is no name of a strategy: use lower-case letters, digits and single underscores, a"
            f" letter first, at most {LETTERS_MAX} characters and no Python keyword, such as"
            " breakout_20"
        )
    if name in RESERVED:
        return "is a reserved name; choose another"
    if name in taken:
        return "is the name of a strategy of Kamou; choose another"
    return ""


def load_folder(folder: str, taken: Collection[str]) -> dict[str, StrategyFile]:
    """Return the strategies of a folder by name, in alphabetical order.

    Every ``NAME.py`` in the folder is a strategy, unless its name begins with an underscore.

    Args:
        folder: the value of ``strategies.path``.
        taken: names of the strategies of the package.

    Raises:
        ConfigurationError: the folder does not exist, or another user owns it or may write it; or
            files cannot be used: one line for each.
    """
    directory = expand_home(folder)
    if directory is None or not directory.is_dir():
        raise ConfigurationError(
            f"strategies.path: {folder} is no folder; create it, or correct the setting"
        )
    _check_owner(directory, "the folder of strategies")
    found: dict[str, StrategyFile] = {}
    problems: list[str] = []
    for path in sorted(directory.glob("*.py")):
        if path.name.startswith("_"):
            continue
        try:
            found[path.stem] = load_file(path, taken)
        except ConfigurationError as error:
            problems += map(str, error.args)
    if problems:
        raise ConfigurationError(*problems)
    return found


def load_file(path: Path, taken: Collection[str] = ()) -> StrategyFile:
    """Return the strategy of one file.

    Raises:
        ConfigurationError: the file's name is invalid; another user owns the file or may write it;
            it cannot be read or imported (the message has the line of a failed import); it has no
            callable ``strategy``; or its parameters cannot be settings.
    """
    if problem := find_name_problem(path.stem, taken):
        raise ConfigurationError(f"{path}: {path.stem!r} {problem}")
    _check_owner(path, "the strategy file")
    try:
        body = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from error
    sha256 = hashlib.sha256(body).hexdigest()
    factory = _import_factory(path, body, sha256)
    try:
        kind = getattr(factory, "parameter_class", None)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(
            f"{path}: reading the parameter_class fails: {summarize_error(error)}; let it be a"
            " class attribute"
        ) from error
    if kind is not None and (problems := list(_find_parameter_problems(kind))):
        raise ConfigurationError(*(f"{path}: {problem}" for problem in problems))
    return StrategyFile(name=path.stem, path=path, sha256=sha256, factory=factory)


def _check_owner(path: Path, what: str) -> None:
    """Check that this user or root owns the path and that no other user may write it.

    Raises:
        ConfigurationError: another user owns it or may write it, or it cannot be examined.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigurationError(
            f"{path}: cannot be read ({error.strerror}); check the path and its permissions"
        ) from error
    if found.st_mode & WRITABLE_BY_OTHERS:
        raise ConfigurationError(
            f"{path}: other users may write {what}, and Kamou would run what they write; run"
            f" chmod go-w {path}"
        )
    if found.st_uid not in (0, os.geteuid()):
        raise ConfigurationError(
            f"{path}: another user owns {what}, and Kamou would run what that user writes; use a"
            " copy of your own"
        )


def _import_factory(path: Path, body: bytes, sha256: str) -> StrategyFactory:
    """Run the file as a module and return its ``strategy``.

    A file that was run with the same path and bytes is not run again.

    Raises:
        ConfigurationError: the file raises an error, or has no callable ``strategy``.
    """
    place = hashlib.sha256(f"{path.absolute()}\0{sha256}".encode()).hexdigest()[:16]
    module_name = f"kamou_strategy_{path.stem}_{place}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = ModuleSpec(module_name, None, origin=str(path))
        spec.has_location = True
        module = module_from_spec(spec)
        sys.modules[module_name] = module  # attrs resolves the annotations of its classes by it
        try:
            exec(compile(body, str(path), "exec", dont_inherit=True), vars(module))
        except (Exception, SystemExit) as error:  # an exit would end Kamou as if all were well
            del sys.modules[module_name]
            raise ConfigurationError(
                f"{path}:{_find_line(path, error)}: cannot be imported: {summarize_error(error)};"
                " correct the file, or move it out of the folder"
            ) from error
    factory = getattr(module, "strategy", None)
    if not callable(factory):
        raise ConfigurationError(
            f"{path}: has no callable `strategy`; end it with a line such as strategy = Breakout"
        )
    return cast("StrategyFactory", factory)


def _find_parameter_problems(kind: object) -> Iterator[str]:
    """Yield why a file's ``parameter_class`` cannot be read as settings."""
    # Imported here because the strategies import numpy, which many verbs do not need.
    from kamou.core.strategies.base import DECLARED, Parameters

    if not isinstance(kind, type) or not issubclass(kind, Parameters):
        yield f"parameter_class {kind!r} is no class that inherits from Parameters; let it inherit"
        return
    if inspect.get_annotations(kind) and "__attrs_attrs__" not in vars(kind):
        yield f"{kind.__name__} is no attrs class; write @attrs.frozen(kw_only=True) above it"
        return
    try:
        hints = get_type_hints(kind)
    except Exception as error:  # an annotation is the author's code
        yield f"the types of {kind.__name__} cannot be read: {summarize_error(error)}; correct them"
        return
    for field in attrs.fields(kind):
        name = f"{kind.__name__}.{field.name}"
        hint = hints.get(field.name)
        if DECLARED not in field.metadata:
            yield f"{name} is not declared; write {field.name}: int = parameter(default, about)"
        elif hint not in EXPECTED:
            yield (
                f"{name} has the type {_name_type(hint)}; a setting is one of"
                f" {', '.join(_name_type(each) for each in EXPECTED)}"
            )


def _name_type(kind: object) -> str:
    return kind.__name__ if type(kind) is type else str(kind)


def _find_line(path: Path, error: BaseException) -> int:
    """Return the line of the file at which its import failed; 1 if it is unknown."""
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return error.lineno or 1
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno or 1 for frame in frames if frame.filename == str(path)]
    return lines[-1] if lines else 1
