"""``Traffic``: counters of a listener, some by ``TrafficRefusal`` and ``Cut``."""

from __future__ import annotations

from enum import StrEnum

import attrs


class TrafficRefusal(StrEnum):
    """Reason for rejecting a connection or request; its value names a counter."""

    CONNECTIONS = "connections"  # too many in total: 503
    ADDRESS = "address"  # too many from one address: 503
    DESCRIPTORS = "descriptors"  # an accept without free descriptor or memory: the peer waits
    MALFORMED = "malformed"  # not HTTP, ambiguous HTTP, or an invalid target: 400
    HEADERS = "headers"  # too many bytes or lines of headers: 431
    BODY = "body"  # too large or in too many parts: 413
    METHOD = "method"  # CONNECT, or a transfer coding that is not chunked: 501
    VERSION = "version"  # neither HTTP/1.0 nor HTTP/1.1: 505


class Cut(StrEnum):
    """Reason for cutting a connection; its value names a counter."""

    SLOW = "slow"  # its request took longer than `request_s`
    STALLED = "stalled"  # it read nothing of its response for `stall_s`
    STOPPED = "stopped"  # it was still open after the grace of an orderly stop


@attrs.define(kw_only=True)
class Traffic:
    """Counters of one listener since its creation; their number is fixed."""

    requests: int = 0
    """Requests that reached the application."""
    connections_now: int = 0
    """Connections that are open now, without rejected ones."""
    connections_peak: int = 0
    """Maximum number of connections that were open at once."""
    connections_total: int = 0
    """Connections that were accepted and served."""
    failed: int = 0
    """Connections that an error of the application or the server ended."""
    refused: dict[TrafficRefusal, int] = attrs.Factory(lambda: dict.fromkeys(TrafficRefusal, 0))
    """Connections and requests that were rejected, by reason."""
    cut: dict[Cut, int] = attrs.Factory(lambda: dict.fromkeys(Cut, 0))
    """Connections that were cut before their response was complete, by reason."""

    def count_opened(self) -> None:
        """Count a connection that begins."""
        self.connections_now += 1
        self.connections_total += 1
        self.connections_peak = max(self.connections_peak, self.connections_now)

    def count_closed(self) -> None:
        """Count a connection that ends."""
        self.connections_now -= 1

    def as_numbers(self) -> dict[str, int]:
        """Return all counters by flat names such as ``refused_headers``."""
        return {
            "requests": self.requests,
            "connections_now": self.connections_now,
            "connections_peak": self.connections_peak,
            "connections_total": self.connections_total,
            "failed": self.failed,
            **{f"refused_{reason}": count for reason, count in self.refused.items()},
            **{f"cut_{reason}": count for reason, count in self.cut.items()},
        }
