"""``literal``, the spelling of a host in URLs and Host headers."""

from __future__ import annotations


def literal(host: str) -> str:
    """Return the host for a URL, an IPv6 address in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host else host
