"""Datasets of what a query finds in an SQLite database, where the session allows reading the file.

The database is opened for reading, and a query may do nothing but select: it can neither change the database nor attach
another one. Values are converted as SQLite's C interface converts them: text to a number by the digits it begins with,
what is missing to 0 or an empty string, and integers keep their lowest bits.
"""

from __future__ import annotations

import itertools
import re
import sqlite3
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops.dataset_core import HINTS, Dataset, Element, Elements, Work, within
from coldframe.ops.dataset_files import text
from coldframe.ops.state import State
from coldframe.ops.table import alias, op
from coldframe.primitives.base import refuse

_SELECTING: Final = (
    sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE
)  # fmt: skip
_KINDS: Final = (
    dtypes.string, dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64, dtypes.uint8, dtypes.uint16, dtypes.bool_,
    dtypes.float64,
)  # fmt: skip
_INTEGER: Final = re.compile(rb"[ \t\n\v\f\r]*([+-]?\d+)")
_REAL: Final = re.compile(rb"[ \t\n\v\f\r]*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")
_LEAST, _MOST = -(1 << 63), (1 << 63) - 1


@op("SqlDataset", shape="-> []", stateful=True, ignores=tuple(h for h in HINTS if h != "output_types"))
def sql_dataset(
    xp: Any, state: State, driver_name: Any, data_source_name: Any, query: Any, *, output_types: tuple[DType, ...]
) -> Any:
    """The rows that a query of an SQLite database finds."""
    if text(driver_name) != "sqlite":
        raise refuse("`driver_name`", expected="`sqlite`", found=f"`{text(driver_name)}`")
    for kind in output_types:
        if kind not in _KINDS:
            raise refuse("the dtype of a column", expected=f"one of {', '.join(map(str, _KINDS))}", found=kind)
    name, asked = bytes(np.asarray(data_source_name, object).item()), text(query)

    return Dataset(lambda work: _Found(work, name, asked, output_types))


class _Found(Elements):
    """The rows that a query finds; `at` counts those that were given."""

    parts: ClassVar = {"at": int}

    def __init__(self, work: Work, name: bytes, query: str, types: tuple[DType, ...]) -> None:
        self._work, self._name, self._query, self._types = work, name, query, types
        self._rows: sqlite3.Cursor | None = None
        self.at = 0

    def __next__(self) -> Element:
        try:
            if self._rows is None:
                self._rows = self._begun()
            row = next(self._rows)
        except sqlite3.Error as e:
            raise refuse(f"the query of `{self._name.decode('utf-8', 'replace')}`", found=str(e)) from e
        if len(row) != len(self._types):
            raise refuse("columns that the query finds", expected=len(self._types), found=len(row))
        self.at += 1
        return tuple(_converted(v, t) for v, t in zip(row, self._types, strict=True))

    def _begun(self) -> sqlite3.Cursor:
        path = Path(self._work.state.readable(self._name)).absolute()
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, check_same_thread=False)
        connection.text_factory = bytes
        connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_OK if action in _SELECTING else sqlite3.SQLITE_DENY)
        return connection.execute(self._query)

    def load(self, saved: Any) -> None:
        at = self.opened(saved)["at"]
        self._rows = self._begun() if at else None
        skipped = sum(1 for _ in itertools.islice(self._rows or (), max(at, 0)))
        self.at = within(at, 0, skipped)


def _converted(value: Any, dtype: DType) -> Any:
    if dtype is dtypes.string:
        return np.array(_as_text(value), object)
    if dtype is dtypes.float64:
        return np.array(_as_real(value), np.float64)
    whole = _as_integer(value)
    if dtype is dtypes.bool_:
        return np.array(whole != 0)
    return np.array(whole, np.int64).astype(dtype.numpy)


def _as_integer(value: Any) -> int:
    if isinstance(value, float):
        return 0 if value != value else int(min(max(value, _LEAST), _MOST))
    if isinstance(value, bytes):
        found = _INTEGER.match(value)
        return min(max(int(found[1]), _LEAST), _MOST) if found else 0
    return int(value or 0)


def _as_real(value: Any) -> float:
    if isinstance(value, bytes):
        found = _REAL.match(value)
        return float(found[1]) if found else 0.0
    return float(value or 0)


def _as_text(value: Any) -> bytes:
    if not isinstance(value, float):
        return value if isinstance(value, bytes) else b"" if value is None else str(value).encode()
    digits, mark, power = f"{value:.15g}".partition("e")
    return f"{digits}{'' if '.' in digits or 'n' in digits else '.0'}{mark}{power}".encode()


experimental_sql = alias("ExperimentalSqlDataset", sql_dataset)
