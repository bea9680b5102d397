"""Creation, modes and owners of files that only their owner may read or write.

Directories are private in the same way: mode 0700. The umask of the process has no effect.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700
OTHERS = 0o077  # all permissions of the group and of other users
NAME_CHARS_MAX = 100  # of a file's name at the beginning of its temporary file's name


def create_file(path: Path) -> bool:
    """Create an empty file, mode 0600; return True, or False if the file exists.

    Raises:
        OSError: the file cannot be created.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, FILE_MODE)
    except FileExistsError:
        return False
    try:
        set_mode(descriptor, FILE_MODE)
    finally:
        os.close(descriptor)
    return True


def create_temporary(beside: Path) -> tuple[int, Path]:
    """Create a file with mode 0600 and a random name; return descriptor and path.

    A fixed name could exist already, made by another user or left by a crash. The caller closes
    the descriptor.

    Args:
        beside: the file that the temporary one will replace, in the same directory.

    Raises:
        OSError: the file cannot be created.
    """
    prefix = f"{beside.name[:NAME_CHARS_MAX]}."
    descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=".tmp", dir=beside.parent)
    set_mode(descriptor, FILE_MODE)
    return descriptor, Path(name)


def create_directory(path: Path) -> bool:
    """Create a directory, mode 0700; return True, or False if the directory exists.

    Missing parents are created with the same mode.

    Raises:
        OSError: a directory cannot be created, or another file has its path.
    """
    if path.is_dir():
        return False
    if not path.parent.exists():
        create_directory(path.parent)
    path.mkdir(DIRECTORY_MODE, exist_ok=True)
    set_mode(path, DIRECTORY_MODE)
    return True


def set_mode(target: Path | int, mode: int) -> None:
    """Set the mode if the file system keeps modes; otherwise do nothing.

    Args:
        target: path or descriptor of a file or directory that this user owns.
        mode: the permission bits.

    Raises:
        OSError: the target does not exist, or is on a file system that is read-only or fails.
    """
    # FAT and SMB mounts allow no change of mode; NotImplementedError: a platform without fchmod.
    with contextlib.suppress(PermissionError, NotImplementedError):
        os.chmod(target, mode)


def give_to_directory_owner(path: Path) -> None:
    """Give a file that root made in another user's directory to that user.

    Do nothing if this process is not of root. ``kamou flatten`` may run as root, and the next run
    of the directory's owner must read the files that ``kamou flatten`` wrote.

    Raises:
        OSError: the file or its directory does not exist, or the owner cannot be changed.
    """
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def is_open_to_others(path: Path) -> bool:
    """Return True if the group or other users have any permission on the path.

    Raises:
        OSError: the path does not exist or cannot be examined.
    """
    return bool(stat.S_IMODE(path.stat().st_mode) & OTHERS)


def keeps_modes(directory: Path) -> bool:
    """Return True if a new file of mode 0600 in the directory is closed to others.

    FAT, and some network and container file systems, have one mode for all files. The function
    creates a file and removes it.

    Raises:
        OSError: the file cannot be created or removed.
    """
    descriptor, path = create_temporary(directory / "modes")
    os.close(descriptor)
    try:
        return not is_open_to_others(path)
    finally:
        path.unlink()
