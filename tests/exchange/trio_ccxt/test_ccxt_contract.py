"""What this room overrides or relies on in ccxt is the code that it was written for.

ccxt changes its internals within months. After a change of its version the first test names what
differs: read the new source, adapt the room, and put the new hash here.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import tomllib
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

from kamou.exchange.trio_ccxt.client import TrioClient
from kamou.exchange.trio_ccxt.exchange import TrioExchange
from kamou.exchange.trio_ccxt.kucoin_futures import KucoinFuturesOnTrio

base_module = import_module("ccxt.async_support.base.exchange")
throttler_module = import_module("ccxt.async_support.base.throttler")
client_module = import_module("ccxt.async_support.base.ws.client")
future_module = import_module("ccxt.async_support.base.ws.future")

BASE = base_module.Exchange
CLIENT = client_module.Client
KUCOIN = import_module("ccxt.pro.kucoin").kucoin

RELIED_ON = {
    BASE: (
        "fetch2",
        "request",
        "load_markets_helper",
        "ws_dial_delay",
        "on_connected",
        "on_error",
        "on_close",
        "fetch_rest_order_book_safe",
        "prepare_request_headers",
        "parse_json",
        "handle_http_status_code",
        "init_rest_rate_limiter",
    ),
    CLIENT: ("resolve", "reject", "reset", "handle_text_or_binary_message"),
    KUCOIN: (
        "sign",
        "handle_errors",
        "negotiate",
        "negotiate_helper",
        "subscribe",
        "subscribe_multiple",
        "handle_message",
        "handle_subject",
        "handle_error_message",
        "handle_order_book",
        "handle_book_delta",
        "get_cache_index",
        "handle_pong",
        "ping",
    ),
}
PAIRS = ((TrioExchange, BASE), (KucoinFuturesOnTrio, KUCOIN), (TrioClient, CLIENT))
WHOLE = (throttler_module, future_module)  # replaced as a whole

# Functions that name asyncio and are not overridden, with the reason why they never run.
UNREACHED = {
    "BaseExchange.get_socks_proxy_session": "only the overridden fetch and watch call it",
    "Client.open": "only the overridden connect calls it",
    "Client.receive_loop": "only Client.open calls it",
    "Client.handle_message": "only Client.receive_loop calls it",
    "Client.ping_loop": "only Client.open calls it",
}
EXCHANGE_MODULES = (
    "async_support.kucoin",
    "pro.kucoin",
    "pro.kucoinfutures",
    "async_support.binance",
    "pro.binance",
    "pro.binanceusdm",
    "async_support.bybit",
    "pro.bybit",
    "async_support.okx",
    "pro.okx",
)
HASHES = {
    "Client.__init__": "a6db7291e164bbec",
    "Client.close": "1089ed332a4aa66f",
    "Client.closed": "a94bccb57650a78b",
    "Client.connect": "1d5f6d5453b569ed",
    "Client.future": "6e5436cb2c17bba9",
    "Client.handle_text_or_binary_message": "f7caef71aa276486",
    "Client.on_close": "f6dbea2879c3a570",
    "Client.on_error": "cfec86aee157c91d",
    "Client.reject": "7396d77ddfa56499",
    "Client.reset": "4303c4d429a54712",
    "Client.resolve": "612316628c28108e",
    "Client.send": "c46ab0a27946c68f",
    "Exchange.__init__": "7f9d44e2ed44ae1f",
    "Exchange.client": "0c5ee9acdfcc620d",
    "Exchange.close": "6670b7cd94cf0999",
    "Exchange.close_ws_clients": "87e7094c1c23dc85",
    "Exchange.delay": "90505c5faf00e1d0",
    "Exchange.fetch": "cf557fbead73b9e1",
    "Exchange.fetch2": "ae756bb0463cc81f",
    "Exchange.fetch_rest_order_book_safe": "41218782b75512a2",
    "Exchange.handle_http_status_code": "d8998cbf6129b330",
    "Exchange.init_rest_rate_limiter": "1497b5273651fd50",
    "Exchange.init_throttler": "beaa9a2c536c9ac9",
    "Exchange.load_markets": "d67e6eded0c992d2",
    "Exchange.load_markets_helper": "ea40ceba48928f15",
    "Exchange.load_order_book": "62ba266a5cd3a16f",
    "Exchange.microseconds": "d79084dcc958102d",
    "Exchange.milliseconds": "58a360b32845f912",
    "Exchange.on_close": "2c32ca2b3cdda69b",
    "Exchange.on_connected": "1b80d2789c155934",
    "Exchange.on_error": "31f2c2135820d853",
    "Exchange.open": "c3f96d08baa27ff3",
    "Exchange.parse_json": "ea1d6cc33448629e",
    "Exchange.prepare_request_headers": "50f13792e29e00d0",
    "Exchange.request": "7e92007dbaa687a2",
    "Exchange.seconds": "00f387cc15832d60",
    "Exchange.sleep": "daad434a90f7a97e",
    "Exchange.spawn": "db0026a137f65174",
    "Exchange.throttle": "3e95a27f6bf8c637",
    "Exchange.watch": "2be9220bcca7ae15",
    "Exchange.watch_multiple": "c7bc72ebf717ba60",
    "Exchange.ws_dial_delay": "e1dd9d9f3cc8a1bb",
    "ccxt.async_support.base.throttler": "c76c5c1f7f398547",
    "ccxt.async_support.base.ws.future": "6d6de0649205b19b",
    "kucoin.__init__": "7f9d44e2ed44ae1f",
    "kucoin.get_cache_index": "3f705a1150ade16b",
    "kucoin.handle_book_delta": "e1d09ba41a8327f3",
    "kucoin.handle_error_message": "df14bbbdb95c8599",
    "kucoin.handle_errors": "30ee89141d06bdba",
    "kucoin.handle_message": "8290d111a2e24cb2",
    "kucoin.handle_order_book": "baab2c75b73d4e65",
    "kucoin.handle_pong": "9cfa499d12c93c99",
    "kucoin.handle_subject": "ffeb5b0f2dd0612b",
    "kucoin.load_markets": "d67e6eded0c992d2",
    "kucoin.negotiate": "ff4ad668f815f0e0",
    "kucoin.negotiate_helper": "1c06852fb9298e2a",
    "kucoin.ping": "997440b706ebbf5d",
    "kucoin.request": "7e92007dbaa687a2",
    "kucoin.sign": "9fc4fa1d71341c70",
    "kucoin.subscribe": "3a09086ae56a709f",
    "kucoin.subscribe_multiple": "e0b1d86a4a2a0d3f",
}


def digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def overridden(ours: type, theirs: type) -> list[str]:
    """Return the methods of theirs that ours replaces."""
    return sorted(
        name
        for name, value in vars(ours).items()
        if callable(value) and callable(getattr(theirs, name, None))
    )


def current_hashes() -> dict[str, str]:
    found = {}
    for ours, theirs in PAIRS:
        for name in {*overridden(ours, theirs), *RELIED_ON[theirs]}:
            source = inspect.getsource(getattr(theirs, name))
            found[f"{theirs.__name__}.{name}"] = digest(source)
    for module in WHOLE:
        found[module.__name__] = digest(inspect.getsource(module))
    return dict(sorted(found.items()))


def test_the_sources_that_are_overridden_or_relied_on_are_those_that_were_read() -> None:
    assert current_hashes() == HASHES


def test_ccxt_is_pinned_exactly_and_installed_in_this_version() -> None:
    root = Path(__file__).parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    [pin] = [each for each in project["dependencies"] if each.startswith("ccxt")]
    assert pin == f"ccxt=={version('ccxt')}"
    assert pin in (root / "constraints.txt").read_text().splitlines()


def names_of(module: ModuleType, package: str) -> set[str]:
    """Return the names by which a module knows a package or what it imports from it."""
    found = set()
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.Import):
            found |= {
                (each.asname or each.name).split(".")[0]
                for each in node.names
                if each.name.split(".")[0] == package
            }
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package:
            found |= {each.asname or each.name for each in node.names}
    return found


def functions_that_name(module: ModuleType, names: set[str]) -> Iterator[str]:
    """Yield the methods that use a name, other than to gather (the facade does that)."""
    for owner in ast.parse(inspect.getsource(module)).body:
        if isinstance(owner, ast.ClassDef):
            for node in owner.body:
                gathers = {
                    id(each.value)
                    for each in ast.walk(node)
                    if isinstance(each, ast.Attribute) and each.attr == "gather"
                }
                used = {
                    each.id
                    for each in ast.walk(node)
                    if isinstance(each, ast.Name) and id(each) not in gathers
                }
                if used & names and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    yield f"{owner.name}.{node.name}"


@pytest.mark.parametrize(
    ("module", "ours"), [(base_module, TrioExchange), (client_module, TrioClient)]
)
def test_each_use_of_asyncio_in_the_base_classes_is_overridden_or_cannot_be_reached(
    module: ModuleType, ours: type
) -> None:
    names = names_of(module, "asyncio") | names_of(module, "aiohttp")
    names |= {"asyncio_loop", "Future", "Throttler"}
    users = set(functions_that_name(module, names))
    users = {each for each in users if each.split(".")[0] in ("BaseExchange", "Exchange", "Client")}
    assert users, "the search finds nothing"
    if ours is TrioClient:
        assert {each for each in UNREACHED if each.startswith("Client")} <= users
    left = {each for each in users if each.split(".")[1] not in vars(ours)}
    assert left <= set(UNREACHED), "override these: asyncio has no loop here"


@pytest.mark.parametrize("name", EXCHANGE_MODULES)
def test_an_exchange_uses_asyncio_only_to_gather(name: str) -> None:
    source = inspect.getsource(import_module(f"ccxt.{name}"))
    tree = ast.parse(source)
    uses = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "asyncio"
    }
    assert uses <= {"gather"}
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not imported & {"aiohttp", "time", "threading", "Future", "Throttler", "sleep"}
