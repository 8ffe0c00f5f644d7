"""Python functions of the program that made the graph, called as ops.

A node holds a token, never code. The functions belong to the session that the program made, under their tokens; a
graph from a file finds none and is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe.dtypes import DType, string
from coldframe.errors import ColdframeError, EndOfInputError, ExecutionError
from coldframe.ops.state import State
from coldframe.ops.table import Op, alias, op


@op("PyFunc", no_gradient=True, stateful=True, effect=True, role="python")
def py_func(xp: Any, state: State, input: list[Any], *, token: str, Tout: tuple[DType, ...]) -> list[Any]:
    """What a Python function returns for the inputs as arrays (strings: ``bytes``, or arrays of them)."""
    function = state.python_function(token)
    try:
        made = function(*(_handed(v) for v in input))
    except StopIteration as e:
        raise EndOfInputError("the Python function has no more to give", found=str(e) or "StopIteration") from e
    except ColdframeError:
        raise
    except Exception as e:
        raise ExecutionError(f"the Python function raised {type(e).__name__}: {e}") from e
    results = list(made) if isinstance(made, (list, tuple)) and len(Tout) != 1 else [made] if Tout else []
    if len(Tout) == 1 and isinstance(made, (list, tuple)) and len(made) == 1:
        results = list(made)
    if len(results) != len(Tout):
        raise ExecutionError("the Python function returned", expected=f"{len(Tout)} values", found=len(results))
    return [_taken(v, d, i) for i, (v, d) in enumerate(zip(results, Tout, strict=True))]


def _handed(value: Any) -> Any:
    """Return an input as the function may keep and change it."""
    a = np.asarray(value)
    return a[()] if not a.ndim and a.dtype.kind == "O" else a.copy()


def _taken(value: Any, dtype: DType, i: int) -> Any:
    a = np.asarray(value)
    if dtype is string:
        flat = [v.encode() if isinstance(v, str) else v for v in a.ravel().tolist()]
        bad = next((v for v in flat if not isinstance(v, bytes)), None)
        if bad is None:
            out = np.empty(len(flat), object)
            out[:] = flat
            return out.reshape(a.shape)
        a = np.asarray(bad)
    elif a.dtype == dtype.numpy:
        return a.copy() if a is value else a
    elif not isinstance(value, (np.ndarray, np.generic)) and _plain(a, dtype):
        return a.astype(dtype.numpy)
    raise ExecutionError(f"value {i} of what the Python function returned", expected=dtype, found=a.dtype)


def _plain(a: Any, dtype: DType) -> bool:
    """Whether a Python number may become `dtype`: Python has one kind of integer, and one of float."""
    return (
        not a.size
        or (a.dtype.kind in "iuf" and np.can_cast(a.dtype, dtype.numpy, "same_kind"))
        or (a.dtype.kind == "i" and dtype.numpy.kind in "iu")
    )


OTHERS: list[Op] = [
    alias("PyFuncStateless", py_func, no_gradient=True),
    alias("EagerPyFunc", py_func, no_gradient=False, ignores=("is_async",)),
]
