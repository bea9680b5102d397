"""``Limits`` of a listener: sizes, counts and times of connections and requests."""

from __future__ import annotations

import ipaddress
import resource

import attrs

from kamou.settings.config import WebSettings

DESCRIPTORS_KEPT = 64  # for databases, pipes and files
IPV6_HOST_BITS = 64  # one subscriber has a whole /64, so its addresses count as one


@attrs.frozen(kw_only=True)
class Limits:
    """Limits of one listener. Times are in seconds, sizes in bytes.

    The defaults are those of the public listener, whose settings are in ``web``. ``OPERATOR`` are
    the limits of the operator's two listeners, TCP and Unix socket.

    Raises:
        ValueError: a trusted proxy is neither an IP address nor a network.
    """

    connections_max: int = 2_000
    """Open connections in total; a further connection gets 503 and is closed."""
    connections_per_address_max: int = 100
    """Open connections of one address (IPv6: one /64) that is not a trusted proxy."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or networks with many clients, which have no limit by address."""
    header_bytes_max: int = 16 * 1024
    """Request line and headers together; more gets 431. Browsers send about 1 KB."""
    headers_max: int = 100
    """Header lines; more get 431. 16 KB of empty headers cost 5 ms to parse, 100 cost 0.2 ms."""
    body_bytes_max: int = 8 * 1024
    """Size of a request's body; a larger body, or one in too many parts, gets 413."""
    request_s: float = 30.0
    """Time from a request's first byte to the last byte of its response."""
    stall_s: float = 15.0
    """Time after which a peer that reads nothing of its response is cut."""
    keep_alive_s: float = 15.0
    """Idle time after which a connection is closed; enough to open the next page."""
    requests_max: int = 1_000
    """Maximum number of requests of one connection; its last response closes it."""
    pipelined_max: int = 16
    """Further requests of one read that get responses; if more follow, the connection ends."""
    grace_s: float = 1.0
    """Time for requests in flight at an orderly stop; pages take milliseconds."""
    backlog: int = 1_024
    """Connections that the kernel queues while a process starts; it may queue fewer."""

    def __attrs_post_init__(self) -> None:
        for proxy in self.trusted_proxies:
            ipaddress.ip_network(proxy, strict=False)

    def affordable_connections(self) -> int:
        """Return ``connections_max``, or fewer if the descriptor limit allows only those."""
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY:
            return self.connections_max
        return max(1, min(self.connections_max, soft - DESCRIPTORS_KEPT))

    def trusts(self, host: str) -> bool:
        """Return True if ``host``, an IP address, is a proxy that the operator trusts."""
        if not self.trusted_proxies:
            return False
        address = _plain_address(host)
        return any(
            address in ipaddress.ip_network(proxy, strict=False) for proxy in self.trusted_proxies
        )


OPERATOR = Limits(
    connections_max=32,  # metrics, a process manager, a few terminals
    connections_per_address_max=32,  # all clients are on one machine
    header_bytes_max=8 * 1024,  # parsed in the event loop that trades
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
    """Return the key for counting connections: an IPv4 address or an IPv6 /64.

    Raises:
        ValueError: ``host`` is not an IP address.
    """
    address = _plain_address(host)
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    return str(ipaddress.ip_network((int(address), IPV6_HOST_BITS), strict=False))


def _plain_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the address without its scope; an IPv4-mapped IPv6 address as IPv4."""
    address = ipaddress.ip_address(host.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped
