"""The namespace `tf`: names are found when they are first used; what is missing says so."""

from __future__ import annotations

import subprocess
import sys

import pytest

import coldframe.tf1 as tf


@pytest.mark.parametrize("name", ["Session", "nn.relu", "train.AdamOptimizer", "layers.dense", "initializers.he_normal",
                                  "random.uniform", "get_collection", "contrib.rnn.BasicLSTMCell", "GraphKeys", "gfile.GFile"])  # fmt: skip  # noqa: E501
def test_names_are_found_and_stay(name: str) -> None:
    first, second = tf, tf
    for part in name.split("."):
        first, second = getattr(first, part), getattr(second, part)
    assert first is second


def test_a_missing_name_is_answered_with_near_ones() -> None:
    with pytest.raises(AttributeError, match=r"coldframe has no `tf.placehodler`\nhint: did you mean `placeholder`"):
        _ = tf.placehodler


def test_what_is_left_out_on_purpose_says_what_to_use() -> None:
    with pytest.raises(AttributeError, match="use placeholders and a Session"):
        tf.enable_eager_execution()


def test_importing_the_namespace_loads_no_engine() -> None:
    code = "import sys, coldframe.tf1; print([m for m in ('onnxruntime', 'jax', 'tensorflow') if m in sys.modules])"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout.strip() == "[]"
