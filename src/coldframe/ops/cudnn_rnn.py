"""CUDA's recurrent layers, and the packing of their weights in one vector.

A graph trained with ``CudnnLSTM`` or ``CudnnGRU`` has its weights packed, and TensorFlow has kernels for it on GPUs
alone. Here the layers run anywhere. The vector is, layer after layer, and forwards before backwards in each::

    all matrices     for each layer and direction: input matrices of the gates, then recurrent ones, [units, inputs]
    all biases       in the same order: one [units] beside each matrix

The canonical form is the same as separate tensors. Gates are in cuDNN's order: ``i f c o`` for LSTM, ``r i h`` for GRU
(reset, update, new), which has its reset applied after the recurrent product. Only the first layer reads the input;
the others read the layer below, of both directions side by side.

After the documentation of cuDNN's recurrent networks and TensorFlow's op documentation. Not here, since no CPU tells
what they give: projections, ``skip_input``, and dropout in training.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.errors import MisuseError
from coldframe.ops.backward import attrs_of
from coldframe.ops.known import Attrs, Dims, Known, with_rank
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass

Array = npt.NDArray[Any]
GATES: Final = {"lstm": 4, "gru": 3, "rnn_relu": 1, "rnn_tanh": 1}
_HOST: Final = "cuDNN's packed weights, step by step"
_TUNING: Final = ("seed", "seed2")


@dataclass(frozen=True, slots=True)
class Layout:
    """How the weights of layers are packed.

    Attributes:
        gates: of a cell.
        layers: one on top of the other.
        directions: 1, or 2 where layers are bidirectional.
        units: of a layer and direction.
        inputs: the width of the input.
    """

    gates: int
    layers: int
    directions: int
    units: int
    inputs: int

    @classmethod
    def of(cls, rnn_mode: str, input_mode: str, direction: str, layers: int, units: int, inputs: int) -> Layout:
        """Check the numbers.

        Raises:
            ExecutionError: they are not positive, or the first layer has no input matrices.
        """
        if min(layers, units, inputs) <= 0:
            raise refuse("layers, units and inputs", expected="positive numbers", found=[layers, units, inputs])
        if input_mode == "skip_input" or (input_mode == "auto_select" and units == inputs):
            raise refuse("a first layer without input matrices", expected="linear_input", found=input_mode)
        return cls(GATES[rnn_mode], layers, 2 if direction == "bidirectional" else 1, units, inputs)

    @property
    def count(self) -> int:
        """How many matrices there are, and how many biases."""
        return self.layers * self.directions * 2 * self.gates

    @property
    def size(self) -> int:
        """How many numbers all of them have."""
        above = (self.layers - 1) * self.directions * self.units
        widths = self.inputs + above + self.layers * self.units  # what a gate reads, over all layers
        return self.directions * self.gates * self.units * widths + self.count * self.units

    def shapes(self) -> Iterator[tuple[int, int]]:
        """Yield the shape of each matrix."""
        for layer in range(self.layers):
            below = self.inputs if layer == 0 else self.directions * self.units
            for _ in range(self.directions):
                for width in (below, self.units):
                    for _ in range(self.gates):
                        yield self.units, width

    def unpacked(self, params: Array) -> tuple[list[Array], list[Array]]:
        """Return matrices and biases."""
        if params.ndim != 1 or params.size != self.size:
            raise refuse("`params`", expected=f"a vector of {self.size}", found=f"shape {list(params.shape)}")
        matrices, at = [], 0
        for shape in self.shapes():
            matrices.append(params[at : at + math.prod(shape)].reshape(shape))
            at += math.prod(shape)
        return matrices, list(params[at:].reshape(self.count, self.units))


# --- packing ----------------------------------------------------------------------------------------------------
def _layout(num_layers: Any, num_units: Any, input_size: Any, rnn_mode: str, input_mode: str, direction: str) -> Layout:
    for name, v in (("num_layers", num_layers), ("num_units", num_units), ("input_size", input_size)):
        if np.ndim(v):
            raise refuse(f"`{name}`", expected="a scalar", found=f"shape {list(np.shape(v))}")
    return Layout.of(rnn_mode, input_mode, direction, int(num_layers), int(num_units), int(input_size))


def _counted(layout: Layout, matrices: int, biases: int) -> None:
    if matrices != layout.count or biases != layout.count:
        raise refuse("matrices and biases", expected=f"{layout.count} of each", found=[matrices, biases])


def _packed(layout: Layout, weights: list[Any], biases: list[Any]) -> Array:
    _counted(layout, len(weights), len(biases))
    for k, (w, shape) in enumerate(zip(weights, layout.shapes(), strict=True)):
        if w.size != math.prod(shape):
            raise refuse(f"matrix {k}", expected=list(shape), found=list(w.shape))
    for k, b in enumerate(biases):
        if b.size != layout.units:
            raise refuse(f"bias {k}", expected=[layout.units], found=list(b.shape))
    return np.concatenate([np.ravel(part) for part in (*weights, *biases)])


@op("CudnnRNNParamsSize", shape="-> [1]", host=_HOST, ignores=(*_TUNING, "dropout", "T"))
def cudnn_rnn_params_size(
    xp: Any, num_layers: Any, num_units: Any, input_size: Any,
    *, S: DType, rnn_mode: str, input_mode: str, direction: str,
) -> Any:  # fmt: skip
    """How long the vector of packed weights is."""
    size = _layout(num_layers, num_units, input_size, rnn_mode, input_mode, direction).size
    if size > np.iinfo(S.numpy).max:
        raise refuse("the size of the weights", expected=f"a number of {S}", found=size)
    return np.array([size], S.numpy)


@op("CudnnRNNParamsToCanonical", host=_HOST, ignores=(*_TUNING, "dropout"))
def cudnn_rnn_params_to_canonical(
    xp: Any, num_layers: Any, num_units: Any, input_size: Any, params: Any,
    *, num_params: int, rnn_mode: str, input_mode: str, direction: str,
) -> Any:  # fmt: skip
    """Matrices and biases of packed weights."""
    layout = _layout(num_layers, num_units, input_size, rnn_mode, input_mode, direction)
    _counted(layout, num_params, num_params)
    return layout.unpacked(params)


@op("CudnnRNNParamsToCanonicalV2", host=_HOST, ignores=(*_TUNING, "dropout"))
def cudnn_rnn_params_to_canonical_v2(
    xp: Any, num_layers: Any, num_units: Any, input_size: Any, params: Any, *, num_params_weights: int,
    num_params_biases: int, rnn_mode: str, input_mode: str, direction: str,
) -> Any:  # fmt: skip
    """Matrices and biases of packed weights."""
    layout = _layout(num_layers, num_units, input_size, rnn_mode, input_mode, direction)
    _counted(layout, num_params_weights, num_params_biases)
    return layout.unpacked(params)


@op("CudnnRNNCanonicalToParams", shape="-> [?]", host=_HOST, ignores=(*_TUNING, "dropout"))
def cudnn_rnn_canonical_to_params(
    xp: Any, num_layers: Any, num_units: Any, input_size: Any, weights: list[Any], biases: list[Any],
    *, rnn_mode: str, input_mode: str, direction: str,
) -> Any:  # fmt: skip
    """Matrices and biases packed into one vector."""
    return _packed(_layout(num_layers, num_units, input_size, rnn_mode, input_mode, direction), weights, biases)


@op("CudnnRNNCanonicalToParamsV2", shape="-> [?]", host=_HOST, ignores=(*_TUNING, "dropout"))
def cudnn_rnn_canonical_to_params_v2(
    xp: Any, num_layers: Any, num_units: Any, input_size: Any, weights: list[Any], biases: list[Any],
    *, rnn_mode: str, input_mode: str, direction: str,
) -> Any:  # fmt: skip
    """Matrices and biases packed into one vector."""
    return _packed(_layout(num_layers, num_units, input_size, rnn_mode, input_mode, direction), weights, biases)


# --- running ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One layer in one direction: matrices [gates * units, width], biases [gates * units], all float32 or float64."""

    mode: str
    w: Array
    r: Array
    bw: Array
    br: Array

    def step(self, xw: Array, h: Array, c: Array) -> tuple[Array, Array]:
        """Return the next output and cell; `xw` is what the input gives to the gates."""
        gates = GATES[self.mode]
        hr = h @ self.r.T + self.br
        if self.mode == "gru":
            (xr, xi, xn), (hr_, hi, hn) = np.split(xw, gates, 1), np.split(hr, gates, 1)
            reset, update = sigmoid(xr + hr_), sigmoid(xi + hi)
            new = np.tanh(xn + reset * hn)
            return (1 - update) * new + update * h, c
        if self.mode == "lstm":
            i, f, new, o = np.split(xw + hr, gates, 1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(new)
            return sigmoid(o) * np.tanh(c), c
        both = xw + hr
        return (np.maximum(both, 0) if self.mode == "rnn_relu" else np.tanh(both)), c

    def run(self, x: Array, h: Array, c: Array, lengths: Array, backwards: bool) -> tuple[Array, Array, Array]:
        """Return outputs [time, batch, units], the last output and the last cell; what is beyond `lengths` is 0."""
        xw = x @ self.w.T + self.bw
        out = np.zeros((*x.shape[:2], h.shape[1]), x.dtype)
        for t in reversed(range(len(x))) if backwards else range(len(x)):
            on = (t < lengths)[:, None]
            new_h, new_c = self.step(xw[t], h, c)
            h, c = np.where(on, new_h, h), np.where(on, new_c, c)
            out[t] = np.where(on, new_h, 0)
        return out, h, c


def sigmoid(x: Array) -> Array:
    """Return 1 / (1 + exp(-x))."""
    half = x.dtype.type(0.5)
    out: Array = half * np.tanh(half * x) + half
    return out


def _cell(mode: str, weights: list[Array], biases: list[Array]) -> Cell:
    gates = GATES[mode]
    return Cell(
        mode, np.concatenate(weights[:gates]), np.concatenate(weights[gates:]), np.concatenate(biases[:gates]),
        np.concatenate(biases[gates:]),
    )  # fmt: skip


def _state(name: str, value: Array, layers: int, batch: int, units: int) -> None:
    if value.shape != (layers, batch, units):
        raise refuse(f"`{name}`", expected=[layers, batch, units], found=list(value.shape))


@dataclass(frozen=True, slots=True, eq=False)
class Layers:
    """Layers with their weights, one cell per layer and direction, and how long the sequences of a batch are."""

    layout: Layout
    cells: list[Cell]
    lengths: Array

    @classmethod
    def of(
        cls, x: Array, h: Array, c: Array, params: Array, lengths: Array | None,
        mode: str, input_mode: str, direction: str,
    ) -> Layers:  # fmt: skip
        """Check the tensors of a call: `x` [time, batch, inputs], `h` and `c` [layers * directions, batch, units].

        Raises:
            ExecutionError: they do not fit each other.
        """
        if x.ndim != 3 or h.ndim != 3:
            raise refuse("input and state", expected="rank 3", found=[x.ndim, h.ndim])
        ways = 2 if direction == "bidirectional" else 1
        steps, batch, inputs = x.shape
        stacked, _, units = h.shape
        if not stacked or stacked % ways:
            raise refuse("the first dimension of `input_h`", expected=f"a multiple of {ways}", found=stacked)
        _state("input_h", h, stacked, batch, units)
        if mode == "lstm":
            _state("input_c", c, stacked, batch, units)
        if lengths is None:
            lengths = np.full(batch, steps)
        elif lengths.shape != (batch,) or np.any((lengths < 0) | (lengths > steps)):
            raise refuse("`sequence_lengths`", expected=f"{batch} numbers of 0 to {steps}", found=lengths.tolist())
        layout = Layout.of(mode, input_mode, direction, stacked // ways, units, inputs)
        weights, biases = layout.unpacked(params.astype(wide(x.dtype), copy=False))
        own = 2 * layout.gates
        parts = [slice(k * own, (k + 1) * own) for k in range(stacked)]
        return cls(layout, [_cell(mode, weights[p], biases[p]) for p in parts], lengths)

    def run(self, x: Array, h: Array, c: Array) -> tuple[Array, Array, Array]:
        """Return outputs [time, batch, directions * units], and the last outputs and cells."""
        below, last_h, last_c, ways = x, h.copy(), c.copy(), self.layout.directions
        for layer in range(self.layout.layers):
            outs = []
            for way in range(ways):
                k = layer * ways + way
                out, last_h[k], last_c[k] = self.cells[k].run(below, last_h[k], last_c[k], self.lengths, way == 1)
                outs.append(out)
            below = np.concatenate(outs, axis=2)
        return below, last_h, last_c


def wide(kind: Any) -> Any:
    """Return the dtype to compute in."""
    return np.float64 if kind == np.float64 else np.float32


def _run(
    x: Array, h: Array, c: Array, params: Array, lengths: Array | None, mode: str, input_mode: str, direction: str
) -> tuple[Array, Array, Array]:
    """Run all layers over `x` [time, batch, inputs] from `h` and `c` [layers * directions, batch, units]."""
    layers = Layers.of(x, h, c, params, lengths, mode, input_mode, direction)
    kind = x.dtype
    first = [part.astype(wide(kind), copy=False) for part in (x, h, c if mode == "lstm" else h)]
    out, last_h, last_c = layers.run(*first)
    return out.astype(kind), last_h.astype(kind), (last_c.astype(kind) if mode == "lstm" else np.zeros((), kind))


def no_dropout(dropout: float, is_training: bool) -> None:
    """Refuse dropout in training: which numbers a GPU drops, nobody else can tell."""
    if is_training and dropout:
        raise refuse("dropout in training", expected="`is_training` false, or no dropout", found=dropout)


def _shapes(a: Attrs, x: Known, h: Known, *others: Known) -> list[Dims]:
    first, second, _ = with_rank(x.dims, 3)
    units = with_rank(h.dims, 3)[2]
    wide = None if units is None else units * (2 if a["direction"] == "bidirectional" else 1)
    return [(first, second, wide), h.dims, h.dims if a["rnn_mode"] == "lstm" else (), (0,), (0,)]


def _shapes_v1(a: Attrs, *inputs: Known) -> list[Dims]:
    return _shapes(a, *inputs)[:4]


@op("CudnnRNN", shape=_shapes_v1, host=_HOST, heavy=True, ignores=_TUNING)
def cudnn_rnn(
    xp: Any, input: Any, input_h: Any, input_c: Any, params: Any,
    *, rnn_mode: str, input_mode: str, direction: str, dropout: float, is_training: bool,
) -> Any:  # fmt: skip
    """Recurrent layers over [time, batch, inputs] with packed weights: outputs, last outputs and last cells."""
    no_dropout(dropout, is_training)
    out = _run(input, input_h, input_c, params, None, rnn_mode, input_mode, direction)
    return *out, np.zeros(0, input.dtype)


@op("CudnnRNNV2", shape=_shapes, host=_HOST, heavy=True, ignores=_TUNING)
def cudnn_rnn_v2(
    xp: Any, input: Any, input_h: Any, input_c: Any, params: Any,
    *, rnn_mode: str, input_mode: str, direction: str, dropout: float, is_training: bool,
) -> Any:  # fmt: skip
    """CudnnRNN, whose reserved memory, which only a GPU's gradient reads, has a second part."""
    no_dropout(dropout, is_training)
    out = _run(input, input_h, input_c, params, None, rnn_mode, input_mode, direction)
    return *out, np.zeros(0, input.dtype), np.zeros(0, np.int8)


@op("CudnnRNNV3", shape=_shapes, host=_HOST, heavy=True, ignores=_TUNING)
def cudnn_rnn_v3(
    xp: Any, input: Any, input_h: Any, input_c: Any, params: Any, sequence_lengths: Any,
    *, rnn_mode: str, input_mode: str, direction: str, dropout: float, is_training: bool, time_major: bool,
) -> Any:  # fmt: skip
    """CudnnRNNV2 over sequences of different lengths; the batch is the first dimension unless `time_major`."""
    no_dropout(dropout, is_training)
    if time_major:
        out = _run(input, input_h, input_c, params, sequence_lengths, rnn_mode, input_mode, direction)
    else:
        parts = time_first(rnn_mode, input, input_h, input_c)
        out = _run(*parts, params, sequence_lengths, rnn_mode, input_mode, direction)
        out = (out[0].swapaxes(0, 1), out[1].swapaxes(0, 1), out[2].swapaxes(0, 1) if out[2].ndim else out[2])
    return *out, np.zeros(0, input.dtype), np.zeros(0, np.int8)


def time_first(rnn_mode: str, x: Array, h: Array, c: Array) -> tuple[Array, Array, Array]:
    """Return input and state, whose first dimension is the batch, in the order that the layers have."""
    parts = (x, h, c)
    if any(p.ndim != 3 for p in (parts if rnn_mode == "lstm" else parts[:2])):
        raise refuse("input and state", expected="rank 3", found=[p.ndim for p in parts])
    return x.swapaxes(0, 1), h.swapaxes(0, 1), c.swapaxes(0, 1) if c.ndim == 3 else c


# --- gradients --------------------------------------------------------------------------------------------------
_GRADIENT_ATTRS: Final = ("rnn_mode", "input_mode", "direction", "dropout", "seed", "seed2")


@cudnn_rnn.gradient
def _(g: Any, op: Any, *dys: Any) -> Any:
    _needs_training(op)
    return g.CudnnRNNBackprop(
        *op.inputs, *op.outputs[:3], *dys[:3], op.outputs[3], **attrs_of(op, *_GRADIENT_ATTRS)
    )  # fmt: skip


@cudnn_rnn_v2.gradient
def _(g: Any, op: Any, *dys: Any) -> Any:
    _needs_training(op)
    return g.CudnnRNNBackpropV2(
        *op.inputs, *op.outputs[:3], *dys[:3], *op.outputs[3:], **attrs_of(op, *_GRADIENT_ATTRS)
    )  # fmt: skip


@cudnn_rnn_v3.gradient
def _(g: Any, op: Any, *dys: Any) -> Any:
    _needs_training(op)
    grads = g.CudnnRNNBackpropV3(
        *op.inputs, *op.outputs[:3], *dys[:3], *op.outputs[3:],
        **attrs_of(op, *_GRADIENT_ATTRS, "num_proj", "time_major"),
    )  # fmt: skip
    return *grads, None


def _needs_training(op: Any) -> None:
    if not attrs_of(op, "is_training")["is_training"]:
        raise MisuseError(
            f"gradient of `{op.name}` ({op.type})", expected="`is_training` true", found="false",
            hint="a GPU keeps what the gradient needs only when training",
        )  # fmt: skip
