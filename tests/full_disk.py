"""A small file system that a test can fill: a tmpfs, which only root can mount."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

LEFT_BYTES = 12 * 1024  # free space on a full disk: too little for SQLite's shared memory
FILLER = "filler"


@contextmanager
def small_disk(at: Path, size: int) -> Iterator[Path]:
    """Mount a file system of ``size`` bytes; skip the test if the mount fails."""
    at.mkdir()
    options = f"size={size // 1024}k"
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(at)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        yield at
    finally:
        subprocess.run(["umount", "-l", str(at)], check=True)


def fill(disk: Path, left: int = LEFT_BYTES) -> None:
    """Fill the disk until at most ``left`` bytes are free."""
    found = os.statvfs(disk)
    (disk / FILLER).write_bytes(bytes(max(0, found.f_bavail * found.f_bsize - left)))


def free(disk: Path) -> None:
    (disk / FILLER).unlink()
