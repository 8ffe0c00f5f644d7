"""`tf.compat`: text and bytes, from the years when Python 2 and 3 were both in use; and `tf.compat.v1`."""

from __future__ import annotations

import codecs
import importlib
import numbers
import os
from typing import Any, Final

import numpy as np

from coldframe.tf1.lazy import MissingSymbol

integral_types: Final = (numbers.Integral, np.integer)
real_types: Final = (numbers.Real, np.integer, np.floating)
complex_types: Final = (numbers.Complex, np.number)
bytes_or_text_types: Final = (bytes, str)


def __getattr__(name: str) -> Any:
    """Return ``tf.compat.v1``, the whole API again."""
    if name == "v1":
        return importlib.import_module("coldframe.tf1")
    if name == "v2":
        raise MissingSymbol("coldframe has no `tf.compat.v2`\nhint: use the name of TensorFlow 1: `tf`, `tf.compat.v1`")
    raise AttributeError(f"coldframe has no `tf.compat.{name}`")


def _encoding(name: str) -> str:
    return codecs.lookup(name).name


def as_bytes(bytes_or_text: Any, encoding: str = "utf-8") -> bytes:
    """Return bytes as they are, and text encoded; `TypeError` for anything else."""
    encoding = _encoding(encoding)
    if isinstance(bytes_or_text, bytearray):
        return bytes(bytes_or_text)
    if isinstance(bytes_or_text, str):
        return bytes_or_text.encode(encoding)
    if isinstance(bytes_or_text, bytes):
        return bytes_or_text
    raise TypeError(f"Expected binary or unicode string, got {bytes_or_text!r}")


def as_text(bytes_or_text: Any, encoding: str = "utf-8") -> str:
    """Return text as it is, and bytes decoded; `TypeError` for anything else."""
    encoding = _encoding(encoding)
    if isinstance(bytes_or_text, str):
        return bytes_or_text
    if isinstance(bytes_or_text, bytes):
        return bytes_or_text.decode(encoding)
    raise TypeError(f"Expected binary or unicode string, got {bytes_or_text!r}")


as_str = as_text


def as_str_any(value: Any, encoding: str = "utf-8") -> str:
    """Return `value` as `str` does, but bytes decoded."""
    return as_str(value, encoding) if isinstance(value, bytes) else str(value)


def path_to_str(path: Any) -> Any:
    """Return what a path object stands for, as text; anything else as it is."""
    return as_str_any(path.__fspath__()) if hasattr(path, "__fspath__") else path


def path_to_bytes(path: Any) -> bytes:
    """Return a path, of any kind, as bytes."""
    return as_bytes(os.fspath(path))


def forward_compatible(year: int, month: int, day: int) -> bool:
    """Return whether producers may use what was new on that day: always, here."""
    del year, month, day
    return True
