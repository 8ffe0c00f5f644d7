"""Names that programs only mention, or that another one has replaced."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from coldframe.tf1.framework.graph import name_scope


class GradientTape:
    """TensorFlow 2's way to gradients; graphs have `tf.gradients`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("coldframe.tf1 builds graphs: use tf.gradients(ys, xs) instead of tf.GradientTape")


@contextlib.contextmanager
def op_scope(values: Any, name: Any, default_name: Any = None) -> Iterator[str]:
    """Open a name scope (an older order of arguments)."""
    with name_scope(name, default_name, values) as scope:
        yield scope


def _no_build(*_: Any) -> Any:
    raise NotImplementedError("coldframe has no C++ headers or library to build custom ops against")


sysconfig = SimpleNamespace(get_include=_no_build, get_lib=_no_build, get_compile_flags=_no_build)
