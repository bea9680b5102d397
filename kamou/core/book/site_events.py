"""Events of failures of the public site. They change no book."""

from __future__ import annotations

import attrs

from kamou.core.book.events import Event


@attrs.frozen(kw_only=True)
class SiteFailed(Event):
    """Failure or silence of the public site. Trading continues.

    The supervisor replaces a process that ended, exceeded a limit or stays silent. Further
    failures before ``SiteRecovered`` are not stored.
    """

    trouble: str  # code of a ``SiteError``, such as ``crashed`` or ``not_started``


@attrs.frozen(kw_only=True)
class SiteRecovered(Event):
    """Recovery of the public site after ``SiteFailed``."""

    failed_at_ms: int  # time of the stored ``SiteFailed``
    troubles: int  # failures since the last recovery, also those not stored
