"""Pages have no listed phrase, and the results page explains the return."""

from __future__ import annotations

import re
from html import unescape

import pytest

from kamou.web.app import PublicSite
from tests.site_client import Client

PAGES = ("/", "/results", "/strategies", "/trades", "/days", "/how-it-works", "/pricing")
NOT_SO = {
    "anywhere from": "a 95% interval is no bound",
    "every cost": "what is open has not paid to be closed",
    "five minutes": "the cycle is a setting, and two cycles of three scan nothing",
    "deepest fall": "the word is maximum drawdown",
    "taken out": "the word is withdrawn",
    "put in since": "the word is deposited",
    "stopped by a human": "the word is operator",
    "since the first day": "the return is over complete days, and the first may be none",
}
ALLOWED = "It publishes every trade, every cost and every losing day."


@pytest.mark.parametrize("path", PAGES)
async def test_no_page_has_a_phrase_that_is_listed_as_untrue_or_retired(
    public: PublicSite, client: Client, path: str
) -> None:
    async with client(public) as http:
        page = unescape((await http.get(path)).text).replace(ALLOWED, "")
    assert not {words for words in NOT_SO if words in page.lower()}


async def test_the_results_page_explains_the_return_and_its_interval(
    public: PublicSite, client: Client
) -> None:
    async with client(public) as http:
        page = re.sub(r"\s+", " ", unescape((await http.get("/results")).text))
    assert "without the costs of closing them" in page
    assert "The 95% interval from resampling its own days" in page
