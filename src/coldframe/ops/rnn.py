"""Fused recurrent cells, and whole recurrent layers made of one.

The gates of an LSTM lie side by side in the columns of its weights: input, cell, forget, output (``icfo``) for the
first kind, input, forget, cell, output (``ifco``) for BlockLSTMV2. Rows of the weights: first those for x, then those
for h. Seven tensors come out: the gates i, cs, f, o, ci, co and h, as training wants them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from coldframe.ops.layouts import known
from coldframe.ops.table import op
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


@op("LSTMBlockCell", heavy=True)
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


def _layer(
    xp: Any, seq_len_max: Any, x: Any, cs_prev: Any, h_prev: Any, w: Any, peepholes: tuple[Any, ...], b: Any,
    order: tuple[int, ...], forget_bias: float, clip: float,
) -> Any:  # fmt: skip
    """Run the steps; after `seq_len_max` of them the outputs are 0."""
    if x.ndim != 3:
        raise refuse("the rank of `x`", expected=3, found=x.ndim)
    if np.ndim(seq_len_max) or not 0 <= int(seq_len_max) <= len(x):
        raise refuse("`seq_len_max`", expected=f"0 to {len(x)}", found=np.asarray(seq_len_max).tolist())
    _lstm_shapes(xp, x, cs_prev, h_prev, w, b, peepholes)
    out = [np.zeros((len(x), *cs_prev.shape), x.dtype) for _ in range(7)]
    cs, h = cs_prev, h_prev
    for t in range(int(seq_len_max)):
        step = _lstm(xp, x[t], cs, h, w, peepholes, b, order, forget_bias, clip)
        for place, value in zip(out, step, strict=True):
            place[t] = value
        cs, h = step[1], step[6]
    return tuple(out)


@op("BlockLSTM", heavy=True, host=_STEPS)
def block_lstm(
    xp: Any, seq_len_max: Any, x: Any, cs_prev: Any, h_prev: Any, w: Any, wci: Any, wcf: Any, wco: Any, b: Any,
    *, forget_bias: float, cell_clip: float, use_peephole: bool,
) -> Any:  # fmt: skip
    """The steps of an LSTM over [time, batch, inputs]: gates, cells and outputs of each."""
    peepholes = (wci, wcf, wco) if use_peephole else ()
    return _layer(xp, seq_len_max, x, cs_prev, h_prev, w, peepholes, b, _ICFO, forget_bias, cell_clip)


@op("BlockLSTMV2", heavy=True, host=_STEPS)
def block_lstm_v2(
    xp: Any, seq_len_max: Any, x: Any, cs_prev: Any, h_prev: Any, w: Any, wci: Any, wcf: Any, wco: Any, b: Any,
    *, cell_clip: float, use_peephole: bool,
) -> Any:  # fmt: skip
    """BlockLSTM with its gates in another order, and without a bias for the forget gate."""
    peepholes = (wci, wcf, wco) if use_peephole else ()
    return _layer(xp, seq_len_max, x, cs_prev, h_prev, w, peepholes, b, _IFCO, 0.0, cell_clip)


@op("GRUBlockCell", heavy=True)
def gru_block_cell(xp: Any, x: Any, h_prev: Any, w_ru: Any, w_c: Any, b_ru: Any, b_c: Any) -> Any:
    """One step of a GRU: its reset and update gates, candidate and output."""
    if xp.rank(x) != 2 or xp.rank(h_prev) != 2:
        raise refuse("ranks of `x` and `h_prev`", expected=[2, 2], found=[xp.rank(x), xp.rank(h_prev)])
    _expect(xp, "h_prev", h_prev, xp.dim(x, 0), xp.dim(h_prev, 1))
    cells, width = known(xp.dim(h_prev, 1)), known(xp.dim(x, 1))
    rows = None if cells is None or width is None else cells + width
    _expect(xp, "w_ru", w_ru, rows, None if cells is None else 2 * cells)
    _expect(xp, "w_c", w_c, rows, cells)
    _expect(xp, "b_ru", b_ru, None if cells is None else 2 * cells)
    _expect(xp, "b_c", b_c, cells)
    size, batch = xp.dim(h_prev, 1), xp.dim(x, 0)
    both = _sigmoid(xp, xp.matmul(xp.concat([x, h_prev], 1), w_ru) + b_ru)
    r, u = (xp.slice(both, [0, k * size], [batch, size]) for k in (0, 1))
    c = xp.tanh(xp.matmul(xp.concat([x, h_prev * r], 1), w_c) + b_c)
    return r, u, c, u * (h_prev - c) + c
