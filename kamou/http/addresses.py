"""The spelling of a host in a URL and in a Host header."""

from __future__ import annotations


def literal(host: str) -> str:
    """Return the host as a URL has it: an IPv6 address stands in brackets (RFC 3986, 3.2.2)."""
    return f"[{host}]" if ":" in host else host
