"""`tf.compat` beside TensorFlow's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from coldframe.tf1.platform import compat

THEIRS = tf.compat
NAMES = [
    "as_bytes", "as_text", "as_str", "as_str_any", "path_to_str", "bytes_or_text_types", "complex_types",
    "forward_compatible", "integral_types", "real_types",
]  # fmt: skip
VALUES = [b"a", "é", b"\xff", bytearray(b"x"), 3, 2.5, None, Path("p"), [b"a"]]


def outcome(call: Callable[[Any], Any], value: Any) -> Any:
    try:
        return call(value)
    except (TypeError, UnicodeDecodeError) as e:
        return type(e)


@pytest.mark.parametrize("name", ["as_bytes", "as_text", "as_str", "as_str_any", "path_to_str"])
def test_conversions_as_tensorflow(name: str) -> None:
    for value in VALUES:
        assert outcome(getattr(compat, name), value) == outcome(getattr(THEIRS, name), value), value


def test_names_are_there() -> None:
    assert [n for n in NAMES if not hasattr(compat, n) or not hasattr(THEIRS, n)] == []
    assert compat.as_bytes("é", "latin-1") == THEIRS.as_bytes("é", "latin-1") == b"\xe9"
    assert compat.path_to_bytes(Path("p")) == b"p"
    assert compat.forward_compatible(2019, 1, 1)
    for value in (1, 1.5, 1j, "a", b"a", None):
        for kind in ("integral_types", "real_types", "complex_types", "bytes_or_text_types"):
            assert isinstance(value, getattr(compat, kind)) == isinstance(value, getattr(THEIRS, kind)), (value, kind)
