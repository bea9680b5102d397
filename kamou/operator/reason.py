"""The operator's words to a command: what is too long to be published, and what to do about it."""

from __future__ import annotations

REASON_CHARS_MAX = 200


def describe_excess(reason: str) -> str:
    """Return one line about a reason that is too long; empty if it is not."""
    if len(reason) <= REASON_CHARS_MAX:
        return ""
    return (
        f"the reason has {len(reason)} characters and {REASON_CHARS_MAX} are published at most; "
        "say it shorter"
    )


def shorten_reason(reason: str) -> tuple[str, str]:
    """Return as much of a reason as is published, and one line about what was left out.

    For a command that may not fail for its words: a halt counts first.
    """
    if not describe_excess(reason):
        return reason, ""
    return reason[:REASON_CHARS_MAX].rstrip(), (
        f"the reason was shortened from {len(reason)} to {REASON_CHARS_MAX} characters, which are "
        "published"
    )
