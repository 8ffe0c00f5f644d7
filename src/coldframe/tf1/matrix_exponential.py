"""`tf.linalg.expm`: exponentials of matrices, by scaling and squaring."""

from __future__ import annotations

import math
from typing import Any, Final

import coldframe.tf1 as tf
from coldframe.tf1.while_loop import while_loop

_PADE: Final = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
    10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
_SMALL: Final = 5.371920351148152  # up to this norm, the approximation is exact to rounding


def expm(input: Any, name: str | None = None) -> Any:
    """Return the exponentials of square matrices.

    They are scaled down by powers of 2, a rational approximation of degree 13 is taken, and the results are squared as
    often (N. J. Higham, https://doi.org/10.1137/04061101X).
    """
    with tf.name_scope(name, "matrix_exponential", [input]):
        matrix = tf.convert_to_tensor(input)
        size = tf.reduce_max(tf.reduce_sum(tf.abs(matrix), axis=-2), axis=-1)
        times = tf.maximum(tf.ceil(tf.log(size / _SMALL) / math.log(2.0)), tf.zeros_like(size))
        scale = tf.cast(tf.pow(tf.constant(2.0, size.dtype), -times), matrix.dtype)
        found = _rational(matrix * scale[..., None, None])
        found.set_shape(matrix.shape)

        def square(done: Any, value: Any) -> tuple[Any, Any]:
            more = tf.broadcast_to((done < times)[..., None, None], tf.shape(value))
            return done + 1.0, tf.where(more, tf.matmul(value, value), value)

        return while_loop(lambda done, _: done < tf.reduce_max(times), square, (tf.zeros([], size.dtype), found))[1]


def _rational(a: Any) -> Any:
    """Return the approximation for small matrices."""
    b = [tf.constant(v, a.dtype) for v in _PADE]
    one = tf.eye(tf.shape(a)[-1], dtype=a.dtype)
    a2 = tf.matmul(a, a)
    a4 = tf.matmul(a2, a2)
    a6 = tf.matmul(a4, a2)
    odd = tf.matmul(a6, b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * one
    even = tf.matmul(a6, b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * one
    odd = tf.matmul(a, odd)
    return tf.matrix_solve(even - odd, even + odd)


__all__ = ["expm"]
