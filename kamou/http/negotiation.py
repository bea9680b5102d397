"""Content negotiation and conditional requests (RFC 9110, sections 12 and 13).

Clients may send anything, so only the beginning of a header is read, in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

HEADER_CHARS_MAX = 1_024  # of one header; the longest Accept header of a browser has about 200
ITEMS_MAX = 32  # of one header; browsers send fewer than 10
TAGS_CHARS_MAX = 4_096  # of If-None-Match: a cache may list many tags of 36 bytes
TAGS_MAX = 64  # of If-None-Match
QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")  # RFC 9110, 12.4.2


def prefers_json(accept: str) -> bool:
    """Return True if JSON is preferred to HTML, by q-value, then by specificity.

    ``*/*`` and a tie mean HTML, so that a browser that opens a page gets HTML.
    """
    return _rank(accept, "application", "json") > _rank(accept, "text", "html")


def accepts_gzip(accept_encoding: str) -> bool:
    """Return True if ``gzip``, or else ``*``, has a quality above 0.

    ``*`` counts only if ``gzip`` is not listed.
    """
    by_name: float | None = None
    by_star = 0.0
    for token, quality in _parse_items(accept_encoding):
        if token == "gzip":
            by_name = quality
        elif token == "*":
            by_star = quality
    return (by_star if by_name is None else by_name) > 0


def matches_etag(if_none_match: str, etag: str) -> bool:
    """Return True if the header lists the tag (weak comparison) or ``*``."""
    wanted = etag.removeprefix("W/")
    listed = (tag.strip() for tag in _split_list(if_none_match, TAGS_CHARS_MAX, TAGS_MAX))
    return any(tag == "*" or tag.removeprefix("W/") == wanted for tag in listed)


def _rank(accept: str, kind: str, subtype: str) -> tuple[float, int]:
    """Return q and specificity of the most specific range; zeros without a q above 0."""
    ranges = {f"{kind}/{subtype}": 3, f"{kind}/*": 2, "*/*": 1}
    best = (0.0, 0)
    for token, quality in _parse_items(accept):
        specificity = ranges.get(token, 0)
        if specificity > best[1]:
            best = (quality, specificity)
    return best if best[0] > 0 else (0.0, 0)


def _parse_items(header: str) -> Iterator[tuple[str, float]]:
    """Yield name, in lower case, and quality of each item."""
    for part in _split_list(header, HEADER_CHARS_MAX, ITEMS_MAX):
        token, *parameters = part.lower().split(";")
        yield token.strip(), _parse_quality(parameters)


def _split_list(header: str, chars_max: int, items_max: int) -> list[str]:
    """Return the first complete items of a comma-separated list within both limits."""
    items = header[: chars_max + 1].split(",", items_max)
    cut = len(items) > items_max or len(header) > chars_max
    return items[:-1] if cut else items


def _parse_quality(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            value = value.strip()
            # an invalid quality counts as 0
            return float(value) if QUALITY.fullmatch(value) else 0.0
    return 1.0
