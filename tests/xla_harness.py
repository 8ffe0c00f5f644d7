"""Hold rows of the op tests on XLA: right, or refused, never wrong."""

from __future__ import annotations

import dataclasses
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from coldframe.engines.xla import FAILURES, exact
from coldframe.errors import ColdframeError
from coldframe.ops import table
from coldframe.ops.call import Call
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.jax_base import JaxList, traced
from coldframe.primitives.jax_xp import JaxPrimitives
from op_harness import Row, bound, compare, from_tensorflow


class BrokenPromise(Exception):  # noqa: N818 - what the engine turns into a run on numpy
    """Values turned out to be none that the op takes."""


def run_xla(call: Call, flat: list[Any], known: frozenset[int]) -> list[Any]:
    """Compile `call` and run it; inputs at the places `known` are known when compiling, the others flow in."""
    fed = [i for i in range(len(flat)) if i not in known]

    def program(args: list[Any]) -> Any:
        xp, values = JaxPrimitives(), list(flat)
        for i, a in zip(fed, args, strict=True):
            values[i] = a
        made = call.run(xp, values, aspect="jax")
        outs = [o if traced(o) else np.asarray(o) for o in made]
        for (arg, dtype), o in zip(call.outputs, outs, strict=True):
            if isinstance(o, JaxList) or o.dtype != dtype.numpy:
                raise Unlowerable(f"output {arg.name}")
        ok = np.True_
        for p in xp.promises:
            ok = ok & p
        return outs, ok

    with exact(), jax.numpy_dtype_promotion("strict"):
        outs, ok = jax.jit(program)([flat[i] for i in fed])
        if not ok:
            raise BrokenPromise
        return [np.asarray(o) for o in outs]


def compiled(row: Row) -> bool:
    """Whether the engine would try the row's op."""
    op = table()[row.op]
    return not op.random and ("jax" in op.rules or not (op.host or op.stateful or op.effect))


def check(row: Row) -> None:
    """Assert that XLA gives TensorFlow's answer, or none."""
    if not compiled(row):
        return
    call, flat = bound(row)
    if any(dtype.kind in "so" for _, dtype in call.inputs + call.outputs):
        return
    want = from_tensorflow(row)
    static = frozenset(call.static_inputs())
    shapes = frozenset(i for i, a in enumerate(flat) if a.dtype.kind in "iu" and a.ndim < 2 and a.size < 9)
    for known in dict.fromkeys([static, static | shapes] if len(shapes) < len(flat) else [static]):
        try:
            got = run_xla(call, flat, known)
        except (Unlowerable, BrokenPromise, ColdframeError, *FAILURES) as e:
            REFUSED.append((row, str(e)))
            continue
        _hold(row, call, got, want)


def _hold(row: Row, call: Call, got: list[Any], want: list[Any] | None) -> None:
    if want is None:
        assert call.op.lenient, f"TensorFlow refuses {row}, XLA answers {got}"
    else:
        compare(row, call, got, want, "xla")
        RIGHT.append(row)


RIGHT: list[Row] = []
REFUSED: list[tuple[Row, str]] = []


@dataclasses.dataclass(frozen=True)
class Held:
    """A test of an op, with the row it is given, that asks one engine instead of the other interpreters."""

    run: Callable[[Row], None]
    row: Row

    def __str__(self) -> str:
        return str(self.row)


def all_tests(check: Callable[[Row], None] = check, tried: Callable[[Row], bool] = compiled) -> Iterator[Held]:
    """The op tests that check one row, for ops that an engine would try; it is asked by `check`."""
    for path in sorted((Path(__file__).parent / "ops").glob("test_*.py")):
        if "@rows(" not in path.read_text():
            continue
        module = _load(path)
        module.check = check
        for test in vars(module).values():
            if "check" not in getattr(getattr(test, "__code__", None), "co_names", ()):
                continue  # it may hold what crashes TensorFlow
            if list(inspect.signature(test).parameters) == ["row"]:
                rows = [r for mark in test.pytestmark if mark.name == "parametrize" for r in mark.args[1]]
                yield from (Held(test, r) for r in rows if tried(r))


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"rows_of_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module
