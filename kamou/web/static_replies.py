"""``fixed_replies``: static files, robots.txt and sitemap, which do not change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from xml.sax.saxutils import escape

from kamou.http.responses import IMMUTABLE, FixedResponse, make_response
from kamou.web.render import StaticFile

TEXT_TYPE = "text/plain; charset=utf-8"
XML = "application/xml; charset=utf-8"
DAY = "public, max-age=86400"  # at a fixed address without a digest

PAGES = ("/", "/results", "/strategies", "/trades", "/days", "/how-it-works", "/pricing")
SITEMAP = "http://www.sitemaps.org/schemas/sitemap/0.9"


def fixed_replies(
    static: Iterable[StaticFile], public_url: str
) -> Iterator[tuple[str, FixedResponse]]:
    """Yield each fixed path with its response.

    Without ``public_url``, the site's address, there is no sitemap.
    """
    for file in static:
        yield f"/static/{file.name}", make_response(file.body, file.media_type, cache=IMMUTABLE)
        if file.name.startswith("favicon."):
            yield "/favicon.ico", make_response(file.body, file.media_type, cache=DAY)
    yield "/robots.txt", make_response(robots_txt(public_url), TEXT_TYPE, cache=DAY)
    if public_url:
        yield "/sitemap.xml", make_response(sitemap(public_url), XML, cache=DAY)


def robots_txt(public_url: str) -> bytes:
    """Return robots.txt, which allows all pages except ``/trades`` with a query.

    Addresses with a query are filtered lists of trades, and all lists but the newest. The page of
    each trade is allowed.
    """
    lines = ["User-agent: *", "Disallow: /trades?", "Allow: /"]
    if public_url:
        lines.append(f"Sitemap: {public_url}/sitemap.xml")
    return ("\n".join(lines) + "\n").encode()


def sitemap(public_url: str) -> bytes:
    """Return the sitemap of the main pages, which link to trades and days."""
    urls = "".join(f"<url><loc>{escape(public_url + page)}</loc></url>" for page in PAGES)
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><urlset xmlns="{SITEMAP}">{urls}</urlset>'.encode()
    )
