"""What happened to the public site: journalled for the reader, and folded into nothing."""

from __future__ import annotations

import attrs

from kamou.core.book.events import Event


@attrs.frozen(kw_only=True)
class SiteFailed(Event):
    """The public site went down; it is started again by itself, and trading went on."""

    trouble: str  # crashed | not_started | silent | memory | flood


@attrs.frozen(kw_only=True)
class SiteRecovered(Event):
    """The public site has served for a minute after ``SiteFailed``."""

    failed_at_ms: int  # when it went down
    troubles: int  # since then, the first included
