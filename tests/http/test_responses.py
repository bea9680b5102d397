"""Prebuilt responses and their cache."""

from __future__ import annotations

from typing import Any

import pytest

from kamou.http.responses import ENTRY_BYTES, HTML, NEVER, ResponseCache, make_response


def test_a_new_response_replaces_the_least_recently_used_one_in_the_cache() -> None:
    cache = ResponseCache(bytes_max=250 + 2 * ENTRY_BYTES)
    for key in ("a", "b"):
        cache.put(key, 1, make_response(b"x" * 100, HTML))
    assert cache.get("a", 1) is not None
    cache.put("c", 1, make_response(b"x" * 100, HTML))
    assert cache.get("b", 1) is None
    assert cache.get("a", 1) is not None
    assert len(cache) == 2


def test_one_response_is_cached_even_if_it_exceeds_the_limit() -> None:
    cache = ResponseCache(bytes_max=10)
    cache.put("a", 1, make_response(b"x" * 100, HTML))
    assert cache.get("a", 1) is not None


def test_the_cache_returns_no_response_of_an_older_version() -> None:
    cache = ResponseCache(bytes_max=10 * ENTRY_BYTES)
    cache.put("a", 1, make_response(b"old", HTML))
    assert cache.get("a", 2) is None
    cache.put("a", 2, make_response(b"new", HTML))
    found = cache.get("a", 2)
    assert found is not None
    assert found.body == b"new"
    assert len(cache) == 1


@pytest.mark.parametrize(("method", "sent_body"), [("GET", b"words"), ("HEAD", b"")])
async def test_responses_to_get_and_head_have_one_length_and_only_that_to_get_has_a_body(
    method: str, sent_body: bytes
) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the application must not read")

    async def send(message: Any) -> None:
        sent.append(message)

    await make_response(b"words", HTML)(
        {"type": "http", "method": method, "headers": []}, receive, send
    )
    start, body = sent
    assert (b"content-length", b"5") in start["headers"]
    assert body["body"] == sent_body


def test_errors_and_uncacheable_responses_have_no_tag() -> None:
    assert make_response(b"x", HTML, status=404).etag is None
    assert make_response(b"x", HTML, cache=NEVER).etag is None
    assert make_response(b"x", HTML).etag is not None
