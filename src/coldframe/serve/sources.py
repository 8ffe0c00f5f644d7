"""Where versions of models come from: what is in a base path now.

::

    base_path/
      1/ 2/ 00000123/      a folder of versions: names that are whole numbers; anything else in it is ignored
    model.pb, model/       one model: version 1, and one more each time its files change
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from coldframe.errors import ColdframeError
from coldframe.records import dataclass
from coldframe.serve.servable import find_model

Fingerprint = tuple[tuple[str, int, int], ...]
_MAX_VERSION: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Found:
    """A version that is there.

    Attributes:
        path: its folder or file.
        fingerprint: names, sizes and times of its files: another one means that something was written.
    """

    path: Path
    fingerprint: Fingerprint


class BasePath:
    """A place to look for versions, again and again.

    Args:
        path: the base path.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._single: list[Found] = []  # of a base path that is a model itself: what it was each time

    def scan(self) -> dict[int, Found]:
        """Return what is there, by version number.

        Raises:
            OSError: the base path cannot be read.
        """
        if not self._holds_versions():
            return self._scan_single()
        found: dict[int, Found] = {}
        with os.scandir(self.path) as entries:
            for entry in entries:
                if entry.name.isascii() and entry.name.isdigit() and entry.is_dir() and int(entry.name) <= _MAX_VERSION:
                    path = Path(entry.path)
                    found[int(entry.name)] = Found(path, fingerprint(path))
        return found

    def _holds_versions(self) -> bool:
        if not self.path.is_dir():
            return False
        try:
            find_model(self.path)
        except ColdframeError:
            return True
        return False

    def _scan_single(self) -> dict[int, Found]:
        now = Found(self.path, fingerprint(self.path))
        if not self._single or self._single[-1] != now:
            self._single.append(now)
        return {len(self._single): now}


def fingerprint(path: Path) -> Fingerprint:
    """Return names, sizes and times of the files below `path`.

    Raises:
        OSError: `path` is not there.
    """
    if not path.is_dir():
        status = path.stat()
        return (("", status.st_size, status.st_mtime_ns),)
    found = []
    for folder, _, files in os.walk(path):
        for name in files:
            full = os.path.join(folder, name)
            try:
                status = os.stat(full)
            except FileNotFoundError:
                continue  # taken away between listing and looking
            found.append((os.path.relpath(full, path), status.st_size, status.st_mtime_ns))
    return tuple(sorted(found))
