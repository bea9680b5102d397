"""The stand-ins for ccxt's packages."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from kamou.exchange.trio_ccxt.packages import load_exchange_class
import ccxt, ccxt.async_support, ccxt.pro
futures = load_exchange_class("kucoinfutures")
assert ccxt.pro.kucoinfutures is futures
assert issubclass(futures, ccxt.async_support.kucoin)
assert issubclass(futures, ccxt.async_support.Exchange)
assert ccxt.Exchange.__module__ == "ccxt.base.exchange"
assert ccxt.NetworkError is ccxt.pro.NetworkError
assert ccxt.TRUNCATE == 0
for name in ("no_such_exchange", "__no_such__"):
    assert not hasattr(ccxt.pro, name)
print(*sorted(name for name in sys.modules if name.startswith("ccxt.async_support.")
              and name.count(".") == 2))
"""

STOCK_FIRST = """
import ccxt, ccxt.async_support
before = ccxt.async_support.kucoin
from kamou.exchange.trio_ccxt.packages import LazyPackage, load_exchange_class
assert not isinstance(ccxt, LazyPackage)
assert issubclass(load_exchange_class("kucoinfutures"), before)
print("stock")
"""


def run(program: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_one_exchange_is_loaded_without_the_others_and_the_names_of_ccxt_are_there() -> None:
    assert run(PROGRAM) == "ccxt.async_support.base ccxt.async_support.kucoin"


def test_packages_that_are_already_imported_stay_as_they_are() -> None:
    assert run(STOCK_FIRST) == "stock"
