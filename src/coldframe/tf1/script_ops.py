"""Python functions as nodes: `py_func`, `py_function`. They belong to the program: a file has only names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from coldframe.tf1.data.functions import python_call
from coldframe.tf1.framework.convert import convert_n
from coldframe.tf1.framework.dtype import as_dtype


def py_func(func: Callable[..., Any], inp: Any, Tout: Any, stateful: bool = True, name: str | None = None) -> Any:
    """Return what a Python function of arrays returns, as tensors.

    Args:
        func: gets an array per input (``bytes`` for a string scalar); returns an array, or a list of them.
        inp: tensors.
        Tout: the dtype of what it returns, or a list of dtypes.
        stateful: whether it may return something else for equal inputs.
        name: of the node.

    Returns:
        A tensor; a list where `Tout` is one.
    """
    return _call(func, inp, Tout, stateful, name, "")


def py_function(func: Callable[..., Any], inp: Any, Tout: Any, name: str | None = None) -> Any:
    """Return what a Python function returns; its inputs are arrays that have a method ``numpy()`` too."""

    def adapted(*arrays: Any) -> Any:
        made = func(*(_Array.of(a) for a in arrays))
        if not isinstance(Tout, (list, tuple)) or len(Tout) == 1:
            return np.asarray(made[0] if isinstance(made, (list, tuple)) else made, _numpy(_types(Tout)[0]))
        return [np.asarray(m, _numpy(t)) for m, t in zip(made, _types(Tout), strict=True)]

    return _call(adapted, inp, Tout, True, name, "EagerPyFunc")


def numpy_function(
    func: Callable[..., Any], inp: Any, Tout: Any, stateful: bool = True, name: str | None = None
) -> Any:
    """Return what a Python function of arrays returns; as `py_func`."""
    return py_func(func, inp, Tout, stateful, name)


def _types(kinds: Any) -> list[Any]:
    return [as_dtype(k) for k in (kinds if isinstance(kinds, (list, tuple)) else [kinds])]


def _numpy(dtype: Any) -> Any:
    return None if dtype.kind == "s" else dtype.numpy


def _call(func: Any, inp: Any, kinds: Any, stateful: bool, name: str | None, op: str) -> Any:
    inputs = convert_n(inp if isinstance(inp, (list, tuple)) else [inp])
    made = python_call(func, inputs, _types(kinds), stateful=stateful, name=name, op=op)
    if isinstance(kinds, (list, tuple)):
        return made
    return made[0] if made else None


class _Array(np.ndarray):
    """An array with the method that programs ask eager tensors for."""

    @staticmethod
    def of(value: Any) -> Any:
        return np.asarray(value).view(_Array)

    def numpy(self) -> Any:
        """Return the plain array; a scalar for rank 0."""
        plain = self.view(np.ndarray)
        return plain[()] if not plain.ndim else plain


__all__ = ["numpy_function", "py_func", "py_function"]
