from __future__ import annotations

from typing import Any

import pytest

from kamou.http.replies import ENTRY_BYTES, HTML, NEVER, Replies, reply


def test_a_new_reply_replaces_the_least_recently_used_one() -> None:
    kept = Replies(bytes_max=250 + 2 * ENTRY_BYTES)
    for key in ("a", "b"):
        kept.put(key, 1, reply(b"x" * 100, HTML))
    assert kept.get("a", 1) is not None
    kept.put("c", 1, reply(b"x" * 100, HTML))
    assert kept.get("b", 1) is None
    assert kept.get("a", 1) is not None
    assert len(kept) == 2


def test_a_reply_is_kept_even_if_it_alone_exceeds_the_limit() -> None:
    kept = Replies(bytes_max=10)
    kept.put("a", 1, reply(b"x" * 100, HTML))
    assert kept.get("a", 1) is not None


def test_a_reply_of_an_older_version_is_not_given() -> None:
    kept = Replies(bytes_max=10 * ENTRY_BYTES)
    kept.put("a", 1, reply(b"old", HTML))
    assert kept.get("a", 2) is None
    kept.put("a", 2, reply(b"new", HTML))
    found = kept.get("a", 2)
    assert found is not None
    assert found.body == b"new"
    assert len(kept) == 1


@pytest.mark.parametrize(("method", "sent_body"), [("GET", b"words"), ("HEAD", b"")])
async def test_the_answer_to_head_has_the_length_of_the_body_and_no_body(
    method: str, sent_body: bytes
) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("nothing is read")

    async def send(message: Any) -> None:
        sent.append(message)

    await reply(b"words", HTML)({"type": "http", "method": method, "headers": []}, receive, send)
    start, body = sent
    assert (b"content-length", b"5") in start["headers"]
    assert body["body"] == sent_body


def test_errors_and_uncacheable_replies_have_no_tag() -> None:
    assert reply(b"x", HTML, status=404).etag is None
    assert reply(b"x", HTML, cache=NEVER).etag is None
    assert reply(b"x", HTML).etag is not None
