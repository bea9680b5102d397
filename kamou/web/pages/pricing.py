"""``/pricing``: the operator's own Markdown text, or "Free, self-hosted"."""

from __future__ import annotations

from markdown_it import MarkdownIt
from markupsafe import Markup

from kamou.http.responses import HTML
from kamou.web.pages.base import PageRequest, RenderedPage


def render(request: PageRequest) -> RenderedPage:
    """Return the page with the operator's text, or one that says that Kamou is free."""
    text = request.site.pricing_markdown
    # The parser leaves raw HTML as text and drops addresses that run scripts.
    content = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    body = request.templates.page(
        "pricing.html",
        title="Pricing",
        path="/pricing",
        description="What it costs to follow or to run Kamou.",
        content=Markup(content),
    )
    return RenderedPage(body=body, media_type=HTML)
