"""One `run` per data directory: an advisory lock that the kernel releases when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from pathlib import Path
from types import TracebackType

from kamou.data_directory.folder import Announce, DataDirectory, unwritable
from kamou.data_directory.private_files import FILE_MODE, OTHERS, narrow
from kamou.errors import AlreadyRunningError, KamouError, StoreError

TRIES = 10  # a verb that reads the lock's holder holds the lock for microseconds
LOCK_PAUSE_S = 0.01  # between two tries


class DataFolderLock:
    """Hold the data directory; use as a context manager.

    The lock belongs to the open file and not to the file's existence, so the file of a
    killed process does not block a later run.
    """

    def __init__(self, folder: Path, *, announce: Announce = lambda line: None) -> None:
        self._folder = DataDirectory(folder)
        self._announce = announce
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
        self._folder.create(self._announce)
        descriptor = self._open()
        if not _taken(descriptor):
            words = self._refusal(descriptor)
            os.close(descriptor)
            raise AlreadyRunningError(words)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._descriptor = descriptor

    def _open(self) -> int:
        """Open the lock's file, made with mode 0600; an older one of ours is narrowed."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            descriptor = os.open(self._folder.lock, flags, FILE_MODE)
        except OSError as error:
            raise unwritable(self._folder.path, error) from error
        found = os.fstat(descriptor)
        if found.st_uid != os.geteuid():
            os.close(descriptor)
            raise StoreError(
                f"the lock {self._folder.lock} belongs to user {found.st_uid}, not to user "
                f"{os.geteuid()}; remove the file if no `kamou run` of that user is at work"
            )
        if found.st_mode & OTHERS:
            narrow(descriptor, FILE_MODE)
        return descriptor

    def _refusal(self, descriptor: int) -> str:
        stranger = _stranger(descriptor)
        if stranger is not None:
            return (
                f"process {stranger[0]} of user {stranger[1]} holds the lock {self._folder.lock} "
                "but is not a run of this user; remove that file and repeat the command"
            )
        return (
            f"process {_holder_text(descriptor) or 'unknown'} is already running on the data "
            f"directory {self._folder.path}; stop it first, or choose another with --data-dir"
        )

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)  # closing the only descriptor releases the lock
            self._descriptor = None


def lock_holder(folder: Path) -> int | None:
    """Return the id of the process that holds the data directory; None if there is none.

    The holder is the one that the file names, 0 when it names none. Whoever can open the file can
    hold the lock: who acts on the answer asks the socket for proof.

    Raises:
        KamouError: this user may not look.
    """
    path = DataDirectory(folder).lock
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


def _taken(descriptor: int) -> bool:
    """Take the lock; return False if another process keeps it."""
    for _ in range(TRIES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        threading.Event().wait(LOCK_PAUSE_S)
    return False


def _holder_text(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()


def _stranger(descriptor: int) -> tuple[int, int] | None:
    """Process and user that hold the lock, if that is another user; Linux only.

    A lock that an older version made could be opened, and so held, by every user.
    """
    inode = f":{os.fstat(descriptor).st_ino}"
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/locks").read_text(encoding="ascii").splitlines():
            fields = line.split()
            if "FLOCK" in fields and "->" not in fields and fields[5].endswith(inode):
                user = os.stat(f"/proc/{int(fields[4])}").st_uid
                return None if user == os.geteuid() else (int(fields[4]), user)
    return None
