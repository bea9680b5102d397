"""One `run` per data folder: an advisory lock that the kernel releases when its holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from kamou.errors import AlreadyRunningError
from kamou.folder import DataFolder, unwritable


class DataFolderLock:
    """Hold the data folder; use as a context manager.

    The lock belongs to the open file and not to the file's existence, so a file left behind by
    a killed process blocks nobody.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = DataFolder(folder)
        self._descriptor: int | None = None

    def __enter__(self) -> DataFolderLock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def acquire(self) -> None:
        """Take the lock and write our process id into it.

        Raises:
            AlreadyRunningError: another process holds it; names the process and the folder.
            StoreError: the folder cannot be made or written.
        """
        assert self._descriptor is None, "already held by us"
        self._folder.create()
        try:
            descriptor = os.open(self._folder.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise unwritable(self._folder.path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise AlreadyRunningError(
                f"process {holder} is already running on the data folder {self._folder.path}; "
                "stop it first, or choose another folder with --data-dir"
            ) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go. Harmless when not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)  # closing the only descriptor releases the lock
            self._descriptor = None


def lock_holder(folder: Path) -> int | None:
    """The process id that holds the folder, or None when nobody does. Takes nothing itself."""
    try:
        descriptor = os.open(DataFolder(folder).lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = os.read(descriptor, 32).decode("ascii", "replace").strip()
        return int(text) if text.isdigit() else 0
    finally:
        os.close(descriptor)
    return None
