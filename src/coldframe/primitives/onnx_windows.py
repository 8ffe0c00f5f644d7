"""Verbs over sliding windows, as ONNX nodes. What they mean: `numpy_windows`.

Where the spatial sizes are known the padding is written into the node. Where they are open and ONNX Runtime's own
``SAME_UPPER`` says the same, that is used; else the padding is computed in the graph and put on by a Pad node.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.primitives import windows
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.numpy_windows import lowest, window_counts
from coldframe.primitives.onnx_builder import Dims, OnnxValue, carrier
from coldframe.primitives.onnx_elementwise import folds
from coldframe.primitives.onnx_gather import GatherOnnx
from coldframe.primitives.onnx_linear import LinearOnnx
from coldframe.primitives.windows import Padding, Pads, extent
from coldframe.records import dataclass

Ints = Sequence[int]
# MaxPool lacks most integers; floats that hold them all give the same answer.
_POOL_CARRIER = {
    "int16": dtypes.float32, "uint16": dtypes.float32, "int32": dtypes.float64, "uint32": dtypes.float64,
}  # fmt: skip

_FEW_CHANNELS = 32  # fewer make slim matrix products


@dataclass(frozen=True, slots=True)
class Windows:
    """One sliding: its geometry, the input it slides over, and how the node is told about padding."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    out: Dims
    attrs: dict[str, Any]


class WindowsOnnx(GatherOnnx, LinearOnnx):
    """Convolution and pooling."""

    # --- convolution --------------------------------------------------------------------------------------------
    @folds
    def conv(
        self, x: OnnxValue, w: OnnxValue, *, strides: Ints, padding: Padding, dilations: Ints, groups: int = 1
    ) -> Any:
        kernel = _kernel(w)
        x, win = self._slide(x, kernel, strides, padding, dilations, 0)
        dims = (x.dims[0], w.dims[0], *win.out)
        return self.typed("Conv", [x, w], dims=dims, group=groups, **win.attrs)

    @folds
    def conv_transpose(
        self, dy: OnnxValue, w: OnnxValue, sizes: Any, *, strides: Ints, padding: Padding, dilations: Ints,
        groups: int = 1,
    ) -> Any:  # fmt: skip
        kernel = _kernel(w)
        covers = [extent(k, d) for k, d in zip(kernel, dilations, strict=True)]
        wanted, known = self.vector(sizes)
        channels = None if w.dims[1] is None else w.dims[1] * groups
        node: dict[str, Any] = {
            "strides": list(strides),
            "dilations": list(dilations),
            "group": groups,
            "kernel_shape": list(kernel),
        }
        out = dy.dims[2:]
        if None in known or None in out:
            if isinstance(padding, str) and padding == "SAME" and None in known:
                before = self._same_before(wanted, covers, strides)
            else:
                before = self.constant(np.array(self._befores(padding, known, covers, strides), np.int64))
            slack = [s - 1 for s in strides]
            full_dims = tuple(
                None if t is None else (t - 1) * s + c + e
                for t, s, c, e in zip(out, strides, covers, slack, strict=True)
            )
            full = self.typed(
                "ConvTranspose", [dy, w], dims=(dy.dims[0], channels, *full_dims), output_padding=slack, **node
            )
            axes = self.constant(np.arange(2, dy.ndim, dtype=np.int64))
            dims = (dy.dims[0], channels, *known)
            return self.typed("Slice", [full], dims=dims, more=[before, before + wanted, axes])
        inner, there = [int(k or 0) for k in known], [int(t or 0) for t in out]
        pad = windows.pads(padding, inner, kernel, strides, dilations)
        windows.fits(inner, there, covers, strides, pad)
        if 0 in inner or 0 in there:
            raise Unlowerable("ONNX Runtime does not slide over nothing")
        rest = [
            n + p[0] + p[1] - c - s * (t - 1) for n, p, c, s, t in zip(inner, pad, covers, strides, there, strict=True)
        ]
        return self.typed(
            "ConvTranspose", [dy, w], dims=(dy.dims[0], channels, *inner), output_padding=rest, pads=_ends(pad), **node
        )

    def _befores(self, padding: Padding, known: Dims, covers: Ints, strides: Ints) -> list[int]:
        if padding == "VALID":
            return [0] * len(known)
        if isinstance(padding, str):
            return [windows.same(int(n or 0), c, s)[0] for n, c, s in zip(known, covers, strides, strict=True)]
        return [int(p[0]) for p in padding]

    def _same_before(self, sizes: OnnxValue, covers: Ints, strides: Ints) -> Any:
        """SAME's padding before, as a vector, of sizes that the run tells."""
        total = self._same_total(sizes, self.constant(np.array(covers)), self.constant(np.array(strides)))
        return self.trunc_divide(total, 2)

    def _same_total(self, sizes: OnnxValue, covers: OnnxValue, strides: OnnxValue) -> Any:
        count = self.trunc_divide(sizes + strides - 1, strides)
        return self.maximum((count - 1) * strides + covers - sizes, 0)

    @folds
    def conv_filter(
        self, x: OnnxValue, dy: OnnxValue, kernel: Ints, *, strides: Ints, padding: Padding, dilations: Ints,
        groups: int = 1,
    ) -> Any:  # fmt: skip
        taps = [int(k) for k in kernel]
        c, o = x.dims[1], dy.dims[1]
        if c is None or o is None:
            raise Unlowerable("the channels of a convolution are not known when compiling")
        x, win = self._slide(x, taps, strides, padding, dilations, 0, inside=True)
        cells = [self._tap(x, tap, win, like=dy) for tap in itertools.product(*(range(k) for k in taps))]
        if groups == 1:
            return self.reshape(self._dense_filter(cells, dy, c, o), [o, c, *taps])
        # [g, o/g, n*t] x [g, n*t, c/g] for each tap
        back = [1, 0, *range(2, x.ndim)]
        left = self.reshape(self.transpose(dy, back), [groups, o // groups, -1])
        rights = [self.reshape(self.transpose(v, back), [groups, c // groups, -1]) for v in cells]
        parts = [self.matmul(left, self.transpose(r, [0, 2, 1])) for r in rights]
        return self.reshape(self.stack(parts, 3), [o, c // groups, *taps])

    def _dense_filter(self, cells: Sequence[OnnxValue], dy: OnnxValue, c: int, o: int) -> OnnxValue:
        """[o, c, taps], by products over all images and positions."""
        if dy.dtype is dtypes.float32:
            return self._filter_by_image(cells, dy, c, o)
        left = self._rows(dy, o)
        if c < _FEW_CHANNELS:  # one product for all taps
            right = self._rows(self.concat(cells, 1), c * len(cells))
            out = self.typed("Gemm", [left, right], dims=(o, c * len(cells)), transA=1)
            return self.transpose(self.reshape(out, [o, len(cells), c]), [0, 2, 1])  # type: ignore[no-any-return]
        parts = [self.typed("Gemm", [left, self._rows(v, c)], dims=(o, c), transA=1) for v in cells]
        return self.stack(parts, 2)  # type: ignore[no-any-return]

    def _filter_by_image(self, cells: Sequence[OnnxValue], dy: OnnxValue, c: int, o: int) -> OnnxValue:
        """Products within each image, which run in parallel and read channels first, where they lie; then their sum."""
        n = dy.dims[0]
        batch = self.dim(dy, 0)
        left = self.reshape(dy, [batch, o, -1])

        def product_with(x: OnnxValue, channels: int) -> OnnxValue:
            right = self.reshape(x, [batch, channels, -1])
            dims = (n, o, channels)
            each = self.node("FusedMatMul", [left, right], dtype=dy.dtype, dims=dims, domain="com.microsoft", transB=1)
            return self.sum(each, (0,))  # type: ignore[no-any-return]

        if c < _FEW_CHANNELS:  # one product for all taps
            out = product_with(self.concat(cells, 1), c * len(cells))
            return self.transpose(self.reshape(out, [o, len(cells), c]), [0, 2, 1])  # type: ignore[no-any-return]
        return self.stack([product_with(v, c) for v in cells], 2)  # type: ignore[no-any-return]

    def _rows(self, x: OnnxValue, channels: int) -> OnnxValue:
        """[n, c, *t] as [n * t, c]."""
        return self.reshape(self.transpose(x, [0, *range(2, x.ndim), 1]), [-1, channels])  # type: ignore[no-any-return]

    # --- pooling ------------------------------------------------------------------------------------------------
    @folds
    def max_pool(self, x: OnnxValue, ksize: Ints, *, strides: Ints, padding: Padding) -> Any:
        out, _ = self._pool("MaxPool", x, ksize, strides, padding)
        # ONNX Runtime begins with the lowest finite number in float32 only; TensorFlow in float64 as well.
        return self.maximum(out, lowest(np.dtype(np.float64))) if x.dtype is dtypes.float64 else out

    @folds
    def max_pool_where(self, x: OnnxValue, ksize: Ints, *, strides: Ints, padding: Padding) -> Any:
        if not x.dtype.is_integer:
            # ONNX Runtime points nowhere in a window without a finite value; TensorFlow at its first cell.
            floor = self.constant(np.asarray(lowest(x.dtype.numpy) / 1.5, x.dtype.numpy))
            x = self.where(self.greater(x, floor), x, floor)
        _, where = self._pool("MaxPool", x, ksize, strides, padding, want_where=True)
        # ONNX counts through the whole tensor, TensorFlow's kernels through one plane.
        plane = self._plane_size(x)
        batch, channels = self.lift(self.dim(x, 0), dtype=dtypes.int64), self.lift(self.dim(x, 1), dtype=dtypes.int64)
        zero, one = self.constant(np.int64(0)), self.constant(np.int64(1))
        base = self.arange(zero, batch * channels, one) * plane
        return where - self.reshape(base, [batch, channels, *(1,) * len(ksize)])

    def _plane_size(self, x: OnnxValue) -> Any:
        total = self.constant(np.int64(1))
        for axis in range(2, x.ndim):
            total = total * self.lift(self.dim(x, axis), dtype=dtypes.int64)
        return total

    def _pool(
        self, kernel: str, x: OnnxValue, ksize: Ints, strides: Ints, padding: Padding, want_where: bool = False
    ) -> tuple[OnnxValue, OnnxValue]:
        name = x.dtype.name
        work = _POOL_CARRIER.get(name) if kernel == "MaxPool" else None
        work = work or carrier("MaxPool.argmax" if want_where else kernel, x.dtype)
        x_work, win = self._slide(self.cast(x, work), ksize, strides, padding, (1,) * len(ksize), 0, pool=True)
        dims = (x.dims[0], x.dims[1], *win.out)
        attrs = {k: v for k, v in win.attrs.items() if k != "dilations"}
        outs: list[tuple[DType, Dims]] = [(work, dims)] + ([(dtypes.int64, dims)] if want_where else [])
        results = self.nodes_out(kernel, [x_work], outs, **attrs)
        out = results[0] if padding == "SAME" else self._covered(results[0], x, ksize, padding)
        return (self.narrowed if kernel == "MaxPool" else self.cast)(out, x.dtype), results[-1]

    def _covered(self, out: OnnxValue, x: OnnxValue, ksize: Ints, padding: Padding) -> OnnxValue:
        """Let the run fail where an open size is smaller than its window: ONNX Runtime gives one cell, not none."""
        around = [(0, 0)] * len(ksize) if isinstance(padding, str) else padding
        for i, (k, (before, after)) in enumerate(zip(ksize, around, strict=True)):
            if x.dims[2 + i] is None and k > 1:
                fits = self.greater(self.dim(x, 2 + i), int(k - before - after) - 1)
                out = self.require(out, fits, "a window larger than what it slides over")
        return out

    @folds
    def plane_gather(self, x: OnnxValue, where: OnnxValue) -> Any:
        lead = [self.dim(x, 0), self.dim(x, 1)]
        taken = self.take_along_axis(self.reshape(x, [*lead, -1]), self.reshape(where, [*lead, -1]), 2)
        return self.reshape(taken, [self.dim(where, i) for i in range(where.ndim)])

    @folds
    def plane_scatter(self, values: OnnxValue, where: OnnxValue, sizes: Any) -> Any:
        if values.dtype.name not in ("float32", "float64", "int32", "int64"):
            raise Unlowerable(f"ONNX Runtime does not add {values.dtype} at positions")
        inner, _ = self.vector(sizes)
        size = self.constant(np.int64(1))
        for i in range(values.ndim - 2):
            size = size * self.gather(inner, i)
        lead = [self.dim(values, 0), self.dim(values, 1)]
        zeros = self.full([*lead, size], self.constant(0, values.dtype))
        flat_values, flat_where = self.reshape(values, [*lead, -1]), self.reshape(where, [*lead, -1])
        out = self.node("ScatterElements", [zeros, flat_where, flat_values], axis=2, reduction="add")
        return self.reshape(out, [*lead, *(self.gather(inner, i) for i in range(values.ndim - 2))])

    @folds
    def avg_pool(self, x: OnnxValue, ksize: Ints, *, strides: Ints, padding: Padding) -> Any:
        out, _ = self._pool("AveragePool", x, ksize, strides, padding)
        return out

    @folds
    def avg_pool_grad(self, dy: OnnxValue, sizes: Any, ksize: Ints, *, strides: Ints, padding: Padding) -> Any:
        _, known = self.vector(sizes)
        ones = (1,) * len(ksize)
        if None in known or None in dy.dims[2:]:
            raise Unlowerable("the size of a pooled tensor is not known when compiling")
        inner, out = [int(k or 0) for k in known], [int(t or 0) for t in dy.dims[2:]]
        pad = windows.pads(padding, inner, ksize, strides, ones)
        windows.fits(inner, out, ksize, strides, pad)
        counts = self.constant(window_counts(inner, ksize, out, strides, pad).astype(dy.dtype.numpy))
        share = self.reshape(dy / counts, [-1, 1, *out])
        kernel = self.constant(np.ones((1, 1, *ksize), dy.dtype.numpy))
        full = self.conv_transpose(share, kernel, inner, strides=strides, padding=padding, dilations=ones)
        return self.reshape(full, [self.dim(dy, 0), self.dim(dy, 1), *inner])

    # --- unfolding ----------------------------------------------------------------------------------------------
    @folds
    def patches(
        self, x: OnnxValue, ksize: Ints, *, strides: Ints, padding: Padding, dilations: Ints, fill: Any = 0
    ) -> Any:
        x, win = self._slide(x, ksize, strides, padding, dilations, fill, inside=True)
        taps = itertools.product(*(range(k) for k in win.kernel))
        return self.stack([self._tap(x, t, win) for t in taps], 2)

    def _tap(self, x: OnnxValue, tap: Ints, win: Windows, like: OnnxValue | None = None) -> OnnxValue:
        """The cells that tap number `tap` of all windows reads; `x` is padded already."""
        starts = [k * d for k, d in zip(tap, win.dilations, strict=True)]
        axes = list(range(2, x.ndim))
        ends = []
        for i, axis in enumerate(axes):
            count = win.out[i] if win.out[i] is not None else None if like is None else self.dim(like, axis)
            if count is None:  # as many as fit behind the last tap
                behind = (win.kernel[i] - 1 - tap[i]) * win.dilations[i]
                ends.append(self.lift(self.dim(x, axis), dtype=dtypes.int64) - behind)
            else:
                ends.append((count - 1) * win.strides[i] + starts[i] + 1)
        vectors = [self.vector(v)[0] for v in (starts, ends, axes, win.strides)]
        return self.typed("Slice", [x], dims=(*x.dims[:2], *win.out), more=vectors)

    # --- geometry -----------------------------------------------------------------------------------------------
    def _slide(
        self, x: OnnxValue, kernel: Ints, strides: Ints, padding: Padding, dilations: Ints, fill: Any,
        *, inside: bool = False, pool: bool = False,
    ) -> tuple[OnnxValue, Windows]:  # fmt: skip
        """Return what to slide over (padded already where `inside`) and how."""
        k, s, d = (tuple(int(v) for v in vs) for vs in (kernel, strides, dilations))
        covers = [extent(a, b) for a, b in zip(k, d, strict=True)]
        attrs: dict[str, Any] = {"kernel_shape": list(k), "strides": list(s), "dilations": list(d)}
        pad = self._known_pads(padding, x.dims[2:], k, s, d)
        if pad is None:
            out = tuple(None if n is None else -(-n // a) for n, a in zip(x.dims[2:], s, strict=True))  # SAME
            # ONNX Runtime's own SAME knows no dilation, and stumbles over windows smaller than their stride.
            apart = any(c < v for c, v in zip(covers, s, strict=True))
            if pool and apart:
                raise Unlowerable("pooling by windows that do not touch, over sizes not known when compiling")
            if inside or apart or any(v > 1 for v in d):
                return self._pad_same(x, covers, s, fill), Windows(k, s, d, out, attrs)
            return x, Windows(k, s, d, out, attrs | {"auto_pad": "SAME_UPPER"})
        out = _positions(x.dims[2:], covers, s, pad)
        if 0 in out or 0 in x.dims:
            raise Unlowerable("ONNX Runtime does not slide over nothing")
        if not any(a or b for a, b in pad):
            return x, Windows(k, s, d, out, attrs)
        if inside:
            return self.pad(x, [(0, 0), (0, 0), *pad], fill), Windows(k, s, d, out, attrs)
        if pool and any(max(p) >= n for p, n in zip(pad, k, strict=True)):
            raise Unlowerable("ONNX Runtime pads pools by less than their window")
        return x, Windows(k, s, d, out, attrs | {"pads": _ends(pad)})

    def _known_pads(self, padding: Padding, sizes: Dims, k: Ints, s: Ints, d: Ints) -> Pads | None:
        if padding != "SAME":
            return windows.pads(padding, [0] * len(k), k, s, d)
        if any(n is None and a > 1 and b > 1 for n, a, b in zip(sizes, s, k, strict=True)):
            return None
        # With a stride or a window of 1 the padding does not depend on the size.
        return windows.pads(padding, [1 if n is None else n for n in sizes], k, s, d)

    def _pad_same(self, x: OnnxValue, covers: Ints, strides: Ints, fill: Any) -> OnnxValue:
        # Pads of all dimensions: ONNX Runtime 1.32 permutes them wrongly where the node names axes.
        sizes = self.gather(self.shape(x), self.constant(np.arange(2, x.ndim, dtype=np.int64)))
        total = self._same_total(sizes, self.constant(np.array(covers)), self.constant(np.array(strides)))
        before, outer = self.trunc_divide(total, 2), self.constant(np.zeros(2, np.int64))
        ends = self.concat([outer, before, outer, total - before], 0)
        dims = (*x.dims[:2], *(None,) * (x.ndim - 2))
        return self.typed("Pad", [x], dims=dims, more=[ends, self._filler(self.lift(fill, like=x), x)])


def _kernel(w: OnnxValue) -> list[int]:
    if any(k is None for k in w.dims[2:]):
        raise Unlowerable("the kernel size of a convolution is not known when compiling")
    return [int(k or 0) for k in w.dims[2:]]


def _positions(sizes: Dims, covers: Ints, strides: Ints, pad: Pads) -> Dims:
    each = zip(sizes, covers, strides, pad, strict=True)
    return tuple(None if n is None else windows.positions(n, c, s, p) for n, c, s, p in each)


def _ends(pad: Pads) -> list[int]:
    """ONNX wants all the befores, then all the afters."""
    return [p[0] for p in pad] + [p[1] for p in pad]
