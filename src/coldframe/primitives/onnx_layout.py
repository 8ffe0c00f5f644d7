"""Transposes that wait: what cancels is never emitted, and what computes element by element moves before them.

TensorFlow's images are channels last, ONNX Runtime's kernels channels first. So each convolution is one between two
transposes, and between two convolutions there are additions, activations, paddings::

    Transpose Conv Transpose   Mul Add Relu   Transpose Conv Transpose

A transpose here only makes a value that remembers what it is the transpose of (`OnnxValue.turned`). Turning it back
gives the original. An elementwise node on it is emitted for the original, its constants turned the other way, and its
result is a turned value again. Reductions, paddings and concatenations name other axes. So the chain becomes::

    Transpose Conv Mul Add Relu Conv Transpose

in which ONNX Runtime folds the constants into the convolutions. What reads a turned value in any other way makes the
node: there the transpose is emitted, once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np

from coldframe.dtypes import DType
from coldframe.primitives.onnx_builder import Builder, Dims, OnnxValue, carrier

_ELEMENTWISE: Final = frozenset((
    "Abs", "Add", "Ceil", "Clip", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual",
    "HardSigmoid", "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mul", "Neg", "Not",
    "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Sub", "Tanh",
))  # fmt: skip
_SMALL: Final = 1 << 16  # elements of a constant that may be stored a second time, turned
Perm = tuple[int, ...]


class LayoutOnnx(Builder):
    """A builder whose transposes wait."""

    def __init__(self) -> None:
        super().__init__()
        self._turns: dict[tuple[int, Perm], OnnxValue] = {}  # by the source's id; each keeps its source alive

    def _turn(self, x: OnnxValue, perm: Sequence[int]) -> OnnxValue:
        """Return the transpose of `x`, of which nothing is emitted yet."""
        source = x
        p = tuple(int(i) for i in perm)
        if x.turned is not None:
            source, before = x.turned
            p = tuple(before[i] for i in p)
        if p == tuple(range(len(p))):
            return source
        if source.const is not None:
            return self.constant(source.const.transpose(p), x.dtype)
        carrier("Transpose", x.dtype)  # where there is none, this op is to be refused, not the one that reads it
        key = id(source), p
        if key not in self._turns:
            self._turns[key] = OnnxValue(self, x.dtype, tuple(source.dims[i] for i in p), turned=(source, p))
        return self._turns[key]

    def name_of(self, v: OnnxValue) -> str:
        """Return the name under which nodes read `v`; here a transpose that waited is emitted."""
        if v.name or v.turned is None:
            return super().name_of(v)
        owner = v.xp  # the model that the value belongs to, also where a subgraph reads it
        source, perm = v.turned
        v.name = owner.typed("Transpose", [source], dims=v.dims, perm=list(perm)).name
        return v.name

    def forget(self, gone: Collection[str]) -> None:
        """Forget shared nodes that made the tensors `gone`, transposes among them."""
        super().forget(gone)
        for v in self._turns.values():
            if v.name in gone:
                v.name = ""

    def typed(
        self,
        kernel: str,
        inputs: Sequence[OnnxValue],
        *,
        dims: Dims | None = None,
        dtype: DType | None = None,
        modular: bool = False,
        more: Sequence[OnnxValue | None] = (),
        **attrs: Any,
    ) -> OnnxValue:
        """Emit `kernel`, before the transposes of its inputs where it computes element by element."""
        inner, perm = self._inside(inputs) if kernel in _ELEMENTWISE else (list(inputs), None)
        if perm is None:
            return super().typed(kernel, inputs, dims=dims, dtype=dtype, modular=modular, more=more, **attrs)
        there = None if dims is None else tuple(dims[perm.index(i)] for i in range(len(perm)))
        made = super().typed(kernel, inner, dims=there, dtype=dtype, modular=modular, more=more, **attrs)
        return self._turn(made, perm)

    def cast(self, x: OnnxValue, dtype: DType) -> OnnxValue:
        """Convert before the transpose."""
        if x.turned is None:
            return super().cast(x, dtype)
        source, perm = x.turned
        done = self.cast(source, dtype)
        return x if done is source else self._turn(done, perm)

    def _inside(self, inputs: Sequence[OnnxValue]) -> tuple[list[OnnxValue], Perm | None]:
        """Return what `inputs` are the transposes of, and the permutation; None where they are not of one."""
        perms = {v.turned[1] for v in inputs if v.turned is not None}
        if len(perms) != 1:
            return list(inputs), None
        (perm,) = perms
        inner = [self._inner(v, perm) for v in inputs]
        known = [v for v in inner if v is not None]
        return (known, perm) if len(known) == len(inner) else (list(inputs), None)

    def _inner(self, v: OnnxValue, perm: Perm) -> OnnxValue | None:
        if v.turned is not None:
            return v.turned[0]
        if v.ndim == 0:
            return v
        if v.const is None or v.ndim > len(perm) or v.const.size > _SMALL:
            return None
        spread = v.const.reshape((1,) * (len(perm) - v.ndim) + v.const.shape)
        back = np.argsort(perm)
        return self.constant(v.const if spread.size == 1 else spread.transpose(back), v.dtype)


def without(perm: Sequence[int], axes: Collection[int]) -> Perm:
    """Return the permutation that is left of `perm` when its dimensions `axes` are gone."""
    kept = [p for i, p in enumerate(perm) if i not in axes]
    return tuple(sorted(kept).index(p) for p in kept)
