"""The switches between TensorFlow 1 and 2 that programs begin with."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import tensorflow

import coldframe.tf1 as tf

SCRIPT = """
import {module} as tf
tf.disable_v2_behavior()
tf.compat.v1.disable_eager_execution()
tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
x = tf.compat.v1.placeholder(tf.float32, [None])
with tf.compat.v1.Session() as sess:
    print(sess.run(x * 2, {{x: [1.0, 2.0]}}).tolist(), tf.executing_eagerly())
"""


@pytest.mark.parametrize("module", ["tensorflow.compat.v1", "coldframe.tf1"])
def test_a_program_of_the_years_between(module: str, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(SCRIPT.format(module=module))
    command = [sys.executable, "-m", "coldframe", "exec", str(tmp_path / "program.py")]
    made = subprocess.run(command, capture_output=True, text=True, check=True)
    assert made.stdout == "[2.0, 4.0] False\n"


@pytest.fixture
def switches() -> Iterator[None]:
    yield
    tf.disable_v2_behavior()


@pytest.mark.usefixtures("switches")
def test_resource_variables_by_default() -> None:
    def kinds() -> list[str]:
        with tf.Graph().as_default():
            made = [tf.Variable(1.0), tf.get_variable("v", [])]
            with tf.variable_scope("r", use_resource=False):
                made.append(tf.get_variable("w", []))
            made.append(tf.get_variable("x", [], use_resource=True))
            return [v.op.type for v in made]

    assert kinds() == ["VariableV2", "VariableV2", "VariableV2", "VarHandleOp"]
    tf.enable_resource_variables()
    assert tf.resource_variables_enabled()
    assert kinds() == ["VarHandleOp", "VarHandleOp", "VariableV2", "VarHandleOp"]
    tf.disable_resource_variables()
    assert kinds() == ["VariableV2", "VariableV2", "VariableV2", "VarHandleOp"]


def test_what_there_is_of_each_switch() -> None:
    theirs = dir(tensorflow.compat.v1)
    names = [n for n in theirs if n.startswith(("enable_", "disable_", "executing_")) or n.endswith("_enabled")]
    refused = [n for n in names if not hasattr(tf, n)]
    assert refused == ["enable_eager_execution", "enable_tensor_equality", "enable_v2_behavior"]
    for name in refused:
        with pytest.raises(AttributeError, match="\nhint: "):
            getattr(tf, name)
    for name in ("disable_v2_behavior", "disable_eager_execution", "disable_control_flow_v2", "enable_control_flow_v2",
                 "disable_tensor_equality", "disable_v2_tensorshape"):  # fmt: skip
        assert getattr(tf, name)() is None
    off = (tf.executing_eagerly, tf.executing_eagerly_outside_functions, tf.control_flow_v2_enabled)
    assert [f() for f in off] == [False] * 3
    with pytest.raises(NotImplementedError, match="as_list"):
        tf.enable_v2_tensorshape()
    with pytest.raises(AttributeError, match=r"coldframe has no `tf.compat.v2`\nhint"):
        _ = tf.compat.v2


def test_is_tensor() -> None:
    with tf.Graph().as_default():
        values = [tf.constant(1), tf.Variable(1.0), tf.SparseTensor([[0]], [1.0], [2]), 1.0, [tf.constant(1)], None]
        assert [tf.is_tensor(v) for v in values] == [True, True, True, False, False, False]
