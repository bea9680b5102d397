"""The reason of a command: its maximum length, in characters, and its shortening."""

from __future__ import annotations

REASON_CHARS_MAX = 200


def describe_excess(reason: str) -> str:
    """Return the error for a reason that is too long; empty if it is short enough."""
    if len(reason) <= REASON_CHARS_MAX:
        return ""
    return (
        f"the reason has {len(reason)} characters and {REASON_CHARS_MAX} are published at most; "
        "shorten the reason"
    )


def shorten_reason(reason: str) -> tuple[str, str]:
    """Return the published part of a reason, and a warning if it was shortened.

    Halt and flatten use it, because they must not fail because of their reason.
    """
    if not describe_excess(reason):
        return reason, ""
    return reason[:REASON_CHARS_MAX].rstrip(), (
        f"the reason was shortened from {len(reason)} to {REASON_CHARS_MAX} characters, which are "
        "published"
    )
