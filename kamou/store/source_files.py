"""The search for files below the directories and files of an import.

Names that begin with a dot are left out. Directories are searched to a depth of ``LEVELS_MAX``;
links to directories are not followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import attrs

from kamou.errors import InvalidDataError
from kamou.escaping import escape_text
from kamou.store.foreign_files import SHOWN_NAME_CHARS_MAX, SourceFile, list_entries

LEVELS_MAX = 8  # of exchanges' public archives, the deepest known has 7


def find_source_files(sources: Sequence[Path], files_max: int) -> list[SourceFile]:
    """Return the files to import, each once, sorted by directory and name.

    Raises:
        InvalidDataError: a source does not exist; a directory cannot be read or is too deep; or
            there are more than ``files_max`` names in all.
    """
    found: dict[Path, SourceFile] = {}
    left = files_max
    for source in sources:
        if not source.is_dir():
            if not source.exists():
                raise InvalidDataError(
                    f"{escape_text(str(source))}: no such file or directory; name the directory of "
                    "the files"
                )
            file = _describe(source, (source.parent.name,), ())
            found[source.absolute()] = attrs.evolve(file, named=True)
            continue
        base = source.resolve().name
        prefix = (base,) if len(sources) > 1 else ()
        waiting: list[tuple[Path, tuple[str, ...]]] = [(source, ())]
        while waiting:
            directory, below = waiting.pop()
            entries = list_entries(directory, left)
            left -= len(entries)
            for path in entries:
                if path.name.startswith("."):
                    continue
                if path.is_dir() and not path.is_symlink():
                    if len(below) == LEVELS_MAX:
                        raise InvalidDataError(
                            f"{escape_text(str(path))}: deeper than {LEVELS_MAX} directories; name "
                            "the directory of the files itself"
                        )
                    waiting.append((path, (*below, path.name)))
                    continue
                file = _describe(path, (base, *below), (*prefix, *below))
                found.setdefault(path.absolute(), file)
    return sorted(found.values(), key=lambda each: (each.path.parent, each.path.name))


def _describe(path: Path, folders: tuple[str, ...], shown: tuple[str, ...]) -> SourceFile:
    name = "/".join((*shown, path.name))
    return SourceFile(
        path=path, shown=escape_text(name, chars_max=SHOWN_NAME_CHARS_MAX), folders=folders
    )
