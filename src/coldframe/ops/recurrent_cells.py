"""One step of a recurrent layer, found in the body of a loop: LSTM, GRU, and the plain cell.

::

    LSTM     c' = f * c + i * g(u)     h' = o * g(c')
    GRU      h' = z * h + (1 - z) * g(n)        n of (x, r * h), or x's part of n + r * (h's part)
    plain    h' = g(u)

What goes into the gates is read as sums of products, not as a pattern: `x`, `h` or ``r * h``, or several of them side
by side, times matrices, plus biases, and columns of that. So it does not matter which of them are computed together,
in which order the gates lie, nor where biases are added. The weights are whatever the loop does not change, and what is
made of that; they are computed when the layer is (`Given`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, Protocol

import numpy as np

from coldframe.graph.names import TensorRef
from coldframe.ops.patterns import SAME, View
from coldframe.records import dataclass

Array = np.ndarray[Any, Any]
ACTIVATIONS: Final = frozenset(("Tanh", "Relu", "Sigmoid"))  # called in ONNX as in TensorFlow
_SUMS: Final = frozenset(("Add", "BiasAdd"))


class Function(View, Protocol):
    """A function of the graph. Ops with several outputs are called by name and number of the output: ``Split:1``."""

    inputs: tuple[TensorRef, ...]
    outputs: tuple[TensorRef, ...]

    def ops(self) -> AbstractSet[str]:
        """Return the names of its ops."""

    def pure(self) -> bool:
        """Return whether its results are all that it does, and depend on its arguments alone."""

    def behind(self, ref: TensorRef) -> frozenset[TensorRef] | None:
        """Return the arguments that a tensor is computed of; None where what computes it is not pure."""

    def fold(self, ref: TensorRef, given: Mapping[TensorRef, Array]) -> Array | None:
        """Return a tensor's value, of values for arguments; None where one is missing."""


class Given(Protocol):
    """What is known when a layer is computed."""

    def value(self, ref: TensorRef) -> Array:
        """Return the value of something that the loop does not change; raise `Unknown` where it is not there."""

    def size(self, ref: TensorRef) -> int:
        """Return how many columns a tensor has of which weights are multiplied; raise `Unknown`."""


class Unknown(Exception):  # noqa: N818 - it says that a layer cannot be computed as one
    """A weight or a size is not known, or does not fit."""


Weights = Callable[[Given], Array]


@dataclass(frozen=True, slots=True)
class Affine:
    """A sum of products and biases.

    Attributes:
        terms: the tensors that are multiplied, with their matrices, float32[columns of the tensor, columns].
        biases: vectors, or single numbers.
    """

    terms: Mapping[TensorRef, tuple[Weights, ...]]
    biases: tuple[Weights, ...]

    def plus(self, other: Affine) -> Affine:
        terms = dict(self.terms)
        for r, w in other.terms.items():
            terms[r] = (*terms.get(r, ()), *w)
        return Affine(terms, self.biases + other.biases)

    def changed(self, how: Callable[[Array], Array]) -> Affine:
        """Return it with other columns."""
        terms = {r: tuple(functools.partial(_then, f, how) for f in w) for r, w in self.terms.items()}
        return Affine(
            terms, tuple(functools.partial(_then, f, functools.partial(_unless_one, how)) for f in self.biases)
        )

    def matrix(self, refs: Sequence[TensorRef], given: Given, size: int) -> Array:
        """Return the weights of tensors, one below the other, float32[columns of them, size]."""
        rows = []
        for r in refs:
            whole = np.zeros((given.size(r), size), np.float32)
            for f in self.terms.get(r, ()):
                w = f(given)
                if w.shape != whole.shape or w.dtype != np.float32:
                    raise Unknown
                whole = whole + w
            rows.append(whole)
        return np.concatenate(rows)

    def bias(self, given: Given, size: int) -> Array:
        """Return the sum of the biases, float32[size]."""
        whole = np.zeros(size, np.float32)
        for f in self.biases:
            b = f(given)
            if b.dtype != np.float32 or b.size not in (1, size) or b.size != (b.shape[-1] if b.ndim else 1):
                raise Unknown
            whole = whole + b.reshape(-1)
        return whole


def _unless_one(how: Callable[[Array], Array], bias: Array) -> Array:
    return how(bias) if bias.size > 1 else bias


def _then(first: Weights, then: Callable[[Array], Array], given: Given) -> Array:
    return then(first(given))


@dataclass(frozen=True, slots=True)
class Cell:
    """A step.

    Attributes:
        kind: ``LSTM``, ``GRU`` or ``RNN``, as ONNX calls them.
        h: the output that it makes.
        c: the cell that an LSTM makes.
        states: the arguments that h, and c, start from.
        xs: the tensors that come in, but for the state.
        gates: in ONNX's order.
        inner: of a GRU that resets after the product: what it multiplies with the gate.
        reset: of any other GRU, what it resets.
        activation: of all that is not a gate.
    """

    kind: str
    h: TensorRef
    c: TensorRef | None
    states: tuple[TensorRef, ...]
    xs: tuple[TensorRef, ...]
    gates: tuple[Affine, ...]
    activation: str
    inner: Affine | None = None
    reset: TensorRef | None = None


@dataclass(frozen=True, slots=True)
class Cells:
    """Looks for steps in the body of a loop.

    Attributes:
        body: the body.
        stays: the arguments that the loop hands on.
    """

    body: Function
    stays: frozenset[TensorRef]

    def find(self, h: TensorRef, state: TensorRef) -> Cell | None:
        """Return the step that makes `h`, where `state` is the argument that it starts from; None where none does."""
        return self._lstm(h, state) or self._gru(h, state) or self._plain(h, state)

    # --- kinds of cells ------------------------------------------------------------------------------------------
    def _lstm(self, h: TensorRef, state: TensorRef) -> Cell | None:
        for shown, o in self._pair(h, "Mul"):
            made = self._node(shown)
            out = self._gate(o, "Sigmoid")
            if made is None or made[0] not in ACTIVATIONS or out is None:
                continue
            c = self.body.origin(made[1][0])
            for kept, new in self._pair(c, "Add"):
                for f, old in self._pair(kept, "Mul"):
                    for i, u in self._pair(new, "Mul"):
                        gates = [self._gate(r, op) for r, op in ((i, "Sigmoid"), (f, "Sigmoid"), (u, made[0]))]
                        if old in self.body.inputs and old != state and old not in self.stays and None not in gates:
                            order = (gates[0], out, gates[1], gates[2])
                            return self._cell("LSTM", h, c, (state, old), order, made[0])
        return None

    def _gru(self, h: TensorRef, state: TensorRef) -> Cell | None:
        for kept, new in self._pair(h, "Add"):
            for z, old in self._pair(kept, "Mul"):
                update = self._gate(z, "Sigmoid") if old == state else None
                if update is None:
                    continue
                for rest, n in self._pair(new, "Mul"):
                    made = self._node(n)
                    if self._rest(rest) == z and made is not None and made[0] in ACTIVATIONS:
                        found = self._candidate(h, state, update, made[1][0], made[0])
                        if found is not None:
                            return found
        return None

    def _rest(self, ref: TensorRef) -> TensorRef | None:
        """Return what `ref` is one minus of."""
        node = self._node(ref)
        if node is None or node[0] != "Sub":
            return None
        one = self.body.value(self.body.origin(node[1][0]))
        return self.body.origin(node[1][1]) if one is not None and one.size == 1 and one == 1 else None

    def _candidate(self, h: TensorRef, state: TensorRef, z: Affine, n: TensorRef, activation: str) -> Cell | None:
        whole = self.affine(n)
        if whole is not None:
            for m in whole.terms:
                for r, old in self._pair(m, "Mul"):
                    reset = self._gate(r, "Sigmoid") if old == state else None
                    if reset is not None and state not in whole.terms:
                        return self._cell("GRU", h, None, (state,), (z, reset, whole), activation, reset=m)
            return None
        for x, product in self._pair(n, "Add"):
            for r, part in self._pair(product, "Mul"):
                reset, outer, inner = self._gate(r, "Sigmoid"), self.affine(x), self.affine(part)
                if reset is None or outer is None or inner is None or set(inner.terms) != {state}:
                    continue
                if state not in outer.terms:
                    return self._cell("GRU", h, None, (state,), (z, reset, outer), activation, inner=inner)
        return None

    def _plain(self, h: TensorRef, state: TensorRef) -> Cell | None:
        node = self._node(h)
        if node is None or node[0] not in ACTIVATIONS:
            return None
        whole = self.affine(node[1][0])
        if whole is None or state not in whole.terms:
            return None
        return self._cell("RNN", h, None, (state,), (whole,), node[0])

    def _cell(
        self,
        kind: str,
        h: TensorRef,
        c: TensorRef | None,
        states: tuple[TensorRef, ...],
        gates: Sequence[Affine | None],
        activation: str,
        inner: Affine | None = None,
        reset: TensorRef | None = None,
    ) -> Cell | None:
        known = tuple(g for g in gates if g is not None)
        xs = dict.fromkeys(r for g in known for r in g.terms if r not in (states[0], reset))
        own = any(r in self.body.inputs for r in xs)  # another state
        return None if own or not xs else Cell(kind, h, c, states, tuple(xs), known, activation, inner, reset)

    # --- what goes into gates ------------------------------------------------------------------------------------
    def affine(self, ref: TensorRef) -> Affine | None:
        """Return a tensor as a sum of products with weights; None where it is no such sum."""
        ref = self.body.origin(ref)
        if self.fixed(ref):
            return Affine({}, (functools.partial(_value, ref),))
        node = self._node(ref)
        if node is None:
            return None
        op, inputs, attrs = node
        if op == "MatMul":
            return self._product(inputs, attrs)
        if op in _SUMS:
            a, b = (self.affine(r) for r in inputs)
            return None if a is None or b is None or attrs.get("data_format", b"NHWC") != b"NHWC" else a.plus(b)
        cut = self._columns(node)
        if cut is None:
            return None
        whole = self.affine(cut[0])
        return None if whole is None else whole.changed(cut[1])

    def fixed(self, ref: TensorRef) -> bool:
        """Whether the loop does not change a tensor."""
        if self.body.value(ref) is not None:
            return True
        behind = self.body.behind(ref)
        return behind is not None and behind <= self.stays

    def _product(self, inputs: tuple[TensorRef, ...], attrs: Mapping[str, Any]) -> Affine | None:
        left, right = (self.body.origin(r) for r in inputs)
        if attrs["transpose_a"] or not self.fixed(right) or self.fixed(left):
            return None
        node = self._node(left)
        parts: tuple[TensorRef, ...] = (left,)
        if node is not None and node[0] == "ConcatV2":
            *some, axis = node[1]
            if not self._last(axis):
                return None
            parts = tuple(map(self.body.origin, some))
        turned = bool(attrs["transpose_b"])
        pieces = [Affine({p: (functools.partial(_rows, right, turned, parts, k),)}, ()) for k, p in enumerate(parts)]
        return functools.reduce(Affine.plus, pieces)

    def _gate(self, ref: TensorRef, activation: str) -> Affine | None:
        """Return what an activation is applied to, or of what columns are taken after that."""
        node = self._node(ref)
        if node is None:
            return None
        if node[0] == activation:
            return self.affine(node[1][0])
        cut = self._columns(node)
        whole = None if cut is None else self._gate(cut[0], activation)
        return None if whole is None or cut is None else whole.changed(cut[1])

    def _columns(self, node: tuple[str, tuple[TensorRef, ...], Mapping[str, Any]]) -> Any:
        """Return what a node takes columns of, and how; None where it does not."""
        op, inputs, attrs = node
        name, _, slot = op.partition(":")
        if name == "Split":
            axis, whole = inputs
            return (whole, functools.partial(_part, int(slot or 0), attrs["num_split"])) if self._last(axis) else None
        bounds = [self.body.value(self.body.origin(r)) for r in inputs[1:]]
        if name == "StridedSlice" and all(b is not None for b in bounds):
            cut = _strided(bounds[0], bounds[1], bounds[2], attrs)
            return None if cut is None else (inputs[0], functools.partial(_cut, cut))
        if name == "Slice" and all(b is not None and b.shape == (2,) for b in bounds) and bounds[0][0] == 0:  # type: ignore[index]
            start, count = (int(b[1]) for b in bounds)  # type: ignore[index]
            whole = bounds[1][0] == -1  # type: ignore[index]
            return (
                (inputs[0], functools.partial(_cut, slice(start, None if count < 0 else start + count)))
                if whole
                else None
            )
        return None

    # --- walking -------------------------------------------------------------------------------------------------
    def _node(self, ref: TensorRef) -> tuple[str, tuple[TensorRef, ...], Mapping[str, Any]] | None:
        made = self.body.made_by(self.body.origin(ref))
        return None if made is None else (SAME.get(made[0], made[0]), made[1], made[2])

    def _pair(self, ref: TensorRef, op: str) -> Iterator[tuple[TensorRef, TensorRef]]:
        """Yield the operands of `op` both ways round, where it makes `ref`."""
        node = self._node(ref)
        if node is not None and node[0] == op and len(node[1]) == 2:
            a, b = (self.body.origin(r) for r in node[1])
            yield a, b
            yield b, a

    def _last(self, ref: TensorRef) -> bool:
        """Whether an axis is the last one of a matrix."""
        axis = self.body.value(self.body.origin(ref))
        return axis is not None and axis.size == 1 and int(axis.ravel()[0]) in (1, -1)


def _value(ref: TensorRef, given: Given) -> Array:
    return given.value(ref)


def _rows(ref: TensorRef, turned: bool, parts: Sequence[TensorRef], k: int, given: Given) -> Array:
    """Return the rows of a matrix that are multiplied with part `k` of what stands to the left."""
    w = given.value(ref)
    if w.ndim != 2:
        raise Unknown
    w = w.T if turned else w
    sizes = [given.size(p) for p in parts]
    if sum(sizes) != len(w):
        raise Unknown
    start = sum(sizes[:k])
    return w[start : start + sizes[k]]


def _part(k: int, n: int, w: Array) -> Array:
    if w.shape[-1] % n:
        raise Unknown
    return np.split(w, n, axis=-1)[k]


def _cut(cut: slice, w: Array) -> Array:
    return w[..., cut]


def _strided(begin: Any, end: Any, step: Any, attrs: Mapping[str, Any]) -> slice | None:
    """Return the columns that a strided slice of a matrix takes; None where it does something else as well."""
    n = begin.size
    mask = {k: [bool(int(attrs[f"{k}_mask"]) >> i & 1) for i in range(n)] for k in ("begin", "end", "ellipsis")}
    if attrs["new_axis_mask"] or attrs["shrink_axis_mask"] or n != 2 or np.any(step != 1):
        return None
    if not (mask["ellipsis"][0] or (mask["end"][0] and (mask["begin"][0] or begin[0] == 0))) or mask["ellipsis"][1]:
        return None
    return slice(None if mask["begin"][1] else int(begin[1]), None if mask["end"][1] else int(end[1]))
