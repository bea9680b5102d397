"""Which addresses may be dialed, and which proxy the environment names."""

from __future__ import annotations

import pytest

from kamou.errors import ConfigurationError
from kamou.exchange.trio_ccxt.addresses import find_proxy, read_address


@pytest.mark.parametrize(
    ("url", "scheme", "parts"),
    [
        ("https://a.example", "https", ("a.example", 443, "/", "a.example")),
        ("https://a.example:8443/x?q=%2B:1", "https", ("a.example", 8443, "/x?q=%2B:1", None)),
        ("wss://a.example?token=a%3D", "wss", ("a.example", 443, "/?token=a%3D", "a.example")),
        ("http://127.0.0.1:80/", "https", ("127.0.0.1", 80, "/", "127.0.0.1")),
        ("ws://[::1]:9/e", "wss", ("::1", 9, "/e", "[::1]:9")),
        ("http://localhost:1#part", "https", ("localhost", 1, "/", "localhost:1")),
    ],
)
def test_an_address_keeps_its_target_letter_by_letter(
    url: str, scheme: str, parts: tuple[str, int, str, str | None]
) -> None:
    address = read_address(url, scheme, "a setting")
    host, port, target, authority = parts
    assert (address.host, address.port, address.target) == (host, port, target)
    assert address.authority == (authority or f"{host}:{port}")
    assert address.secure == url.startswith(scheme + ":")


@pytest.mark.parametrize(
    "url",
    [
        "http://a.example",
        "http://127.0.0.1.example",
        "http://128.0.0.1",
        "http://0.0.0.0:1",
        "http://[::ffff:8.8.8.8]/",
        "https://",
        "https://a.example:port",
        "https://a.example:99999",
        "https://user@a.example",
        "https://a.example/ x",
        "https://a.example/\r\nHost: b",
        "https://ä.example",
        "file:///etc/passwd",
        "",
    ],
)
def test_a_plain_or_odd_address_is_invalid_and_the_error_names_its_origin(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"exchange\.rest_url"):
        read_address(url, "https", "exchange.rest_url")


def test_an_error_does_not_show_a_token_of_the_query() -> None:
    with pytest.raises(ConfigurationError) as raised:
        read_address("ws://a.example/endpoint?token=hidden", "wss", "the endpoint")
    assert "hidden" not in str(raised.value)


def set_proxies(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_the_proxy_of_the_environment_is_used_except_for_loopback_and_listed_hosts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    venue = read_address("wss://a.example/", "wss", "a setting")
    set_proxies(monkeypatch)
    assert find_proxy(venue) is None
    set_proxies(monkeypatch, HTTPS_PROXY="http://proxy.example:3128")
    found = find_proxy(venue)
    assert found is not None
    assert (found.host, found.port) == ("proxy.example", 3128)
    assert find_proxy(read_address("ws://127.0.0.1:1/", "wss", "a setting")) is None
    set_proxies(monkeypatch, ALL_PROXY="http://proxy.example", NO_PROXY="other,a.example")
    assert find_proxy(venue) is None


@pytest.mark.parametrize(
    "proxy", ["socks5://p.example:1080", "https://p.example", "http://u:p@p.example", "http://:x"]
)
def test_a_proxy_of_another_kind_is_an_error_and_is_not_bypassed(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_proxies(monkeypatch, HTTPS_PROXY=proxy)
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY"):
        find_proxy(read_address("https://a.example/", "https", "a setting"))
