"""Counters of a listener since its process began."""

from __future__ import annotations

from enum import Enum

import attrs


class TrafficRefusal(Enum):
    """Why a listener refused a connection or a request; the value names its counter."""

    CONNECTIONS = "connections"  # too many in all: 503
    ADDRESS = "address"  # too many from one address: 503
    DESCRIPTORS = "descriptors"  # the system had no descriptor or memory: left in the backlog
    MALFORMED = "malformed"  # not HTTP, or HTTP that two readers may read in two ways: 400
    HEADERS = "headers"  # too many bytes or lines of headers: 431
    BODY = "body"  # too large: 413
    METHOD = "method"  # CONNECT, or a transfer coding that is not chunked: 501
    VERSION = "version"  # neither HTTP/1.0 nor HTTP/1.1: 505


class Cut(Enum):
    """Why a listener cut a connection; the value names its counter."""

    SLOW = "slow"  # its request took longer than `request_s`
    STALLED = "stalled"  # it read nothing of its answer for `stall_s`
    STOPPED = "stopped"  # it was still open when the grace of an orderly stop was over


@attrs.define(kw_only=True)
class Traffic:
    """Counters of one listener; fixed in number, whatever peers send."""

    requests: int = 0
    """Requests that reached the application."""
    connections_now: int = 0
    """Connections that are open now, without those that were turned away."""
    connections_peak: int = 0
    """The most connections that were ever open at once."""
    connections_total: int = 0
    """Connections that were accepted and served."""
    failed: int = 0
    """Connections that an error of the application or of the server ended."""
    refused: dict[TrafficRefusal, int] = attrs.Factory(lambda: dict.fromkeys(TrafficRefusal, 0))
    """Connections and requests that were refused, by reason."""
    cut: dict[Cut, int] = attrs.Factory(lambda: dict.fromkeys(Cut, 0))
    """Connections that were cut before their answer was complete, by reason."""

    def opened(self) -> None:
        """Count a connection that begins."""
        self.connections_now += 1
        self.connections_total += 1
        self.connections_peak = max(self.connections_peak, self.connections_now)

    def closed(self) -> None:
        """Count a connection that ends."""
        self.connections_now -= 1

    def as_numbers(self) -> dict[str, int]:
        """Return every counter under a flat name, such as ``refused_headers``."""
        return {
            "requests": self.requests,
            "connections_now": self.connections_now,
            "connections_peak": self.connections_peak,
            "connections_total": self.connections_total,
            "failed": self.failed,
            **{f"refused_{reason.value}": count for reason, count in self.refused.items()},
            **{f"cut_{reason.value}": count for reason, count in self.cut.items()},
        }
