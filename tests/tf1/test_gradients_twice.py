"""Gradients of gradients: the nodes that rules build have rules that fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import Graph
from coldframe.tf1.gradients import gradients
from coldframe.tf1.session import Session
from gradient_harness import Row, Variable, close, coldframe_forward, tensorflow_forward, value_of
from gradient_rows import ARRAYS, BINARY, PICKING, PRODUCTS, REDUCTIONS, UNARY

v1 = tf.compat.v1


def one_for_each(rows: list[Row]) -> list[Row]:
    """The first row of each op whose inputs are float64, leaving out those that a second gradient is 0 of."""
    found: dict[str, Row] = {}
    for row in rows:
        floating = [value_of(row.flat[i]).dtype for i in row.wrt]
        if all(d == np.float64 for d in floating) and not any(isinstance(x, Variable) for x in row.flat):
            found.setdefault(row.op, row)
    return [row for op, row in found.items() if op not in _FLAT]


_FLAT = {"Floor", "Ceil", "Round", "Rint", "Sign", "FloorDiv", "TruncateDiv", "ArgMax", "ArgMin", "Polygamma", "Zeta",
         "Igamma", "Igammac", "BesselI1e", "NextAfter"}  # fmt: skip
ROWS = one_for_each([*UNARY, *BINARY, *REDUCTIONS, *PRODUCTS, *ARRAYS, *PICKING])


@pytest.fixture(scope="module")
def oracle() -> list[list[Any] | None]:
    """For each row the gradient of the sum of squares of the gradient of the sum of sines; None where there is none."""
    with tf.Graph().as_default(), v1.Session() as session:
        feeds: dict[Any, Any] = {}
        fetches: list[list[Any]] = []
        for row in ROWS:
            inputs, outputs = tensorflow_forward(row, feeds, session)
            xs = [inputs[i] for i in row.wrt]
            first = tf.gradients([tf.sin(y) for y in outputs if y.dtype == tf.float64], xs)
            try:
                again = tf.gradients([tf.square(tf.convert_to_tensor(f)) for f in first if f is not None], xs)
            except LookupError:
                again = []
            fetches.append([tf.constant(b"none") if a is None else tf.convert_to_tensor(a) for a in again])
        return [found or None for found in session.run(fetches, feeds)]


@pytest.mark.parametrize(("at", "row"), list(enumerate(ROWS)), ids=[str(r) for r in ROWS])
def test_gradients_of_gradients(at: int, row: Row, oracle: list[list[Any] | None]) -> None:
    want = oracle[at]
    with Graph().as_default() as graph:
        feeds: dict[str, Any] = {}
        inputs, node = coldframe_forward(row, feeds, {}, graph)
        xs = [inputs[i] for i in row.wrt]
        first = gradients([raw.Sin(y) for y in node.outputs if y.dtype.name == "float64"], xs)
        squares = [raw.Square(convert_to_tensor(f)) for f in first if f is not None]
        if want is None:
            with pytest.raises(LookupError, match="No gradient defined"):
                gradients(squares, xs)
            return
        again = gradients(squares, xs)
        with Session(graph=graph, engine="reference") as session:
            got = session.run([raw.constant(b"none") if a is None else convert_to_tensor(a) for a in again], feeds)
    for g, w in zip(got, want, strict=True):
        if isinstance(w, bytes):
            assert g == w
        else:
            close(str(row), np.asarray(g) + 1, np.asarray(w) + 1, 1e-6)  # a sum may cancel
