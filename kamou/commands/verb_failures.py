"""Failures of verbs: printed lines, exit code and JSON document."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import TypedDict

import attrs
import click

from kamou.errors import KamouError, find_error_to_show

EXIT_INTERRUPTED = 130  # as in shells: 128 + SIGINT

AS_OWNER = "run this as a user with access, such as the user of the run"
REMEDIES = {
    errno.ENOENT: "name a path that exists, or create it first",
    errno.ENOTDIR: "name a path in a directory",
    errno.EISDIR: "name a file instead of a directory",
    errno.EACCES: AS_OWNER,
    errno.EPERM: AS_OWNER,
    errno.EROFS: "name a writable path",
    errno.ENOSPC: "free some space, then try again",
    errno.EDQUOT: "free some space, then try again",
    errno.ENAMETOOLONG: "name a shorter path",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


class FailureDocument(TypedDict):
    """A verb's failure for programs."""

    error: str  # the messages, one per line
    exit_code: int


@attrs.frozen
class VerbFailure:
    """The failure that ended a verb: messages, exit code and the lines to print."""

    messages: tuple[str, ...]
    exit_code: int
    prefix: str = "error: "
    hint: tuple[str, ...] = ()  # printed after the messages
    help_: tuple[str, ...] = ()  # printed instead of messages and hint

    @property
    def lines(self) -> tuple[str, ...]:
        """Lines for standard error."""
        if self.help_:
            return self.help_
        first, *others = self.messages
        return (f"{self.prefix}{first}", *others, *self.hint)

    @property
    def document(self) -> FailureDocument:
        """JSON document for standard output."""
        return {"error": "\n".join(self.messages), "exit_code": self.exit_code}


def describe_failure(error: BaseException) -> VerbFailure | None:
    """Return the failure for an error; None for a defect, whose traceback is printed."""
    found = find_error_to_show(error)
    if isinstance(found, KamouError):
        return VerbFailure(tuple(map(str, found.args)) or (type(found).__name__,), found.exit_code)
    if isinstance(found, click.ClickException):
        return _describe_click_error(found)
    if isinstance(found, click.Abort | KeyboardInterrupt):
        return VerbFailure(("interrupted",), EXIT_INTERRUPTED, prefix="")
    if isinstance(found, OSError) and found.filename is not None and found.errno in REMEDIES:
        return VerbFailure((f"{found.filename}: {found.strerror}; {REMEDIES[found.errno]}",), 1)
    return None


def describe_defect(error: BaseException) -> VerbFailure:
    """Return the failure for an error that is a defect, for the JSON document."""
    return VerbFailure((f"a defect of Kamou: {error!r}",), 1)


def _describe_click_error(error: click.ClickException) -> VerbFailure:
    """Return a usage error as one line and a hint, or the help of a group."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    path = context.command_path if context is not None else "kamou"
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        help_ = tuple(error.format_message().splitlines())
        words = f"no command was given; `{path} --help` lists the commands"
        return VerbFailure((words,), error.exit_code, help_=help_)
    words = " ".join(error.format_message().split())
    hint = (f"`{path} --help` shows the usage",) if isinstance(error, click.UsageError) else ()
    return VerbFailure((words,), error.exit_code, hint=hint)


def wants_json(arguments: Sequence[str]) -> bool:
    """Return True if the arguments have --json, even if they are invalid."""
    return any(word == "--json" or word.startswith("--json=") for word in arguments)
