"""Gradients of CUDA's recurrent layers, through time: `cudnn_rnn` run once more, then backwards.

A GPU's gradient reads what the run before it left in reserved memory. Here the layers run again from their inputs, so
nothing is kept; of the outputs and of the reserved memory that come in, nothing is read.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.ops.cudnn_rnn import Cell, Layers, no_dropout, sigmoid, time_first, wide
from coldframe.ops.known import Attrs, Dims, Known
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass

Array = npt.NDArray[Any]
_HOST: Final = "cuDNN's packed weights, step by step"
_TUNING: Final = ("seed", "seed2")


@dataclass(slots=True)
class _Sums:
    """What flows into the weights of a cell, as they lie in `Cell`."""

    w: Array
    r: Array
    bw: Array
    br: Array


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """A step of a cell as it ran: what came in, and its gates."""

    xw: Array
    h: Array
    c: Array
    new_h: Array
    new_c: Array
    on: Array


def _gates(cell: Cell, step: _Step, dh: Array, dc: Array) -> tuple[Array, Array, Array, Array]:
    """Return the gradients of what input and state give to the gates, and of `h` and `c` past them."""
    hr = step.h @ cell.r.T + cell.br
    none = np.zeros_like(dc)
    if cell.mode == "gru":
        (xr, xi, xn), (hr_, hi, hn) = np.split(step.xw, 3, 1), np.split(hr, 3, 1)
        reset, update = sigmoid(xr + hr_), sigmoid(xi + hi)
        new = np.tanh(xn + reset * hn)
        d_new = dh * (1 - update) * (1 - new * new)
        d_update = dh * (step.h - new) * update * (1 - update)
        d_reset = d_new * hn * reset * (1 - reset)
        return np.hstack([d_reset, d_update, d_new]), np.hstack([d_reset, d_update, d_new * reset]), dh * update, none
    if cell.mode == "lstm":
        i, f, g, o = np.split(step.xw + hr, 4, 1)
        i, f, g, o, t = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o), np.tanh(step.new_c)
        dc = dc + dh * o * (1 - t * t)
        parts = [dc * g * i * (1 - i), dc * step.c * f * (1 - f), dc * i * (1 - g * g), dh * t * o * (1 - o)]
        both = np.hstack(parts)
        return both, both, np.zeros_like(dh), dc * f
    both = dh * (step.new_h > 0) if cell.mode == "rnn_relu" else dh * (1 - step.new_h * step.new_h)
    return both, both, np.zeros_like(dh), none


def _forwards(cell: Cell, x: Array, h: Array, c: Array, lengths: Array, backwards: bool) -> dict[int, _Step]:
    """Run a cell and return its steps by time, in the order that they ran."""
    xw, steps = x @ cell.w.T + cell.bw, {}
    for t in reversed(range(len(x))) if backwards else range(len(x)):
        on = (t < lengths)[:, None]
        new_h, new_c = cell.step(xw[t], h, c)
        steps[t] = _Step(xw[t], h, c, new_h, new_c, on)
        h, c = np.where(on, new_h, h), np.where(on, new_c, c)
    return steps


def _backwards(
    cell: Cell, x: Array, steps: dict[int, _Step], dout: Array, dh: Array, dc: Array
) -> tuple[Array, Array, Array, _Sums]:
    """Return the gradients of a cell's input, of its first output and cell, and of its weights."""
    sums = _Sums(*(np.zeros_like(v) for v in (cell.w, cell.r, cell.bw, cell.br)))
    dx = np.zeros_like(x)
    for t, step in reversed(steps.items()):
        on = step.on
        d_input, d_state, straight_h, straight_c = _gates(
            cell, step, np.where(on, dh + dout[t], 0), np.where(on, dc, 0)
        )
        dx[t] = d_input @ cell.w
        sums.w += d_input.T @ x[t]
        sums.bw += d_input.sum(0)
        sums.r += d_state.T @ step.h
        sums.br += d_state.sum(0)
        dh = np.where(on, straight_h + d_state @ cell.r, dh)
        dc = np.where(on, straight_c, dc)
    return dx, dh, dc, sums


def _outputs_below(layers: Layers, x: Array, h: Array, c: Array) -> list[tuple[Array, list[dict[int, _Step]]]]:
    """Return what each layer reads, and the steps of its directions."""
    found, below, ways = [], x, layers.layout.directions
    for layer in range(layers.layout.layers):
        runs, outs = [], []
        for way in range(ways):
            k = layer * ways + way
            steps = _forwards(layers.cells[k], below, h[k], c[k], layers.lengths, way == 1)
            out = np.zeros((*below.shape[:2], h.shape[2]), below.dtype)
            for t, step in steps.items():
                out[t] = np.where(step.on, step.new_h, 0)
            runs.append(steps)
            outs.append(out)
        found.append((below, runs))
        below = np.concatenate(outs, axis=2)
    return found


def _gradients(
    layers: Layers, x: Array, h: Array, c: Array, dout: Array, dh: Array, dc: Array
) -> tuple[Array, Array, Array, Array]:
    """Return the gradients of input, first outputs, first cells and packed weights."""
    ways, units = layers.layout.directions, layers.layout.units
    dh, dc = dh.copy(), dc.copy()
    kept = _outputs_below(layers, x, h, c)
    sums: dict[int, _Sums] = {}
    for layer in reversed(range(layers.layout.layers)):
        below, runs = kept[layer]
        d_below = np.zeros_like(below)
        for way in range(ways):
            k = layer * ways + way
            own = dout[:, :, way * units : (way + 1) * units]
            dx, dh[k], dc[k], sums[k] = _backwards(layers.cells[k], below, runs[way], own, dh[k], dc[k])
            d_below += dx
        dout = d_below
    order = [sums[k] for k in range(len(layers.cells))]
    matrices = [np.ravel(m) for s in order for m in (s.w, s.r)]
    biases = [b for s in order for b in (s.bw, s.br)]
    return dout, dh, dc, np.concatenate(matrices + biases)


def _run(
    mode: str, input_mode: str, direction: str, inputs: tuple[Array, ...], params: Array, lengths: Array | None,
    dys: tuple[Array, ...],
) -> tuple[Array, Array, Array, Array]:  # fmt: skip
    """Check what comes in, and return the gradients in the dtype of the input; `inputs` and `dys`: x, h and c."""
    x, h, c = inputs
    layers = Layers.of(x, h, c, params, lengths, mode, input_mode, direction)
    is_lstm = mode == "lstm"
    wanted = [(*x.shape[:2], layers.layout.directions * layers.layout.units), h.shape, h.shape]
    for name, dy, shape in zip(("output", "output_h", "output_c"), dys if is_lstm else dys[:2], wanted, strict=False):
        if dy.shape != shape:
            raise refuse(f"`{name}_backprop`", expected=list(shape), found=list(dy.shape))
    kind = x.dtype
    parts = (x, h, c if is_lstm else h, dys[0], dys[1], dys[2] if is_lstm else np.zeros_like(h))
    dx, dh, dc, dp = _gradients(layers, *(p.astype(wide(kind), copy=False) for p in parts))
    return dx.astype(kind), dh.astype(kind), (dc.astype(kind) if is_lstm else np.zeros_like(c)), dp.astype(kind)


def _shapes(a: Attrs, x: Known, h: Known, c: Known, params: Known, *others: Known) -> list[Dims]:
    return [x.dims, h.dims, c.dims, params.dims]


@op("CudnnRNNBackprop", shape=_shapes, host=_HOST, heavy=True, ignores=_TUNING, no_gradient=True)
def cudnn_rnn_backprop(
    xp: Any, input: Any, input_h: Any, input_c: Any, params: Any, output: Any, output_h: Any, output_c: Any,
    output_backprop: Any, output_h_backprop: Any, output_c_backprop: Any, reserve_space: Any,
    *, rnn_mode: str, input_mode: str, direction: str, dropout: float,
) -> Any:  # fmt: skip
    """Gradients of CudnnRNN for its input, its first outputs and cells, and its packed weights."""
    no_dropout(dropout, True)
    dys = (output_backprop, output_h_backprop, output_c_backprop)
    return _run(rnn_mode, input_mode, direction, (input, input_h, input_c), params, None, dys)


@op("CudnnRNNBackpropV2", shape=_shapes, host=_HOST, heavy=True, ignores=_TUNING, no_gradient=True)
def cudnn_rnn_backprop_v2(
    xp: Any, input: Any, input_h: Any, input_c: Any, params: Any, output: Any, output_h: Any, output_c: Any,
    output_backprop: Any, output_h_backprop: Any, output_c_backprop: Any, reserve_space: Any, host_reserved: Any,
    *, rnn_mode: str, input_mode: str, direction: str, dropout: float,
) -> Any:  # fmt: skip
    """Gradients of CudnnRNNV2."""
    no_dropout(dropout, True)
    dys = (output_backprop, output_h_backprop, output_c_backprop)
    return _run(rnn_mode, input_mode, direction, (input, input_h, input_c), params, None, dys)


@op("CudnnRNNBackpropV3", shape=_shapes, host=_HOST, heavy=True, ignores=_TUNING, no_gradient=True)
def cudnn_rnn_backprop_v3(
    xp: Any, input: Any, input_h: Any, input_c: Any, params: Any, sequence_lengths: Any, output: Any, output_h: Any,
    output_c: Any, output_backprop: Any, output_h_backprop: Any, output_c_backprop: Any, reserve_space: Any,
    host_reserved: Any, *, rnn_mode: str, input_mode: str, direction: str, dropout: float, time_major: bool,
) -> Any:  # fmt: skip
    """Gradients of CudnnRNNV3."""
    no_dropout(dropout, True)
    inputs, dys = (input, input_h, input_c), (output_backprop, output_h_backprop, output_c_backprop)
    if time_major:
        return _run(rnn_mode, input_mode, direction, inputs, params, sequence_lengths, dys)
    turned = time_first(rnn_mode, *inputs), time_first(rnn_mode, *dys)
    dx, dh, dc, dp = _run(rnn_mode, input_mode, direction, turned[0], params, sequence_lengths, turned[1])
    return dx.swapaxes(0, 1), dh.swapaxes(0, 1), dc.swapaxes(0, 1) if dc.ndim == 3 else dc, dp
