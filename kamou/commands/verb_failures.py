"""How a verb ends that could not do what it was asked: lines, an exit code, a JSON document."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any

import attrs
import click

from kamou.errors import KamouError, innermost_error

EXIT_INTERRUPTED = 130  # the shell's own convention: 128 + SIGINT

AS_OWNER = "run this as the user who runs the system"
REMEDIES = {
    errno.ENOENT: "make the folder first, or name another path",
    errno.ENOTDIR: "name a path in a folder",
    errno.EISDIR: "name a file",
    errno.EACCES: AS_OWNER,
    errno.EPERM: AS_OWNER,
    errno.EROFS: "name a path that can be written",
    errno.ENOSPC: "free some space, then try again",
    errno.EDQUOT: "free some space, then try again",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


@attrs.frozen
class VerbFailure:
    """Why a verb ended: the messages, a line each, and what stands around them for a person."""

    messages: tuple[str, ...]
    exit_code: int
    prefix: str = "error: "
    hint: tuple[str, ...] = ()  # for a person, after the messages
    help_: tuple[str, ...] = ()  # for a person, instead of all else

    @property
    def lines(self) -> tuple[str, ...]:
        """What a person reads on standard error."""
        if self.help_:
            return self.help_
        first, *others = self.messages
        return (f"{self.prefix}{first}", *others, *self.hint)

    @property
    def document(self) -> dict[str, Any]:
        """What a program reads on standard output."""
        return {"error": "\n".join(self.messages), "exit_code": self.exit_code}


def failure_of(error: BaseException) -> VerbFailure | None:
    """Why a verb ended; None for a defect, which keeps its traceback."""
    found = innermost_error(error)
    if isinstance(found, KamouError):
        return VerbFailure(tuple(map(str, found.args)) or (type(found).__name__,), found.exit_code)
    if isinstance(found, click.ClickException):
        return _of_click(found)
    if isinstance(found, click.Abort | KeyboardInterrupt):
        return VerbFailure(("interrupted",), EXIT_INTERRUPTED, prefix="")
    if isinstance(found, OSError) and found.filename is not None and found.errno in REMEDIES:
        return VerbFailure((f"{found.filename}: {found.strerror}; {REMEDIES[found.errno]}",), 1)
    return None


def defect(error: BaseException) -> VerbFailure:
    """Return what a program reads of a defect; a person sees its traceback."""
    return VerbFailure((f"a defect of Kamou: {error!r}",), 1)


def _of_click(error: click.ClickException) -> VerbFailure:
    """One line for what was wrong with the words, and a hint; for a group alone, its help."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context is not None else "kamou"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        help_ = tuple(error.format_message().splitlines())
        words = f"no command was given; `{path} --help` lists them"
        return VerbFailure((words,), error.exit_code, help_=help_)
    words = " ".join(error.format_message().split())
    hint = (f"`{path} --help` says how it is used",) if isinstance(error, click.UsageError) else ()
    return VerbFailure((words,), error.exit_code, hint=hint)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the words ask for JSON. They may be wrong otherwise, so no parser is asked."""
    return any(word == "--json" or word.startswith("--json=") for word in arguments)
