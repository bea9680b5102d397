"""The limits of one listener: what a peer may send, and how long it may take."""

from __future__ import annotations

import ipaddress
import resource

import attrs

from kamou.settings.config import WebSettings

DESCRIPTORS_KEPT = 64  # for databases, pipes and files: peers never take the last descriptors
IPV6_HOST_BITS = 64  # one subscriber has a whole /64, so one address of it means nothing


@attrs.frozen(kw_only=True)
class Limits:
    """What one listener grants. Times are in seconds, sizes in bytes.

    The defaults are those of the public listener, whose settings are in ``web``. ``OPERATOR`` has
    those of the operator's TCP listener.
    """

    connections_max: int = 2_000
    """Open connections in total; a further one gets 503 and is closed."""
    connections_per_address_max: int = 100
    """Open connections of one address (IPv6: of one /64), so that no reader takes all of them."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks that stand for many readers: not limited by address."""
    header_bytes_max: int = 16 * 1024
    """Request line and headers together; more gets 431. Browsers send about 1 KB."""
    headers_max: int = 100
    """Header lines; more get 431. 16 KB of empty headers cost 5 ms to parse, 100 cost 0.2."""
    body_bytes_max: int = 8 * 1024
    """A request's body; more gets 413. No page reads one, and a command is at most 4 KB."""
    request_s: float = 30.0
    """From a request's first byte to the last byte of its answer."""
    stall_s: float = 15.0
    """Time without progress after which a peer that does not read its answer is cut."""
    keep_alive_s: float = 15.0
    """Idle time of an open connection; enough for a reader who opens the next page."""
    requests_max: int = 1_000
    """Requests of one connection; its last answer says ``Connection: close``."""
    pipelined_max: int = 16
    """Requests that may wait during an answer; with more the connection closes."""
    grace_s: float = 1.0
    """Time that requests in flight have at an orderly stop; pages take milliseconds."""
    backlog: int = 1_024
    """Connections that the system holds while a process starts; it may hold fewer."""

    def __attrs_post_init__(self) -> None:
        for proxy in self.trusted_proxies:
            ipaddress.ip_network(proxy, strict=False)

    def affordable(self) -> int:
        """Return ``connections_max``, or what the descriptor limit of this process leaves."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            return self.connections_max
        return max(1, min(self.connections_max, soft - DESCRIPTORS_KEPT))

    def trusts(self, host: str) -> bool:
        """Return True if ``host`` is a proxy that the operator trusts."""
        if not self.trusted_proxies:
            return False
        address = _plain_address(host)
        return any(
            address in ipaddress.ip_network(proxy, strict=False) for proxy in self.trusted_proxies
        )


OPERATOR = Limits(
    connections_max=32,  # a scraper, a process manager, a few terminals
    connections_per_address_max=32,  # they all come from one machine
    header_bytes_max=8 * 1024,  # it is parsed on the trading loop
    headers_max=64,
    pipelined_max=0,  # one request in flight per connection
    backlog=64,
)


def public_limits(web: WebSettings) -> Limits:
    """Return the public listener's limits from its settings."""
    return Limits(
        connections_max=web.connections_max,
        connections_per_address_max=web.connections_per_address_max,
        trusted_proxies=web.trusted_proxies,
        header_bytes_max=web.header_bytes_max,
        headers_max=web.headers_max,
        pipelined_max=web.pipelined_max,
        request_s=web.request_s,
        stall_s=web.stall_s,
        keep_alive_s=web.keep_alive_s,
    )


def address_key(host: str) -> str:
    """Return what connections are counted by: an IPv4 address, or the /64 of an IPv6 address."""
    address = _plain_address(host)
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((int(address), IPV6_HOST_BITS), strict=False))


def _plain_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address without its scope; an IPv4 address mapped into IPv6 as IPv4."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped
