"""Files and folders that only their owner may read, whatever the umask of the process is."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

FILE_MODE = 0o600
FOLDER_MODE = 0o700
OTHERS = 0o077  # every permission of the group and of everybody else
NAME_CHARS_MAX = 100  # of a file's name, kept in the name of its temporary file


def create_file(path: Path) -> bool:
    """Make an empty file with mode 0600 where there is none.

    Returns:
        Whether the file was made now. A file that is there is left as it is.

    Raises:
        OSError: the file cannot be made.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, FILE_MODE)
    except FileExistsError:
        return False
    try:
        narrow(descriptor, FILE_MODE)
    finally:
        os.close(descriptor)
    return True


def create_temporary(beside: Path) -> tuple[int, Path]:
    """Open a new file with mode 0600 and a name that nobody can foresee.

    A foreseeable name could be taken, by a stranger or by the rest of an earlier crash.

    Args:
        beside: the file that the temporary one will replace; both are in one folder.

    Returns:
        The descriptor, which the caller closes, and the path.

    Raises:
        OSError: the file cannot be made.
    """
    prefix = f"{beside.name[:NAME_CHARS_MAX]}."
    descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=".tmp", dir=beside.parent)
    narrow(descriptor, FILE_MODE)
    return descriptor, Path(name)


def create_folder(path: Path) -> bool:
    """Make a folder, and the folders above it that are missing, with mode 0700.

    Returns:
        Whether the folder was made now.

    Raises:
        OSError: a folder cannot be made, or another file is in its place.
    """
    if path.is_dir():
        return False
    if not path.parent.exists():
        create_folder(path.parent)
    path.mkdir(FOLDER_MODE, exist_ok=True)
    narrow(path, FOLDER_MODE)
    return True


def narrow(target: Path | int, mode: int) -> None:
    """Set the mode, where the file system keeps modes; elsewhere do nothing.

    Args:
        target: a path or a descriptor of a file that this user owns.
        mode: the permissions.
    """
    # FAT and SMB mounts refuse a change of mode; NotImplementedError: a platform without fchmod.
    with contextlib.suppress(PermissionError, NotImplementedError):
        os.chmod(target, mode)


def give_to_folders_owner(path: Path) -> None:
    """Give a file that root made in another user's folder to that user.

    ``kamou flatten`` works as root, too; the run of the folder's owner must read what it left.

    Raises:
        OSError: the file or its folder is gone.
    """
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def is_open_to_others(path: Path) -> bool:
    """Return True if the group or others have any permission on the file or folder."""
    return bool(stat.S_IMODE(path.stat().st_mode) & OTHERS)


def keeps_modes(folder: Path) -> bool:
    """Return True if a file in this folder can be closed to others.

    FAT, and some network and container file systems, show one mode for every file.
    """
    descriptor, path = create_temporary(folder / "modes")
    os.close(descriptor)
    try:
        return not is_open_to_others(path)
    finally:
        path.unlink()
