"""Content negotiation and ETags: values of headers, and their limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kamou.http import negotiation
from kamou.http.negotiation import accepts_gzip, matches_etag, prefers_json

RANGES = ("*/*", "text/html", "text/*", "application/json", "application/*", "gzip", "*")
MARKS = (",", ";", "q=", "=", " ", "0", "1", ".", "\t", "\xe9", '"a"', "W/", ";q=0", ";q=1.0")
PIECES = st.sampled_from(RANGES + MARKS)
HEADERS = st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=60).map("".join))


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", False),
        ("*/*", False),
        ("text/html", False),
        ("application/json", True),
        ("application/*", True),
        ("application/json, text/plain, */*", True),
        ("text/html, application/json", False),
        ("text/html;q=0.1, application/json;q=0.2", True),
        ("application/json;q=0, text/html", False),
        ("application/json;q=0", False),
        ("application/json;q=high", False),
        ("APPLICATION/JSON; charset=utf-8", True),
        ("image/png", False),
        ("application/json;q=0.5, */*;q=0.9", False),
        ("application/json;q=nan", False),
        ("application/json;q=1e3", False),
        ("text/html;q=0.100, application/json;q=1.", True),
        ("," * 20_000 + "application/json", False),
    ],
)
def test_json_is_preferred_only_if_the_accept_header_ranks_it_above_html(
    accept: str, expected: bool
) -> None:
    assert prefers_json(accept) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("gzip;q=0", False),
        ("br, gzip;q=0.5", True),
        ("*", True),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("br", False),
        ("gzip;q=1.5", False),
        ("," * 20_000 + "gzip", False),
    ],
)
def test_gzip_is_accepted_only_if_it_or_else_a_star_has_a_quality_above_0(
    header: str, expected: bool
) -> None:
    assert accepts_gzip(header) is expected


def test_an_etag_matches_weakly_a_listed_tag_or_a_star_and_no_other_header() -> None:
    assert matches_etag('"a", W/"b"', 'W/"b"')
    assert matches_etag('"b"', 'W/"b"')
    assert matches_etag("*", 'W/"b"')
    assert not matches_etag("", 'W/"b"')
    assert not matches_etag('"c"', 'W/"b"')


@given(HEADERS)
def test_no_header_text_raises_an_error(header: str) -> None:
    assert prefers_json(header) in (True, False)
    assert accepts_gzip(header) in (True, False)
    assert matches_etag(header, 'W/"b"') in (True, False)


@given(st.lists(PIECES, max_size=20).map("".join))
def test_header_text_beyond_the_limits_is_ignored(beyond: str) -> None:
    start = "text/html, application/json;q=0.5, br" + "," * (negotiation.ITEMS_MAX - 2)
    assert prefers_json(start + beyond) is prefers_json(start)
    assert accepts_gzip(start + beyond) is accepts_gzip(start)
    tags = '"a"' + "," * negotiation.TAGS_MAX
    assert matches_etag(tags + beyond, 'W/"b"') is matches_etag(tags, 'W/"b"')


@pytest.mark.parametrize("piece", [",", ";", ";q=", "a,", "q=0.5;", " "])
def test_only_a_limited_number_of_items_of_a_long_header_is_parsed(
    piece: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = 0
    quality = negotiation._parse_quality

    def count(parameters: list[str]) -> float:
        nonlocal parsed
        parsed += 1 + len(parameters)
        return quality(parameters)

    monkeypatch.setattr(negotiation, "_parse_quality", count)
    prefers_json(piece * 20_000)
    assert parsed <= 2 * (negotiation.HEADER_CHARS_MAX + negotiation.ITEMS_MAX)


def test_a_tag_that_the_limit_cuts_is_not_compared() -> None:
    etag = 'W/"b"'
    assert matches_etag(" " * (negotiation.TAGS_CHARS_MAX - len(etag)) + etag, etag)
    assert not matches_etag(" " * (negotiation.TAGS_CHARS_MAX - len(etag) + 1) + etag, etag)
