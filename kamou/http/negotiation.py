"""What the client asked for in its headers (RFC 9110, sections 12 and 13)."""

from __future__ import annotations


def prefers_json(accept: str) -> bool:
    """Whether JSON is wanted rather than HTML, by q-value and then by how exactly it was named.

    ``*/*`` and a tie are HTML: a person's browser is never answered with JSON.
    """
    return _rank(accept, "application", "json") > _rank(accept, "text", "html")


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether ``gzip`` is allowed, by name or by ``*``, and not refused with ``q=0``."""
    named = dict(_parsed(accept_encoding))
    return named.get("gzip", named.get("*", 0.0)) > 0


def matches_etag(if_none_match: str, etag: str) -> bool:
    """Weak comparison with any of the listed tags; ``*`` matches all."""
    wanted = etag.removeprefix("W/")
    listed = (tag.strip() for tag in if_none_match.split(","))
    return any(tag == "*" or tag.removeprefix("W/") == wanted for tag in listed)


def _rank(accept: str, kind: str, subtype: str) -> tuple[float, int]:
    """``(q, specificity)`` of the most specific range that covers the media type; 0 if none."""
    ranges = {f"{kind}/{subtype}": 3, f"{kind}/*": 2, "*/*": 1}
    best = (0.0, 0)
    for token, q in _parsed(accept):
        specificity = ranges.get(token, 0)
        if specificity > best[1]:
            best = (q, specificity)
    return best if best[0] > 0 else (0.0, 0)


def _parsed(header: str) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for part in header.lower().split(","):
        token, *parameters = (piece.strip() for piece in part.split(";"))
        found.append((token, _quality(parameters)))
    return found


def _quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(max(float(value), 0.0), 1.0)
            except ValueError:
                return 0.0  # what cannot be read is not preferred
    return 1.0
