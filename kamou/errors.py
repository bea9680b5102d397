"""Errors for bad input and failed operations, and the error to show of a group.

A defect fails an assertion instead. A message says what failed, and where possible the value, the
place and the next step. ``exit_code`` is the exit code of the command line: 1 error, 2 usage, 3
not running, 4 configuration, 5 timeout, 6 a check failed.
"""

from __future__ import annotations


class KamouError(Exception):
    """Root of Kamou's errors. Each argument is one line of the message.

    The command line escapes each argument, so that a line break in a file's name adds no line.
    """

    exit_code = 1

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)

    def __str__(self) -> str:
        return "\n".join(map(str, self.args))


def summarize_error(error: BaseException) -> str:
    """Return the error's text, with its type unless it is a ``KamouError``.

    A strategy's own error class may raise while it makes its text; then only the type is returned.
    """
    try:
        return str(error) if isinstance(error, KamouError) else repr(error)
    except (Exception, SystemExit):
        return type(error).__name__


def find_error_to_show(error: BaseException) -> BaseException:
    """Return the error of a group that the operator should see, or the whole group.

    An error that is no group is returned as it is. A group with a Ctrl-C counts as an interruption,
    whatever else is in it. A group with an unexpected error is returned whole, because its
    tracebacks are needed to find the defect. Of any other group the first ``KamouError`` is
    returned, or without one the first ``OSError``.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    if error.subgroup(KeyboardInterrupt) is not None:
        return KeyboardInterrupt()
    foreseen, others = error.split((KamouError, OSError))
    found: BaseException | None = foreseen if others is None else None
    own = error.subgroup(KamouError)
    if found is not None and own is not None:
        found = own  # its message has a next step; that of an OSError has none
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found or error


class ConfigurationError(KamouError):
    """The configuration, an option or a file that one of them names is invalid."""

    exit_code = 4


class NotRunningError(KamouError):
    """The verb needs a run or stored data, and the data directory has none."""

    exit_code = 3


class NothingTradesError(NotRunningError):
    """No run trades on the data directory: there is none, or it is starting."""


class AlreadyRunningError(KamouError):
    """Another process holds the lock of this data directory."""


class ListenError(KamouError):
    """A listener could not bind to its address or socket."""


class SocketsUnsupportedError(ListenError):
    """The file system of the data directory does not support Unix sockets."""

    exit_code = 4


class UnwritableError(KamouError):
    """A file that a verb was asked to write cannot be written."""


class CheckFailedError(KamouError):
    """A check that the operator asked for failed."""

    exit_code = 6


class TimedOutError(KamouError):
    """An operation did not end, or could not begin, in the time that it has."""

    exit_code = 5


class InvalidDataError(KamouError):
    """A dataset or market data cannot be read, used or stored.

    Causes: data that are missing, unreadable, invalid, too large or already stored, or another
    import that is storing a dataset.
    """


# --- store -------------------------------------------------------------------


class StoreError(KamouError):
    """A database, or a file of the data directory, could not be used."""


class UnreadableRecordError(StoreError):
    """A record of the database has a value that this version does not know."""

    def __init__(self, place: str, error: Exception) -> None:
        super().__init__(f"{place}: {error}; use the Kamou that wrote it, or another --data-dir")


class DatabaseNewerError(StoreError):
    """The database was written by a newer version of Kamou."""


class DiskFullError(StoreError):
    """A database or file could not grow on a full disk. Committed events are kept."""


class DuplicateEventError(StoreError):
    """An event with this kind and key is already committed."""

    def __init__(self, kind: str, key: str) -> None:
        super().__init__(f"event {kind}:{key} is already committed; the new one was not written")
        self.kind = kind
        self.key = key


# --- messages ----------------------------------------------------------------


class CallUnavailableError(KamouError):
    """The called actor is not running, ended during the call, or its mailbox is full.

    If the actor is the risk governor, the order executor denies an entry, and sends a reducing
    order only if the exchange port finds that the order reduces.
    """


class CallTimeoutError(TimedOutError):
    """The called actor did not answer in time; it may have acted.

    The order executor treats this error as ``CallUnavailableError``.
    """


# --- exchange ----------------------------------------------------------------


class ExchangeError(KamouError):
    """Root of the errors of an exchange port."""


class RejectedError(ExchangeError):
    """The venue rejected the request and changed nothing."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


class UnknownOutcomeError(ExchangeError):
    """The request may or may not have reached the venue.

    Query the order by client order id; never send it again.
    """


class RateLimitedError(ExchangeError):
    """The venue's rate limit is reached, and the venue changed nothing.

    ``retry_after_ms`` is 0 if the venue gave no time.
    """

    def __init__(self, reason: str, retry_after_ms: int = 0) -> None:
        super().__init__(reason)
        self.retry_after_ms = retry_after_ms


class UnreachableError(ExchangeError):
    """The venue did not answer a read. A failed query never counts as "no position"."""


class BadCredentialsError(ExchangeError):
    """The venue rejected the key, or the key may withdraw, which no key of Kamou may."""


class InvalidPermitError(ExchangeError):
    """The exchange port denied an order and did not send it.

    Causes for an entry: no valid permit that matches it, wrong attached orders, or a halt. Causes
    for a reducing order: it is an entry, is not reduce-only, or would not reduce.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


# --- the public site's process -------------------------------------------------


class SiteError(KamouError):
    """The public site's process failed and is replaced.

    ``trouble`` is the code of the failure in the event ``SiteFailed``.
    """

    trouble = "crashed"


class SiteStartError(SiteError):
    """The site's process could not be started, or did not serve in time."""

    trouble = "not_started"


class SiteSilentError(SiteError):
    """The site's process sent no heartbeat for too long."""

    trouble = "silent"


class SiteMemoryError(SiteError):
    """The site's process held more memory than its limit."""

    trouble = "memory"


class SiteFloodError(SiteError):
    """The site's process wrote too much text, or too many or damaged heartbeats."""

    trouble = "flood"
