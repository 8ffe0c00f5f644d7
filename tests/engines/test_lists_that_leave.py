"""Tensor lists that a compiled part hands to ops on numpy: these still take what the graph says that a list takes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import ExecutionError
from coldframe.formats import messages
from coldframe.runtime.session import Session
from graphs import Case, case, same

RAW = tf.raw_ops
FEEDS: dict[str, Any] = {"x:0": np.array([1.5, 2.5], "f"), "text:0": np.array([b"1", b"2", b"3"], object)}


def _pushed(element_shape: Any, *, rows: bool = False, text: Any = FEEDS["text:0"]) -> Case:
    """A list of what is compiled, and one element more that comes from strings."""

    def build() -> Any:
        x = tf.compat.v1.placeholder(tf.float32, [2], name="x")
        numbers = tf.strings.to_number(tf.compat.v1.placeholder(tf.string, [None], name="text"))
        if rows:
            made = RAW.TensorListFromTensor(tensor=tf.stack([x * 2.0, x + 1.0]), element_shape=element_shape)
        else:
            empty = RAW.EmptyTensorList(element_shape=element_shape, max_num_elements=-1, element_dtype=tf.float32)
            made = RAW.TensorListPushBack(input_handle=empty, tensor=tf.tanh(x * 2.0 + 1.0))
        longer = RAW.TensorListPushBack(input_handle=made, tensor=numbers)
        items = [
            RAW.TensorListGetItem(input_handle=longer, index=i, element_shape=element_shape, element_dtype=tf.float32)
            for i in (0, 2 if rows else 1)
        ]
        return [*items, RAW.TensorListElementShape(input_handle=longer, shape_type=tf.int32)]

    return case(build, FEEDS | {"text:0": np.array(text, object)})


@pytest.mark.parametrize("rows", [False, True], ids=["pushed", "of rows"])
@pytest.mark.parametrize("engine", ["onnxruntime", "xla", "reference"])
def test_elements_of_another_size_are_taken(engine: str, rows: bool) -> None:
    c = _pushed([-1], rows=rows)
    session = Session(c.graph, engine)
    for _ in range(2):
        same(session.run(c.fetches, c.feeds[0]), c.answers[0])


@pytest.mark.parametrize("engine", ["onnxruntime", "xla", "reference"])
def test_elements_that_do_not_fit_are_refused(engine: str) -> None:
    c = _pushed([2], text=[b"1", b"2"])
    session = Session(c.graph, engine)
    same(session.run(c.fetches, c.feeds[0]), c.answers[0])
    with pytest.raises(ExecutionError, match="does not fit the list"):
        session.run(c.fetches, FEEDS)


@pytest.mark.parametrize("engine", ["onnxruntime", "xla", "reference"])
@pytest.mark.parametrize("lengths", [(2, 3), (2, 2)])
def test_lists_of_two_lengths_are_not_added(engine: str, lengths: tuple[int, int]) -> None:
    def build() -> Any:
        lists = [RAW.TensorListReserve(element_shape=[2], num_elements=n, element_dtype=tf.float32) for n in lengths]
        return [RAW.TensorListStack(input_handle=tf.add_n(lists), element_shape=[2], element_dtype=tf.float32)]

    if lengths[0] == lengths[1]:
        c = case(build, {})
        same(Session(c.graph, engine).run(c.fetches, {}), c.answers[0])
        return
    with tf.Graph().as_default() as graph:
        out = build()[0].name
    with pytest.raises(tf.errors.InvalidArgumentError), tf.compat.v1.Session(graph=graph) as session:
        session.run(out)
    ours = Session(messages.parse("GraphDef", graph.as_graph_def().SerializeToString(), where="in memory"), engine)
    with pytest.raises(ExecutionError, match="lists to add up differ in dtype or length"):
        ours.run(out)


@pytest.mark.parametrize("engine", ["onnxruntime", "xla", "reference"])
def test_lists_of_complex_constants(engine: str) -> None:
    def build() -> Any:
        made = RAW.TensorListFromTensor(tensor=tf.constant([1 + 2j, 3 - 4j]), element_shape=np.zeros(0, np.int32))
        other = RAW.TensorListSetItem(input_handle=made, index=0, item=tf.constant(5 + 6j))
        return [
            RAW.TensorListStack(input_handle=other, element_shape=np.zeros(0, np.int32), element_dtype=tf.complex128)
        ]

    c = case(build, {})
    session = Session(c.graph, engine)
    same(session.run(c.fetches, {}), c.answers[0])
