"""How a verb ends that could not do what it was asked: its lines and its exit code."""

from __future__ import annotations

import errno

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


def ending(error: BaseException) -> tuple[list[str], int] | None:
    """The lines that say why a verb ended, and its exit code; None for an unforeseen error."""
    found = plain(error)
    if isinstance(found, KamouError):
        first, *others = map(str, found.args)
        return [f"error: {first}", *others], found.exit_code
    if isinstance(found, click.ClickException):
        return _misused(found), found.exit_code
    if isinstance(found, click.Abort | KeyboardInterrupt):
        return ["interrupted"], EXIT_INTERRUPTED
    if isinstance(found, OSError) and found.filename is not None and found.errno in REMEDIES:
        return [f"error: {found.filename}: {found.strerror}; {REMEDIES[found.errno]}"], 1
    return None


def _misused(error: click.ClickException) -> list[str]:
    """What click shows of a wrong usage."""
    lines: list[str] = []
    if isinstance(error, click.UsageError) and error.ctx is not None:
        lines += error.ctx.get_usage().splitlines()
        lines.append(f"Try '{error.ctx.command_path} --help' for help.")
    return [*lines, f"Error: {error.format_message()}"]
