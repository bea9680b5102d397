"""The error tree. A boundary refuses with one of these; inside, code asserts.

Every message says what was wrong, where, and what to do. ``exit_code`` is what
the command line returns for it: 1 error, 2 usage, 3 not running,
4 configuration, 5 timeout, 6 a check failed.
"""

from __future__ import annotations


class KamouError(Exception):
    """Root of everything Kamou raises on purpose. Each argument is a line of its own.

    The command line escapes each: a line break within one, in a file's name perhaps, begins none.
    """

    exit_code = 1

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


def innermost_error(error: BaseException) -> BaseException:
    """The one error that ended a verb, for one line to a human; else the whole group.

    Ctrl-C is an interruption and no defect, also beside other errors. A group with an unforeseen
    error stays whole: a person who looks for the defect needs all of it.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    if error.subgroup(KeyboardInterrupt) is not None:
        return KeyboardInterrupt()
    foreseen, others = error.split((KamouError, OSError))
    found: BaseException | None = foreseen if others is None else None
    ours = error.subgroup(KamouError)
    if found is not None and ours is not None:
        found = ours  # it says more than the system's own error beside it
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found or error


class ConfigurationError(KamouError):
    """A setting is unknown, ill-typed or out of range."""

    exit_code = 4


class NotRunningError(KamouError):
    """The verb needs a running system and there is none on this data directory."""

    exit_code = 3


class NothingTradesError(NotRunningError):
    """No run holds the data directory, or the one that does is starting: nothing trades on it."""


class AlreadyRunningError(KamouError):
    """Another run holds the lock of this data directory."""


class ListenError(KamouError):
    """A listener could not bind: the port is taken, or this user may not take it."""


class SocketsUnsupportedError(ListenError):
    """The file system of the data directory has no Unix sockets."""

    exit_code = 4


class UnwritableError(KamouError):
    """A file that a verb was asked to write cannot be written."""


class CheckFailedError(KamouError):
    """A check that the operator asked for did not hold."""

    exit_code = 6


class TimedOutError(KamouError):
    """A wait met its deadline."""

    exit_code = 5


class InvalidDataError(KamouError):
    """Market data that may not be trusted: NaN, gaps, duplicates, time running back."""


# --- store -------------------------------------------------------------------


class StoreError(KamouError):
    """The database could not be opened, read or written."""


class DatabaseNewerError(StoreError):
    """The database was written by a newer version of Kamou."""


class DiskFullError(StoreError):
    """The database or journal could not grow. Nothing already committed is lost."""


class DuplicateEventError(StoreError):
    """An event with this (kind, key) is already committed: the deed was done before."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"event {kind}:{key} is already committed")
        self.kind = kind
        self.key = key


# --- messages ----------------------------------------------------------------


class CallUnavailableError(KamouError):
    """The actor that would answer is not up. Silence is denial."""


class CallTimeoutError(TimedOutError):
    """The actor did not answer before the deadline. Silence is denial."""


# --- exchange ----------------------------------------------------------------


class ExchangeError(KamouError):
    """Root of everything that an exchange port raises."""


class RejectedError(ExchangeError):
    """The venue answered, and the answer is no. Nothing was done."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class UnknownOutcomeError(ExchangeError):
    """The request may or may not have reached the venue. Query by client order id; never resend."""


class RateLimitedError(ExchangeError):
    """The venue asks us to wait; nothing was done. ``retry_after_ms`` when it said how long."""

    def __init__(self, reason: str, retry_after_ms: int = 0) -> None:
        super().__init__(reason)
        self.retry_after_ms = retry_after_ms


class UnreachableError(ExchangeError):
    """The venue did not answer a read. A failed query is never read as flat."""


class BadCredentialsError(ExchangeError):
    """The key was refused, or may do what no key of ours may do (withdraw)."""


class InvalidPermitError(ExchangeError):
    """The port refused an order for want of a genuine, committed, unused, matching permit."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


# --- the public site's process -------------------------------------------------


class SiteError(KamouError):
    """Why one process of the public site was replaced. ``trouble`` is its code."""

    trouble = "crashed"


class SiteStartError(SiteError):
    """The process could not be started, or did not serve in time."""

    trouble = "not_started"


class SiteSilentError(SiteError):
    """The process sent no heartbeat for too long."""

    trouble = "silent"


class SiteMemoryError(SiteError):
    """The process held more memory than it may."""

    trouble = "memory"


class SiteFloodError(SiteError):
    """The process wrote more text or more heartbeats than it may, or garbled ones."""

    trouble = "flood"
