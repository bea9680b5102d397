"""Events of failures of the public site. They change no book."""

from __future__ import annotations

import attrs

from kamou.core.book.events import Event


@attrs.frozen(kw_only=True)
class SiteFailed(Event):
    """The public site failed. The supervisor restarts it; trading continues.

    Further failures before ``SiteRecovered`` are not stored.
    """

    trouble: str  # crashed | not_started | silent | memory | flood


@attrs.frozen(kw_only=True)
class SiteRecovered(Event):
    """The public site has served for 60 s after ``SiteFailed``."""

    failed_at_ms: int  # time of the stored ``SiteFailed``
    troubles: int  # failures since it last served for 60 s, unstored ones too
