"""Opening graphs in all their forms, with the variables that belong to them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe import dtypes
from coldframe.errors import CorruptError, MisuseError, NotFoundError, WrongFileError
from coldframe.formats import messages
from coldframe.formats.graph_def import read_graph_def
from coldframe.formats.slices import Box
from coldframe.graph.ir import Graph
from coldframe.passes.variables import restore_bindings, variable_type
from coldframe.runtime.source import Source, open_source, read_variable
from coldframe.shapes import Shape
from fixtures_data import crc32, fixture, fixtures
from graph_builder import const, graph, node, placeholder

v1 = tf.compat.v1


@pytest.mark.parametrize("case", [f for f in fixtures() if f.kind != "checkpoint" or f.meta], ids=repr)
def test_every_fixture_opens_with_all_its_variables(case: Any) -> None:
    source = open_source(case.meta or case.path)
    assert source.variables.keys() == source.variable_nodes.keys()
    for name in source.variables:
        value = read_variable(source, name)
        assert variable_type(source.variable_nodes[name])[1] == Shape(value.shape)


def test_a_meta_graph_finds_the_checkpoint_beside_it() -> None:
    case = fixture("v2_adam")
    source = open_source(case.meta)
    assert source.kind == "meta_graph"
    assert source.checkpoint_path == str(case.path)
    facts = case.tensors()
    for name, binding in source.variables.items():
        assert crc32(read_variable(source, name)) == facts[binding.key].crc32


def test_a_meta_graph_without_a_checkpoint(tmp_path: Path) -> None:
    meta = fixture("v2_adam").meta
    assert meta is not None
    shutil.copy(meta, tmp_path / "alone.meta")
    source = open_source(tmp_path / "alone.meta")
    assert source.checkpoint is None
    name = next(iter(source.variable_nodes))
    with pytest.raises(NotFoundError, match=f"variable `{name}` has no value.*\nhint: pass the checkpoint"):
        read_variable(source, name)
    assert read_variable(open_source(source, checkpoint=fixture("v2_adam").path), name).dtype == np.float32


def test_partitions_are_parts_of_one_tensor() -> None:
    case = fixture("v2_partitioned")
    source = open_source(case.meta)
    parts = {n: b for n, b in source.variables.items() if b.part is not None}
    assert parts
    whole = source.checkpoint
    assert whole is not None
    for name, binding in parts.items():
        assert binding.part is not None
        full = whole.read(binding.key)
        assert full.shape == binding.full_shape
        expected = full[binding.part.index(Box.whole(full.shape))]
        np.testing.assert_array_equal(read_variable(source, name), expected)


def test_the_signatures_of_saved_models() -> None:
    source = open_source(fixture("saved_model_tf2").path)
    assert sorted(source.signatures) == ["lookup", "loop", "serving_default"]
    signature = source.signature()
    assert signature.name == "serving_default"
    assert signature.method == "tensorflow/serving/predict"
    assert signature.inputs["x"].name == "serving_default_x:0"
    assert signature.inputs["x"].dtype is dtypes.float32
    assert sorted(signature.outputs) == ["best", "y"]
    with pytest.raises(
        NotFoundError, match=r"no signature is called `servingdefault`.*\nhint: did you mean `serving_def"
    ):
        source.signature("servingdefault")


@pytest.mark.parametrize("name", ["saved_model_tf1", "saved_model_tf1_text"])
def test_assets_and_init_ops_of_tf1(name: str) -> None:
    source = open_source(fixture(name).path)
    assert source.init_ops == (("main_op",) if name == "saved_model_tf1" else ("legacy_init_op",))
    assert source.assets["vocabulary:0"].is_file()


def test_a_saved_model_by_its_file() -> None:
    by_folder = open_source(fixture("saved_model_tf2").path)
    by_file = open_source(fixture("saved_model_tf2").path / "saved_model.pb")
    assert by_file.checkpoint_path == by_folder.checkpoint_path
    with pytest.raises(NotFoundError, match="no meta graph is tagged"):
        open_source(fixture("saved_model_tf2").path, tags=["train"])


def test_graphs_in_memory() -> None:
    path = fixture("frozen_batch_norm").path
    proto = read_graph_def(path)
    of_tensorflow = tf.compat.v1.GraphDef.FromString(path.read_bytes())
    for given in (path, str(path), path.read_bytes(), proto, of_tensorflow, open_source(path).graph):
        assert len(open_source(given).graph) == len(proto.node)
    meta = fixture("v2_adam").meta
    assert meta is not None
    assert open_source(meta.read_bytes()).kind == "meta_graph"


def test_wrong_things() -> None:
    case = fixture("v2_adam")
    with pytest.raises(WrongFileError, match=r"of the wrong kind.*\nhint: a checkpoint holds values; pass the graph"):
        open_source(case.path)
    with pytest.raises(
        MisuseError, match="not a graph: expected a path, bytes, a Graph, or a GraphDef message, found int"
    ):
        open_source(7)
    with pytest.raises(WrongFileError, match="the bytes are of the wrong kind"):
        open_source(b"\x00\x01\x02 not a graph at all")
    with pytest.raises(NotFoundError, match="no file"):
        open_source("nowhere.pb")


def test_a_damaged_graph(tmp_path: Path) -> None:
    data = fixture("frozen_digits").path.read_bytes()
    (tmp_path / "cut.pb").write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptError):
        open_source(tmp_path / "cut.pb")


def test_a_checkpoint_of_another_graph(tmp_path: Path) -> None:
    with tf.Graph().as_default(), v1.Session() as session:
        weights = v1.get_variable("weights", [2, 3])
        session.run(v1.global_variables_initializer())
        v1.train.Saver([weights]).save(session, str(tmp_path / "model.ckpt"))
    attrs = {"dtype": dtypes.float32, "shared_name": b"", "container": b""}
    other = graph(
        [
            node("weights = VariableV2()", shape=Shape((3, 2)), **attrs),
            node("weight = VariableV2()", shape=Shape((2, 3)), **attrs),
        ]
    )
    source = open_source(other, checkpoint=tmp_path / "model.ckpt")
    with pytest.raises(
        MisuseError, match=r"does not fit its checkpoint .*expected float32\[3, 2\], found float32\[2, 3\]"
    ):
        read_variable(source, "weights")
    with pytest.raises(
        NotFoundError, match=r"variable `weight` is not in the checkpoint .*\nhint: did you mean `weights`"
    ):
        read_variable(source, "weight")


def test_a_graph_without_a_saver_goes_by_names() -> None:
    """The object graph of tf.train.Checkpoint and Keras knows the names that the variables have in graphs."""
    case = fixture("object_slots")
    opened = open_source(Graph(), checkpoint=case.path)
    assert opened.checkpoint is not None
    names = dict(list(opened.checkpoint.by_full_name.items())[:3])
    specs = opened.checkpoint.specs
    nodes = []
    for name, key in names.items():
        attrs = {"dtype": specs[key].dtype, "shape": specs[key].shape, "shared_name": name.encode()}
        nodes.append(node(f"{name.replace(':', '_')} = VarHandleOp()", **attrs))
    source = open_source(graph(nodes), checkpoint=case.path)
    assert {n: b.key for n, b in source.variables.items()} == names


def test_what_is_restored_must_be_told_by_constants() -> None:
    attrs = {"dtype": dtypes.float32, "shape": Shape(()), "shared_name": b"", "container": b""}
    nodes = [
        node("w = VariableV2()", **attrs),
        placeholder("file", dtypes.string),
        placeholder("names", dtypes.string),
        const("slices", np.array([b""], object)),
        node("r = RestoreV2(file, names, slices)", dtypes=(dtypes.float32,)),
        node("a = Assign(w, r)", T=dtypes.float32),
    ]
    with pytest.raises(MisuseError, match=r"node `r` .RestoreV2. does not say in a constant what it restores"):
        restore_bindings(graph(nodes), "a")


def test_nothing_is_read_before_it_is_asked_for(tmp_path: Path) -> None:
    case = fixture("saved_model_tf2")
    shutil.copytree(case.path, tmp_path / "model")
    for data in (tmp_path / "model" / "variables").iterdir():
        data.write_bytes(b"damaged")
    source = open_source(tmp_path / "model")
    assert isinstance(source, Source)
    assert source.signature().name == "serving_default"
    with pytest.raises(CorruptError):
        _ = source.variables


def test_messages_of_ours_are_not_copied() -> None:
    proto = messages.GraphDef()
    proto.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    assert open_source(proto).graph["x"].op == "Placeholder"
