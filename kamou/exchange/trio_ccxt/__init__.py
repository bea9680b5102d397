"""ccxt's exchanges on Trio: no asyncio loop, and no thread of its own.

Importing this package puts light packages in the place of ccxt's own before any module of ccxt is
imported. It is the one import with a side effect, because Python decides at the first import.
"""

from __future__ import annotations

from kamou.exchange.trio_ccxt.packages import install_packages

install_packages()
