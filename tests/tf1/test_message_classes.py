"""The message classes that programs build: all that `tf` and its namespaces export, with TensorFlow's manners."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import pytest
import tensorflow as tf
from google.protobuf.message import Message

from coldframe.formats import messages

tf1 = tf.compat.v1
SPACES = {"tf": tf1, "train": tf1.train, "summary": tf1.summary, "saved_model": tf1.saved_model}


def exported() -> Iterator[tuple[str, Any]]:
    for where, space in SPACES.items():
        for name in dir(space):
            value = getattr(space, name)
            if inspect.isclass(value) and issubclass(value, Message):
                yield f"{where}.{name}", value


@pytest.mark.parametrize(("name", "theirs"), list(exported()), ids=lambda v: v if isinstance(v, str) else "")
def test_exported_messages_are_there(name: str, theirs: Any) -> None:
    ours = getattr(messages, name.split(".")[1])
    assert ours.DESCRIPTOR.full_name == theirs.DESCRIPTOR.full_name
    for enum in theirs.DESCRIPTOR.enum_types:
        assert getattr(ours, enum.values[0].name) == enum.values[0].number


def test_some_are_exported() -> None:
    assert {"tf.ConfigProto", "tf.Summary", "train.Example", "train.SaverDef"} <= {n for n, _ in exported()}


def test_options_are_built_and_changed_as_programs_do() -> None:
    def build(tf: Any, metadata: Any) -> bytes:
        config = tf.ConfigProto(allow_soft_placement=True, gpu_options=tf.GPUOptions(allow_growth=False))
        config.gpu_options.allow_growth = True
        config.gpu_options.per_process_gpu_memory_fraction = 0.4
        config.intra_op_parallelism_threads = 2
        config.graph_options.optimizer_options.global_jit_level = tf.OptimizerOptions.ON_1
        config.device_count["GPU"] = 0
        options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
        return bytes(config.SerializeToString(deterministic=True) + options.SerializeToString() + metadata)

    ours = build(messages, messages.RunMetadata().SerializeToString())
    assert ours == build(tf1, tf1.RunMetadata().SerializeToString())
    with pytest.raises(ValueError, match="no_such_option"):
        messages.ConfigProto(no_such_option=True)


def test_examples_are_built_as_programs_do() -> None:
    def build(train: Any) -> bytes:
        feature = {
            "bytes": train.Feature(bytes_list=train.BytesList(value=[b"a"])),
            "ints": train.Feature(int64_list=train.Int64List(value=range(3))),
            "floats": train.Feature(float_list=train.FloatList(value=[0.5, 1])),
        }
        lists = train.FeatureLists(feature_list={"steps": train.FeatureList(feature=[feature["ints"]])})
        sequence = train.SequenceExample(context=train.Features(feature=feature), feature_lists=lists)
        example = train.Example(features=train.Features(feature=feature))
        example.features.feature["more"].int64_list.value.append(7)
        parts = [m.SerializeToString(deterministic=True) for m in (example, sequence)]
        assert train.Example.FromString(parts[0]) == example
        return b"|".join(parts)

    assert build(messages) == build(tf1.train)
