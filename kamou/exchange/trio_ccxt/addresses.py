"""Which addresses may be dialed, and through which proxy."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import attrs

from kamou.errors import ConfigurationError

SECURE = {"https": "http", "wss": "ws"}  # secure scheme -> its plain one
PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}


@attrs.frozen
class Address:
    """A checked URL in parts. ``target`` is path and query, letter by letter as given."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def secure(self) -> bool:
        """Return True if the connection uses TLS."""
        return self.scheme in SECURE

    @property
    def authority(self) -> str:
        """Return host and port as the header ``Host`` has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


def _is_loopback(host: str) -> bool:
    """Return True for ``localhost`` and for addresses of the machine itself."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def read_address(url: str, scheme: str, origin: str) -> Address:
    """Return a URL in parts, if it may be dialed.

    Args:
        url: what to dial; it must be printable ASCII without spaces.
        scheme: the secure scheme, ``https`` or ``wss``. Its plain one is allowed to loopback only.
        origin: the name of the setting or of the response that the URL comes from.

    Raises:
        ConfigurationError: it has another scheme, a user, no host or an invalid port, or it is
            plain and does not lead to loopback.
    """
    if not (url.isascii() and url.isprintable()) or " " in url:
        raise ConfigurationError(f"{origin} is {url!r}; a URL is printable ASCII without spaces")
    # A message shows no query: it may have a token or a signature.
    shown = url.partition("?")[0]
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ConfigurationError(f"{origin} is {shown!r}: {error}") from error
    plain = SECURE[scheme]
    if parts.scheme not in (scheme, plain) or not host:
        raise ConfigurationError(f"{origin} is {shown!r}; expected {scheme}://HOST[:PORT]")
    if "@" in parts.netloc:
        raise ConfigurationError(f"{origin} has a user or password before its host; remove it")
    if parts.scheme == plain and not _is_loopback(host):
        raise ConfigurationError(
            f"{origin} is {shown!r}: {plain}:// is allowed to this machine only "
            f"(127.0.0.1, ::1, localhost); use {scheme}://"
        )
    target = url.partition("#")[0].partition("://")[2][len(parts.netloc) :]
    if not target.startswith("/"):
        target = f"/{target}"
    return Address(parts.scheme, host, port or PORTS[parts.scheme], target)


def find_proxy(address: Address) -> Address | None:
    """Return the HTTP proxy that the environment names for an address, or None.

    It reads ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY``. Loopback is never proxied.

    Raises:
        ConfigurationError: the proxy is not ``http://HOST:PORT``, such as a SOCKS proxy.
    """
    if _is_loopback(address.host) or proxy_bypass(address.host):
        return None
    proxies = getproxies()
    url = proxies.get("https") or proxies.get("all")
    if not url:
        return None
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError(f"the proxy of HTTPS_PROXY or ALL_PROXY: {error}") from error
    if parts.scheme != "http" or not host or "@" in parts.netloc:
        raise ConfigurationError(
            "HTTPS_PROXY or ALL_PROXY must be http://HOST:PORT without a password"
        )
    return Address("http", host, port or PORTS["http"], "/")
