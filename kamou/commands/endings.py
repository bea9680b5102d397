"""How a verb ends that could not do what it was asked: lines, an exit code, a JSON document."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Any

import attrs
import click

from kamou.errors import KamouError, plain

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
class Ending:
    """Why a verb ended: the messages, a line each, and what stands around them for a person."""

    messages: tuple[str, ...]
    exit_code: int
    usage: tuple[str, ...] = ()  # before the messages
    prefix: str = "error: "

    @property
    def lines(self) -> tuple[str, ...]:
        """What a person reads on standard error."""
        first, *others = self.messages
        return (*self.usage, f"{self.prefix}{first}", *others)

    @property
    def document(self) -> dict[str, Any]:
        """What a program reads on standard output."""
        return {"error": "\n".join(self.messages), "exit_code": self.exit_code}


def ending(error: BaseException) -> Ending | None:
    """Why a verb ended; None for a defect, which keeps its traceback."""
    found = plain(error)
    if isinstance(found, KamouError):
        return Ending(tuple(map(str, found.args)) or (type(found).__name__,), found.exit_code)
    if isinstance(found, click.ClickException):
        return Ending((found.format_message(),), found.exit_code, _usage(found), "Error: ")
    if isinstance(found, click.Abort | KeyboardInterrupt):
        return Ending(("interrupted",), EXIT_INTERRUPTED, prefix="")
    if isinstance(found, OSError) and found.filename is not None and found.errno in REMEDIES:
        return Ending((f"{found.filename}: {found.strerror}; {REMEDIES[found.errno]}",), 1)
    return None


def defect(error: BaseException) -> Ending:
    """What a program is told of a defect; a person is shown its traceback."""
    return Ending((f"a defect of Kamou: {error!r}",), 1)


def _usage(error: click.ClickException) -> tuple[str, ...]:
    """What click shows before a wrong usage."""
    if not isinstance(error, click.UsageError) or error.ctx is None:
        return ()
    help_ = f"Try '{error.ctx.command_path} --help' for help."
    return (*error.ctx.get_usage().splitlines(), help_)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether the words ask for JSON. They may be wrong otherwise, so no parser is asked."""
    return any(word == "--json" or word.startswith("--json=") for word in arguments)
