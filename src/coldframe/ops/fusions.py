"""What frozen graphs write with many ops and ONNX Runtime computes with one: layer normalization and gelu.

Each `Fusion` is a pattern over TensorFlow's ops and what to emit for it. A rule answers None where the tensors are not
of the kind that its kernel is for; then the ops stay as they are.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from coldframe.dtypes import float32
from coldframe.ops.patterns import SAME, Any_, Found, N, Number, View, find
from coldframe.records import dataclass

X, GAMMA, BETA = Any_("x"), Any_("gamma"), Any_("beta")
Rule = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Fusion:
    """A pattern, and ``emit(xp, **tensors)`` for it, by the names that the pattern gives them."""

    pattern: N
    emit: Rule

    def needs(self) -> set[str]:
        """Return the ops that it is made of."""
        return set(_ops(self.pattern))

    def names(self, found: Found) -> list[str]:
        """Return the names of the tensors to emit for."""
        return [k for k in found if isinstance(k, str)]


def _ops(pattern: Any) -> Iterator[str]:
    if isinstance(pattern, N):
        yield pattern.op
        for p in pattern.inputs:
            yield from _ops(p)


# --- layer normalization: over the last axis --------------------------------------------------------------------------
def _layer_norm(xp: Any, x: Any, axes: Any, again: Any, epsilon: Any, gamma: Any, beta: Any) -> Any:
    """ONNX's LayerNormalization; its float32 kernel is at least as accurate as the ops are, see the tests."""
    last = {xp.rank(x) - 1}
    over = [{int(a) % xp.rank(x) for a in v.const.ravel()} if v.const is not None else None for v in (axes, again)]
    size = x.dims[-1]
    if x.dtype is not float32 or over != [last, last] or size is None:
        return None
    vectors = [_vector(xp, v, size) for v in (gamma, beta)]
    if any(v is None for v in vectors):
        return None
    return xp.typed("LayerNormalization", [x, *vectors], axis=-1, epsilon=float(epsilon))


def _vector(xp: Any, v: Any, size: int) -> Any:
    """`v` as a vector over the last axis; None where it is none."""
    if v.dtype is not float32 or v.dims[-1:] != (size,) or any(d != 1 for d in v.dims[:-1]):
        return None
    return v if v.ndim == 1 else xp.reshape(v, [size])


def _normed(kind: str) -> N:
    """A pattern: `tf.nn.moments` and, after it, what TensorFlow (``nn``) or Keras (``keras``) makes of them."""
    mean = N("Mean", X, Any_("axes"), keep_dims=True)
    variance = N("Mean", N("SquaredDifference", X, mean), Any_("again"), keep_dims=True)
    scale = N("Mul", N("Rsqrt", N("Add", variance, Number(name="epsilon"))), GAMMA)
    if kind == "nn":
        return N("Add", N("Mul", X, scale), N("Sub", BETA, N("Mul", mean, scale)))
    return N("Add", N("Mul", X, scale), N("Add", N("Mul", N("Neg", mean), scale), BETA))


def _divided() -> N:
    """A pattern: gamma * (x - mean) / sqrt(variance + epsilon) + beta."""
    mean = N("Mean", X, Any_("axes"), keep_dims=True)
    centred = N("Sub", X, mean)
    variance = N("Mean", N("Square", centred), Any_("again"), keep_dims=True)
    normal = N("Div", centred, N("Sqrt", N("Add", variance, Number(name="epsilon"))))
    return N("Add", N("Mul", normal, GAMMA), BETA)


# --- gelu: x * Phi(x), and its approximation by tanh ------------------------------------------------------------------
def _gelu(xp: Any, x: Any, *, approximate: str) -> Any:
    return xp.typed("Gelu", [x], approximate=approximate) if x.dtype is float32 else None


def _halves(of: N) -> tuple[N, ...]:
    """The ways to write x * (1 + of) / 2."""
    half, one = Number(0.5), N("Add", of, Number(1.0))
    return N("Mul", X, N("Mul", one, half)), N("Mul", N("Mul", X, half), one), N("Mul", N("Mul", X, one), half)


def _gelus() -> list[Fusion]:
    root = 1 / math.sqrt(2)
    cube = N("Mul", N("Pow", X, Number(3.0)), Number(0.044715))
    tanh = N("Tanh", N("Mul", N("Add", X, cube), Number(math.sqrt(2 / math.pi))))
    normal = (N("Erf", N("Mul", X, Number(root))), N("Erf", N("Div", X, Number(1 / root))))
    tail = N("Erfc", N("Mul", N("Neg", X), Number(root)))
    exact = [*_halves(normal[0]), *_halves(normal[1]), N("Mul", N("Mul", X, Number(0.5)), tail)]
    rules = {"tanh": _halves(tanh), "none": exact}
    return [Fusion(p, functools.partial(_gelu, approximate=a)) for a, patterns in rules.items() for p in patterns]


FUSIONS = (
    Fusion(_normed("nn"), _layer_norm),
    Fusion(_normed("keras"), _layer_norm),
    Fusion(_divided(), _layer_norm),
    *_gelus(),
)


def fusions(ops: Iterable[str]) -> Mapping[str, list[Fusion]]:
    """Return what may be found among nodes of `ops`, by the op of the last node."""
    there = {SAME.get(op, op) for op in ops}
    found: dict[str, list[Fusion]] = {}
    for fusion in FUSIONS:
        if fusion.needs() <= there:
            found.setdefault(fusion.pattern.op, []).append(fusion)
    return found


def fused(
    xp: Any, found: Mapping[str, Sequence[Fusion]], op: str, root: Any, view: View, tensor: Callable[[Any], Any]
) -> Any:
    """Return a better value for tensor `root`, which a node of `op` makes; None where no pattern is found.

    Args:
        xp: the interpreter.
        found: what may be found, of `fusions`.
        op: the name of the op.
        root: the tensor.
        view: the graph around it.
        tensor: the value of a tensor.
    """
    for fusion in found.get(SAME.get(op, op), ()):
        names = find(fusion.pattern, root, view)
        if names is None:
            continue
        values = {k: tensor(names[k]) for k in fusion.names(names)}
        if "epsilon" in values:
            values["epsilon"] = values["epsilon"].const.ravel()[0]
        out = fusion.emit(xp, **values)
        if out is not None:
            return out
    return None
