"""Reports on what lies in a store: names, shapes and sizes are fetched, and the report names URLs."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path, PurePath, PurePosixPath
from typing import Any, cast

from coldframe.checkpoint.staging import outlined
from coldframe.runtime.inspection.report import Report


class UrlPath(PurePosixPath):
    """A path that is spelled as the URL it stands for."""

    def __str__(self) -> str:
        return super().__str__().replace(":/", "://", 1)

    def __fspath__(self) -> str:
        return str(self)


def inspect_url(url: str, inspect: Callable[[str | os.PathLike[str]], Report]) -> Report:
    """Return what `inspect` says of what is at a URL; raises as it does, and `StoreError`."""
    with outlined(url) as (path, here, folder):
        return cast(Report, _relabelled(inspect(path), here, folder))


def _relabelled(value: Any, here: str, folder: str) -> Any:
    """Return a report, or a part of one, in which what lies in `here` lies in `folder`."""
    if isinstance(value, PurePath):
        text = os.fspath(value)
        return UrlPath(folder + text.removeprefix(here)) if text.startswith(here) else Path(value)
    if isinstance(value, str):
        return value.replace(here, folder)
    if isinstance(value, tuple):
        items = [_relabelled(item, here, folder) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [f.name for f in dataclasses.fields(value) if f.init]
        changed = {name: _relabelled(getattr(value, name), here, folder) for name in fields}
        return dataclasses.replace(value, **changed)
    return value
