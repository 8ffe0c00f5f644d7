"""Products of matrices, as ONNX nodes. What they mean: `numpy_linear`."""

from __future__ import annotations

import dataclasses
from typing import Any

from coldframe.primitives.base import Unlowerable
from coldframe.primitives.onnx_builder import OnnxValue
from coldframe.primitives.onnx_elementwise import folds, joined
from coldframe.primitives.onnx_shape import ShapeOnnx


class LinearOnnx(ShapeOnnx):
    """Matrix products."""

    @folds
    def matmul(self, x: OnnxValue, y: OnnxValue) -> Any:
        batch_x, batch_y = dataclasses.replace(x, dims=x.dims[:-2]), dataclasses.replace(y, dims=y.dims[:-2])
        return self.typed("MatMul", [x, y], dims=(*joined(batch_x, batch_y), x.dims[-2], y.dims[-1]))

    @folds
    def einsum(self, equation: str, *xs: OnnxValue) -> Any:
        terms, _, out = equation.partition("->")
        sizes: dict[str, int | None] = {}
        for term, x in zip(terms.split(","), xs, strict=True):
            if "." in term or len(set(term)) != len(term):
                raise Unlowerable("einsum with an ellipsis or a diagonal")
            for label, d in zip(term, x.dims, strict=True):
                sizes[label] = d if sizes.get(label) is None else sizes[label]
        return self.typed("Einsum", list(xs), dims=tuple(sizes[label] for label in out), equation=equation)
