"""The lock of a data directory, and the process that holds it.

The kernel releases the lock when that process ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from pathlib import Path
from types import TracebackType

from kamou.data_directory.folder import Announce, DataDirectory, write_error
from kamou.data_directory.private_files import FILE_MODE, OTHERS, set_mode
from kamou.errors import AlreadyRunningError, KamouError, StoreError

TRIES = 10  # a verb that reads the holder's process id has the lock for microseconds
LOCK_PAUSE_S = 0.01  # between two tries


class DataDirectoryLock:
    """The exclusive lock of a data directory, as a context manager.

    The lock belongs to the open file, so the file that a killed process left does not block a
    later run.
    """

    def __init__(self, path: Path, *, announce: Announce = lambda _line: None) -> None:
        self._data_dir = DataDirectory(path)
        self._announce = announce
        self._descriptor: int | None = None

    def __enter__(self) -> DataDirectoryLock:
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
        """Take the lock and write this process's id into its file.

        ``DataDirectory.create`` first creates the directory, or closes it to other users.

        Raises:
            AlreadyRunningError: another process holds the lock.
            StoreError: the directory cannot be used (``DataDirectory.create``), or the lock's file
                cannot be opened or belongs to another user.
            OSError: the id cannot be written, such as on a full disk.
        """
        assert self._descriptor is None, "this object holds the lock already"
        self._data_dir.create(self._announce)
        descriptor = self._open()
        if not _take_lock(descriptor):
            words = self._describe_holder(descriptor)
            os.close(descriptor)
            raise AlreadyRunningError(words)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._descriptor = descriptor

    def _open(self) -> int:
        """Open the lock's file, and create it with mode 0600 if it is missing.

        An existing file that other users may read or write gets that mode, too.

        Raises:
            StoreError: the file cannot be opened, or belongs to another user.
        """
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self._data_dir.lock, flags, FILE_MODE)
        except OSError as error:
            raise write_error(self._data_dir.path, error) from error
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid():
            os.close(descriptor)
            raise StoreError(
                f"the lock {self._data_dir.lock} belongs to user {found.st_uid}, not to user "
                f"{os.geteuid()}; stop any Kamou process of that user, then remove the file"
            )
        if found.st_mode & OTHERS:
            set_mode(descriptor, FILE_MODE)
        return descriptor

    def _describe_holder(self, descriptor: int) -> str:
        """Return the error's text: the process that holds the lock, and the next step."""
        other = _other_users_process(descriptor)
        if other is not None:
            return (
                f"process {other[0]} of user {other[1]} holds the lock {self._data_dir.lock} "
                "but is not a run of this user; remove that file and repeat the command"
            )
        return (
            f"process {_holder_text(descriptor) or '(id unknown)'} is already running on the data "
            f"directory {self._data_dir.path}; stop that process first, or "
            "choose another data directory with --data-dir"
        )

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)  # closing the only descriptor releases the lock
            self._descriptor = None


def lock_holder(directory: Path) -> int | None:
    """Return the id of the process that holds the lock; None if none is known.

    Return None if no process holds the lock, or if its file is missing or cannot be opened for
    another reason than its permissions. The id is the one in the file, or 0 if the file has none.
    Every process that can open the file can hold the lock, so a caller that sends commands checks
    the socket's peer as well.

    Raises:
        KamouError: this user has no permission to open the file.
    """
    path = DataDirectory(directory).lock
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        raise KamouError(
            f"cannot open the lock {path}: {error.strerror}; run this as the user of the run"
        ) from error
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        text = _holder_text(descriptor)
        return int(text) if text.isdigit() else 0
    finally:
        os.close(descriptor)
    return None


def _take_lock(descriptor: int) -> bool:
    """Take the lock; return False if another process holds it through all tries."""
    for _ in range(TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        threading.Event().wait(LOCK_PAUSE_S)
    return False


def _holder_text(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()


def _other_users_process(descriptor: int) -> tuple[int, int] | None:
    """Return the ids of process and user that hold the lock, if the user is another.

    Return None if the holder is this user, or unknown: only Linux's /proc/locks names the process.
    A lock file of an older version can be opened, and so locked, by every user.
    """
    inode = f":{os.fstat(descriptor).st_ino}"
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if "FLOCK" in fields and "->" not in fields and fields[5].endswith(inode):
                user = os.stat(f"/proc/{int(fields[4])}").st_uid
                return None if user == os.geteuid() else (int(fields[4]), user)
    return None
