"""Query parameters: an invalid value is 400, and the response has the valid ones."""

from __future__ import annotations

from html import unescape

import pytest

from kamou.web.app import ROUTES, PublicSite
from tests.site_client import Client

PLACE = "must be a closing time in ms and a row"
DAY = "before must be a day"
LIMIT = "limit must be a whole number from 1 to 200"
INVALID = [
    ("/trades", "before", "zz", PLACE),
    ("/trades", "before", "0", PLACE),
    ("/trades", "before", "x-1", PLACE),
    ("/trades", "before", "1-2-3", PLACE),
    ("/trades", "after", "1", PLACE),
    ("/trades", "after", "-1", PLACE),
    ("/trades", "outcome", "odd", "outcome must be win or loss"),
    ("/api/v1/public/trades", "before", "zz", PLACE),
    ("/api/v1/public/trades", "after", "1", PLACE),
    ("/api/v1/public/trades", "outcome", "odd", "outcome must be win or loss"),
    ("/days", "before", "1", DAY),
    ("/days", "before", "2025-02-30", DAY),
    ("/days", "before", "20250201", DAY),
    ("/api/v1/public/days", "before", "x", DAY),
    ("/api/v1/public/days", "limit", "0", LIMIT),
    ("/api/v1/public/days", "limit", "201", LIMIT),
    ("/api/v1/public/days", "limit", "1e1", LIMIT),
]
LISTS = ("/trades", "/api/v1/public/trades")
FREE = {(path, name) for path in LISTS for name in ("strategy", "symbol")}
"""Parameters that take any text, also one that no trade has."""


@pytest.mark.parametrize(("path", "name", "value", "why"), INVALID)
async def test_a_parameter_with_an_invalid_value_is_400_with_the_valid_ones(
    public: PublicSite, client: Client, path: str, name: str, value: str, why: str
) -> None:
    async with client(public) as http:
        page = await http.get(f"{path}?{name}={value}")
        document = await http.get(f"{path}?{name}={value}", headers={"accept": "application/json"})
    assert (page.status_code, document.status_code) == (400, 400)
    assert why in unescape(page.text)
    found = document.json()
    assert why in found["detail"]
    assert name in found["detail"]
    assert found["status"] == 400


def test_every_parameter_of_every_route_has_a_case_in_this_file() -> None:
    known = {(row.path, name) for row in ROUTES for name in row.query}
    assert known == {(path, name) for path, name, *_ in INVALID} | FREE


@pytest.mark.parametrize(("path", "name"), sorted(FREE))
async def test_a_strategy_or_symbol_without_trades_is_an_empty_page(
    public: PublicSite, client: Client, path: str, name: str
) -> None:
    async with client(public) as http:
        page = await http.get(f"/trades?{name}=<nothing>")
        listed = await http.get(f"{path}?{name}=<nothing>", headers={"accept": "application/json"})
    assert (page.status_code, listed.status_code) == (200, 200)
    assert "No closed trade matches." in page.text
    assert (listed.json()["trades"], listed.json()["total"]) == ([], 0)
