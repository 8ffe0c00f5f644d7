"""Gradient rules of diagonals and bands of matrices, named after the ops."""

from __future__ import annotations

from typing import Any

from coldframe.ops.backward import full, zeros_like


def diag(g: Any, op: Any, dy: Any) -> Any:
    return g.DiagPart(dy)


def diag_part(g: Any, op: Any, dy: Any) -> Any:
    return g.Diag(dy)


def matrix_diag(g: Any, op: Any, dy: Any) -> Any:
    return g.MatrixDiagPart(dy)


def matrix_diag_v2(g: Any, op: Any, dy: Any) -> Any:
    return [part(g, dy, op.inputs[1], "LEFT_LEFT"), *[None] * 4]


def matrix_diag_v3(g: Any, op: Any, dy: Any) -> Any:
    return [part(g, dy, op.inputs[1], op.get_attr("align")), *[None] * 4]


def matrix_diag_part(g: Any, op: Any, dy: Any) -> Any:
    """A square matrix is made anew; others keep the shape of the input."""
    x = op.inputs[0]
    dims = x.static_shape.dims
    if dims is not None and dims[-1] is not None and dims[-2] == dims[-1]:
        return g.MatrixDiag(dy)
    return g.MatrixSetDiag(zeros_like(g, x), dy)


def matrix_diag_part_v2(g: Any, op: Any, dy: Any) -> Any:
    return _bands(g, op, dy, "LEFT_LEFT"), None, None


def matrix_diag_part_v3(g: Any, op: Any, dy: Any) -> Any:
    return _bands(g, op, dy, op.get_attr("align")), None, None


def _bands(g: Any, op: Any, dy: Any, align: Any) -> Any:
    x, k = op.inputs[:2]
    dims = x.static_shape.dims
    if dims is not None and None not in dims[-2:]:
        return g.MatrixDiagV3(dy, k, dims[-2], dims[-1], g.constant(0, dy.dtype), align=align, name="diag")
    return set_(g, zeros_like(g, x), dy, k, align)


def matrix_set_diag(g: Any, op: Any, dy: Any) -> Any:
    return g.MatrixSetDiag(dy, zeros_like(g, op.inputs[1])), g.MatrixDiagPart(dy)


def matrix_set_diag_v2(g: Any, op: Any, dy: Any) -> Any:
    return [*_replaced(g, op, dy, "LEFT_LEFT"), None]


def matrix_set_diag_v3(g: Any, op: Any, dy: Any) -> Any:
    return [*_replaced(g, op, dy, op.get_attr("align")), None]


def _replaced(g: Any, op: Any, dy: Any, align: Any) -> tuple[Any, Any]:
    """The matrix gets no gradient on the diagonals that were replaced; they get what is there."""
    _, diagonal, k = op.inputs
    dims = diagonal.static_shape
    zeros = full(g, dims.dims, 0, dy.dtype, "zeros") if dims.is_static else zeros_like(g, diagonal)
    return set_(g, dy, zeros, k, align), part(g, dy, k, align)


def matrix_band_part(g: Any, op: Any, dy: Any) -> Any:
    return g.MatrixBandPart(dy, op.inputs[1], op.inputs[2]), None, None


# --- words --------------------------------------------------------------------------------------------------------
def made(g: Any, diagonal: Any) -> Any:
    """Matrices with the given main diagonal, as large as it."""
    return g.MatrixDiagV3(diagonal, 0, -1, -1, g.constant(0, diagonal.dtype), name="diag")


def part(g: Any, x: Any, k: Any = 0, align: Any = "RIGHT_LEFT") -> Any:
    """The diagonals `k` of matrices."""
    return g.MatrixDiagPartV3(x, k, g.constant(0, x.dtype), align=align, name="diag_part")


def set_(g: Any, x: Any, diagonal: Any, k: Any = 0, align: Any = "RIGHT_LEFT") -> Any:
    """Matrices with other diagonals `k`."""
    return g.MatrixSetDiagV3(x, diagonal, k, align=align, name="set_diag")
