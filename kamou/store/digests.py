"""Digests of datasets, and the registry of the datasets that this store wrote.

This store checks every row of a dataset before it registers the dataset. ``market/digests`` of the
data directory has a line for each of the newest ``DIGESTS_MAX`` registered datasets: the SHA-256
over its ``meta.json`` and its files of data. A dataset with a registered digest is loaded without
checking its rows again, wherever it is. All other files are checked. The registry is outside of the
datasets' directories, so a directory from elsewhere cannot register itself.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from kamou.data_directory.folder import write_atomically
from kamou.errors import InvalidDataError
from kamou.store.dataset_description import FILES, META, OPTIONAL_FILES
from kamou.store.foreign_files import file_sha256, read_bounded

REGISTRY = "digests"
DIGESTS_MAX = 10_000  # the newest; a dataset that is no longer listed is checked when opened
LINE_BYTES = 65  # 64 hexadecimal digits and a line end
_LINE = re.compile(r"[0-9a-f]{64}")


def dataset_digest(directory: Path, bytes_max: int) -> str:
    """Return the digest of a dataset, over the names and hashes of its files.

    Of ``OPTIONAL_FILES`` those count that are there, whether ``meta.json`` names them or not.

    Raises:
        InvalidDataError: a file is missing, not a regular file, or larger than ``bytes_max``.
    """
    names = [META, *FILES, *(name for name in OPTIONAL_FILES if (directory / name).exists())]
    lines = [f"{name} {file_sha256(directory / name, bytes_max)}\n" for name in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def is_registered(market: Path, digest: str) -> bool:
    """Return True if the registry has this digest of a dataset.

    Return False if the registry is missing or unreadable.
    """
    return digest in _read(market)


def register_digest(market: Path, digest: str) -> None:
    """Add a digest to the registry, durably, as the newest.

    If the registry is full, the oldest digest is dropped. The caller holds the lock of ``market``.

    Raises:
        OSError: the registry cannot be written.
    """
    known = [each for each in _read(market) if each != digest]
    lines = "".join(f"{each}\n" for each in [*known, digest][-DIGESTS_MAX:])
    write_atomically(market / REGISTRY, lines)


def _read(market: Path) -> list[str]:
    path = market / REGISTRY
    if not path.exists():
        return []
    try:
        content = read_bounded(path, DIGESTS_MAX * LINE_BYTES)
    except InvalidDataError:
        return []
    return [
        line for line in content.decode("ascii", "replace").split("\n") if _LINE.fullmatch(line)
    ]
