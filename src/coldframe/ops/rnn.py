"""Fused recurrent cells, and whole recurrent layers made of one.

The gates of an LSTM lie side by side in the columns of its weights: input, cell, forget, output (``icfo``) for the
first kind, input, forget, cell, output (``ifco``) for BlockLSTMV2. Rows of the weights: first those for x, then those
for h. Seven tensors come out: the gates i, cs, f, o, ci, co and h, as training wants them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from coldframe.ops import inference_nn
from coldframe.ops.backward import attrs_of
from coldframe.ops.layouts import known
from coldframe.ops.table import Op, op
from coldframe.primitives.base import refuse

_STEPS: Final = "every step of every gate is an output"
_ICFO: Final = (0, 1, 2, 3)  # columns of i, ci, f, o
_IFCO: Final = (0, 2, 1, 3)


def _sigmoid(xp: Any, x: Any) -> Any:
    return xp.reciprocal(xp.exp(-x) + 1.0)


def _expect(xp: Any, name: str, x: Any, *shape: Any) -> None:
    """Refuse a tensor of another shape, as far as it is known."""
    if xp.rank(x) != len(shape):
        raise refuse(f"the rank of `{name}`", expected=len(shape), found=xp.rank(x))
    for axis, want in enumerate(shape):
        have = known(xp.dim(x, axis))
        if have is not None and known(want) is not None and have != want:
            raise refuse(f"dimension {axis} of `{name}`", expected=want, found=have)


def _lstm_shapes(xp: Any, x: Any, cs: Any, h: Any, w: Any, b: Any, peepholes: tuple[Any, ...]) -> None:
    batch, size = xp.dim(x, -2), xp.dim(cs, 1) if xp.rank(cs) == 2 else None
    _expect(xp, "cs_prev", cs, batch, size)
    _expect(xp, "h_prev", h, batch, size)
    cells, width = known(size), known(xp.dim(x, -1))
    rows = None if cells is None or width is None else cells + width
    _expect(xp, "w", w, rows, None if cells is None else 4 * cells)
    _expect(xp, "b", b, None if cells is None else 4 * cells)
    for p in peepholes:
        _expect(xp, "a peephole", p, cells)


def _lstm(
    xp: Any, x: Any, cs_prev: Any, h_prev: Any, w: Any, peepholes: tuple[Any, ...], b: Any,
    order: tuple[int, ...], forget_bias: float, clip: float,
) -> tuple[Any, ...]:  # fmt: skip
    """Return i, cs, f, o, ci, co, h of one step."""
    size = xp.dim(cs_prev, 1)
    gates = xp.matmul(xp.concat([x, h_prev], 1), w) + b
    i, ci, f, o = (xp.slice(gates, [0, k * size], [xp.dim(x, 0), size]) for k in order)
    if forget_bias:
        f = f + forget_bias
    if peepholes:
        i, f = i + cs_prev * peepholes[0], f + cs_prev * peepholes[1]
    i, f, ci = _sigmoid(xp, i), _sigmoid(xp, f), xp.tanh(ci)
    cs = ci * i + cs_prev * f
    if clip > 0:
        cs = xp.clip(cs, -clip, clip)
    o = _sigmoid(xp, o + cs * peepholes[2] if peepholes else o)
    co = xp.tanh(cs)
    return i, cs, f, o, ci, co, co * o


@op("LSTMBlockCell", shape=inference_nn.lstm_cell, heavy=True)
def lstm_block_cell(
    xp: Any, x: Any, cs_prev: Any, h_prev: Any, w: Any, wci: Any, wcf: Any, wco: Any, b: Any,
    *, forget_bias: float, cell_clip: float, use_peephole: bool,
) -> Any:  # fmt: skip
    """One step of an LSTM: its gates, cell and output."""
    if xp.rank(x) != 2:
        raise refuse("the rank of `x`", expected=2, found=xp.rank(x))
    peepholes = (wci, wcf, wco) if use_peephole else ()
    _lstm_shapes(xp, x, cs_prev, h_prev, w, b, peepholes)
    return _lstm(xp, x, cs_prev, h_prev, w, peepholes, b, _ICFO, forget_bias, cell_clip)


@lstm_block_cell.gradient
def _(g: Any, op: Any, *dys: Any) -> Any:
    x, _, h_prev, w, *_ = op.inputs
    i, cs, f, o, ci, co, _ = op.outputs
    dcs_prev, dgates, dwci, dwcf, dwco = g.LSTMBlockCellGrad(
        *op.inputs, i, cs, f, o, ci, co, dys[1], dys[6], **attrs_of(op, "use_peephole")
    )
    dx, dh_prev = _halves(g, g.MatMul(dgates, w, transpose_b=True), x, h_prev)
    dw = g.MatMul(g.ConcatV2([x, h_prev], 1, name="concat"), dgates, transpose_a=True)
    return dx, dcs_prev, dh_prev, dw, dwci, dwcf, dwco, g.BiasAddGrad(dgates)


def _halves(g: Any, both: Any, x: Any, h: Any) -> tuple[Any, Any]:
    """Columns of a matrix: those of x, then those of h."""
    width, cells = ((t.static_shape.dims or (None, None))[1] for t in (x, h))
    if width is None or cells is None:
        return tuple(g.SplitV(both, g.Pack([g.Shape(x)[1], g.Shape(h)[1]]), 1, num_split=2, name="split"))
    return g.Slice(both, [0, 0], [-1, width]), g.Slice(both, [0, width], [-1, cells])


def _steps(seq_len_max: Any, x: Any) -> int:
    """How many steps of `x` [time, batch, inputs] run."""
    if x.ndim != 3:
        raise refuse("the rank of `x`", expected=3, found=x.ndim)
    if np.ndim(seq_len_max) or not 0 <= int(seq_len_max) <= len(x):
        raise refuse("`seq_len_max`", expected=f"0 to {len(x)}", found=np.asarray(seq_len_max).tolist())
    return int(seq_len_max)


def _layer(
    xp: Any, seq_len_max: Any, x: Any, cs_prev: Any, h_prev: Any, w: Any, peepholes: tuple[Any, ...], b: Any,
    order: tuple[int, ...], forget_bias: float, clip: float,
) -> Any:  # fmt: skip
    """Run the steps; after `seq_len_max` of them the outputs are 0."""
    steps = _steps(seq_len_max, x)
    _lstm_shapes(xp, x, cs_prev, h_prev, w, b, peepholes)
    out = [np.zeros((len(x), *cs_prev.shape), x.dtype) for _ in range(7)]
    cs, h = cs_prev, h_prev
    for t in range(steps):
        step = _lstm(xp, x[t], cs, h, w, peepholes, b, order, forget_bias, clip)
        for place, value in zip(out, step, strict=True):
            place[t] = value
        cs, h = step[1], step[6]
    return tuple(out)


@op("BlockLSTM", shape=inference_nn.block_lstm, heavy=True, host=_STEPS)
def block_lstm(
    xp: Any, seq_len_max: Any, x: Any, cs_prev: Any, h_prev: Any, w: Any, wci: Any, wcf: Any, wco: Any, b: Any,
    *, forget_bias: float, cell_clip: float, use_peephole: bool,
) -> Any:  # fmt: skip
    """The steps of an LSTM over [time, batch, inputs]: gates, cells and outputs of each."""
    peepholes = (wci, wcf, wco) if use_peephole else ()
    return _layer(xp, seq_len_max, x, cs_prev, h_prev, w, peepholes, b, _ICFO, forget_bias, cell_clip)


@block_lstm.gradient
def _(g: Any, op: Any, *dys: Any) -> Any:
    grads = g.BlockLSTMGrad(*op.inputs, *op.outputs, dys[1], dys[6], **attrs_of(op, "use_peephole"))
    return None, *grads


@op("BlockLSTMV2", shape=inference_nn.block_lstm, heavy=True, host=_STEPS)
def block_lstm_v2(
    xp: Any, seq_len_max: Any, x: Any, cs_prev: Any, h_prev: Any, w: Any, wci: Any, wcf: Any, wco: Any, b: Any,
    *, cell_clip: float, use_peephole: bool,
) -> Any:  # fmt: skip
    """BlockLSTM with its gates in another order, and without a bias for the forget gate."""
    peepholes = (wci, wcf, wco) if use_peephole else ()
    return _layer(xp, seq_len_max, x, cs_prev, h_prev, w, peepholes, b, _IFCO, 0.0, cell_clip)


@block_lstm_v2.gradient
def _(g: Any, op: Any, *dys: Any) -> Any:
    # TensorFlow's own rule calls BlockLSTMGrad here, whose gates lie in the other order.
    grads = g.BlockLSTMGradV2(*op.inputs, *op.outputs, dys[1], dys[6], **attrs_of(op, "use_peephole"))
    return None, *grads


def _gru_shapes(xp: Any, x: Any, h_prev: Any, w_ru: Any, w_c: Any, b_ru: Any, b_c: Any) -> None:
    if xp.rank(x) != 2 or xp.rank(h_prev) != 2:
        raise refuse("ranks of `x` and `h_prev`", expected=[2, 2], found=[xp.rank(x), xp.rank(h_prev)])
    _expect(xp, "h_prev", h_prev, xp.dim(x, 0), xp.dim(h_prev, 1))
    cells, width = known(xp.dim(h_prev, 1)), known(xp.dim(x, 1))
    rows = None if cells is None or width is None else cells + width
    _expect(xp, "w_ru", w_ru, rows, None if cells is None else 2 * cells)
    _expect(xp, "w_c", w_c, rows, cells)
    _expect(xp, "b_ru", b_ru, None if cells is None else 2 * cells)
    _expect(xp, "b_c", b_c, cells)


@op("GRUBlockCell", shape=inference_nn.gru_cell, heavy=True)
def gru_block_cell(xp: Any, x: Any, h_prev: Any, w_ru: Any, w_c: Any, b_ru: Any, b_c: Any) -> Any:
    """One step of a GRU: its reset and update gates, candidate and output."""
    _gru_shapes(xp, x, h_prev, w_ru, w_c, b_ru, b_c)
    size, batch = xp.dim(h_prev, 1), xp.dim(x, 0)
    both = _sigmoid(xp, xp.matmul(xp.concat([x, h_prev], 1), w_ru) + b_ru)
    r, u = (xp.slice(both, [0, k * size], [batch, size]) for k in (0, 1))
    c = xp.tanh(xp.matmul(xp.concat([x, h_prev * r], 1), w_c) + b_c)
    return r, u, c, u * (h_prev - c) + c


@gru_block_cell.gradient
def _(g: Any, op: Any, *dys: Any) -> Any:
    x, h_prev, *_ = op.inputs
    r, u, c, _ = op.outputs
    dx, dh_prev, dc_bar, dru_bar = g.GRUBlockCellGrad(*op.inputs, r, u, c, dys[3])
    dw_ru = g.MatMul(g.ConcatV2([x, h_prev], 1, name="concat"), dru_bar, transpose_a=True)
    dw_c = g.MatMul(g.ConcatV2([x, h_prev * r], 1, name="concat"), dc_bar, transpose_a=True)
    return dx, dh_prev, dw_ru, dw_c, g.BiasAddGrad(dru_bar), g.BiasAddGrad(dc_bar)


# --- gradients ----------------------------------------------------------------------------------------------------
def _lstm_grad(
    xp: Any, gates: tuple[Any, ...], cs_prev: Any, peepholes: tuple[Any, ...], dcs: Any, dh: Any,
    order: tuple[int, ...],
) -> tuple[Any, ...]:  # fmt: skip
    """Return the gradients for cs_prev, the gates before their functions side by side, and the peepholes."""
    i, cs, f, o, ci, co = gates
    do = o * (1.0 - o) * dh * co
    dcs = (1.0 - co * co) * dh * o + dcs
    if peepholes:
        dcs = dcs + do * peepholes[2]
    df, di = f * (1.0 - f) * dcs * cs_prev, i * (1.0 - i) * dcs * ci
    dci, dcs_prev = (1.0 - ci * ci) * dcs * i, dcs * f
    if peepholes:
        dcs_prev = dcs_prev + di * peepholes[0] + df * peepholes[1]
    parts = (di, dci, df, do)
    dpeepholes = tuple(xp.sum(d * c, axis=(0,)) for d, c in ((di, cs_prev), (df, cs_prev), (do, cs)))
    return dcs_prev, xp.concat([parts[order.index(k)] for k in range(4)], 1), dpeepholes


@op("LSTMBlockCellGrad", shape=inference_nn.lstm_cell_grad, heavy=True)
def lstm_block_cell_grad(
    xp: Any, x: Any, cs_prev: Any, h_prev: Any, w: Any, wci: Any, wcf: Any, wco: Any, b: Any,
    i: Any, cs: Any, f: Any, o: Any, ci: Any, co: Any, cs_grad: Any, h_grad: Any, *, use_peephole: bool,
) -> Any:  # fmt: skip
    """The gradient of LSTMBlockCell for the last cell, its gates and its peepholes."""
    peepholes = (wci, wcf, wco) if use_peephole else ()
    _lstm_shapes(xp, x, cs_prev, h_prev, w, b, peepholes)
    for name, v in (("i", i), ("cs", cs), ("f", f), ("o", o), ("ci", ci), ("co", co), ("cs_grad", cs_grad)):
        _expect(xp, name, v, xp.dim(cs_prev, 0), xp.dim(cs_prev, 1))
    _expect(xp, "h_grad", h_grad, xp.dim(cs_prev, 0), xp.dim(cs_prev, 1))
    dcs_prev, dgates, dpeepholes = _lstm_grad(xp, (i, cs, f, o, ci, co), cs_prev, peepholes, cs_grad, h_grad, _ICFO)
    if not use_peephole:
        dpeepholes = tuple(xp.zeros_like(p) for p in (wci, wcf, wco))
    return dcs_prev, dgates, *dpeepholes


def _layer_grad(name: str, order: tuple[int, ...]) -> Op:
    def run(
        xp: Any, seq_len_max: Any, x: Any, cs_prev: Any, h_prev: Any, w: Any, wci: Any, wcf: Any, wco: Any, b: Any,
        i: Any, cs: Any, f: Any, o: Any, ci: Any, co: Any, h: Any, cs_grad: Any, h_grad: Any, *, use_peephole: bool,
    ) -> Any:  # fmt: skip
        """The gradient of a layer: its steps from the last one that ran to the first."""
        steps = _steps(seq_len_max, x)
        peepholes = (wci, wcf, wco) if use_peephole else ()
        _lstm_shapes(xp, x, cs_prev, h_prev, w, b, peepholes)
        for what, v in (("h", h), ("cs_grad", cs_grad), ("h_grad", h_grad)):
            _expect(xp, what, v, len(x), *cs_prev.shape)
        width = x.shape[2]
        dx, dw, db = np.zeros_like(x), np.zeros_like(w), np.zeros_like(b)
        dpeepholes = [np.zeros_like(p) for p in (wci, wcf, wco)]
        dcs, dh = np.zeros_like(cs_prev), np.zeros_like(h_prev)
        for t in reversed(range(steps)):
            cs_before, h_before = (cs[t - 1], h[t - 1]) if t else (cs_prev, h_prev)
            now = tuple(v[t] for v in (i, cs, f, o, ci, co))
            dcs, dgates, more = _lstm_grad(
                xp, now, cs_before, peepholes, cs_grad[t] + dcs, h_grad[t] + dh, order
            )  # fmt: skip
            both = dgates @ w.T
            dx[t], dh = both[:, :width], both[:, width:]
            dw[:width] += x[t].T @ dgates
            dw[width:] += h_before.T @ dgates
            db += dgates.sum(axis=0)
            if use_peephole:
                for total, part in zip(dpeepholes, more, strict=True):
                    total += part
        return dx, dcs, dh, dw, *dpeepholes, db

    return Op(name, run, shape=inference_nn.block_lstm_grad, host=_STEPS, heavy=True)


LAYER_GRADIENTS = [_layer_grad("BlockLSTMGrad", _ICFO), _layer_grad("BlockLSTMGradV2", _IFCO)]


@op("GRUBlockCellGrad", shape=inference_nn.gru_cell_grad, heavy=True)
def gru_block_cell_grad(
    xp: Any, x: Any, h_prev: Any, w_ru: Any, w_c: Any, b_ru: Any, b_c: Any, r: Any, u: Any, c: Any, d_h: Any
) -> Any:
    """The gradient of GRUBlockCell for its inputs x and h_prev, and for its gates before their functions."""
    _gru_shapes(xp, x, h_prev, w_ru, w_c, b_ru, b_c)
    batch, size, width = xp.dim(x, 0), xp.dim(h_prev, 1), xp.dim(x, 1)
    for name, v in (("r", r), ("u", u), ("c", c), ("d_h", d_h)):
        _expect(xp, name, v, batch, size)
    dc_bar = d_h * (1.0 - u) * (1.0 - c * c)
    du_bar = d_h * (h_prev - c) * u * (1.0 - u)
    through_c = xp.matmul(dc_bar, xp.transpose(w_c, [1, 0]))
    dx_c, dhr = xp.slice(through_c, [0, 0], [batch, width]), xp.slice(through_c, [0, width], [batch, size])
    dru_bar = xp.concat([dhr * h_prev * r * (1.0 - r), du_bar], 1)
    through_ru = xp.matmul(dru_bar, xp.transpose(w_ru, [1, 0]))
    dx_ru, dh_ru = xp.slice(through_ru, [0, 0], [batch, width]), xp.slice(through_ru, [0, width], [batch, size])
    return dx_ru + dx_c, dh_ru + dhr * r + d_h * u, dc_bar, dru_bar
