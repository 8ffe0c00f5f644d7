"""Graph files and meta graphs, exchanged with TensorFlow in both directions."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import shared_data
from coldframe.errors import (
    ColdframeError,
    CorruptError,
    NotFoundError,
    TruncatedError,
    UnsupportedError,
    WrongFileError,
)
from coldframe.formats import graph_def, messages, meta_graph, sniff, tensor_proto

v1 = tf.compat.v1


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what TensorFlow writes for one graph with a whole, a partitioned and a resource variable."""
    folder = tmp_path_factory.mktemp("written")
    with tf.Graph().as_default() as graph:
        v1.get_variable("whole", [3], use_resource=False)
        v1.get_variable("frozen", [2], use_resource=True, trainable=False)
        v1.get_variable("parts", [7, 4], partitioner=v1.fixed_size_partitioner(3), use_resource=False)
        tf.constant([[1.0, 2.0]], name="c")
        saver = v1.train.Saver()
        v1.train.export_meta_graph(str(folder / "model.meta"), saver_def=saver.as_saver_def())
        v1.train.export_meta_graph(str(folder / "model.meta.pbtxt"), as_text=True, saver_def=saver.as_saver_def())
        v1.train.write_graph(graph, str(folder), "graph.pb", as_text=False)
        v1.train.write_graph(graph, str(folder), "graph.pbtxt", as_text=True)
        v1.train.write_graph(graph, str(folder), "text_named.pb", as_text=True)
    return folder


@pytest.mark.parametrize("name", ["graph.pb", "graph.pbtxt", "text_named.pb"])
def test_read_what_tensorflow_writes(written: Path, name: str) -> None:
    graph = graph_def.read_graph_def(written / name)
    theirs = v1.GraphDef.FromString((written / "graph.pb").read_bytes())
    assert messages.serialize(graph, where="") == theirs.SerializeToString(deterministic=True)
    constant = next(n for n in graph.node if n.name == "c").attr["value"].tensor
    assert tensor_proto.to_array(constant, where="").tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("name", ["out.pb", "out.pbtxt"])
def test_tensorflow_reads_what_we_write(written: Path, tmp_path: Path, name: str) -> None:
    graph = graph_def.read_graph_def(written / "graph.pb")
    graph_def.write_graph_def(tmp_path / name, graph)
    assert os.listdir(tmp_path) == [name]
    if name.endswith("txt"):
        from google.protobuf import text_format

        theirs = text_format.Parse((tmp_path / name).read_text(), v1.GraphDef())
    else:
        theirs = v1.GraphDef.FromString((tmp_path / name).read_bytes())
    with tf.Graph().as_default() as imported:
        tf.import_graph_def(theirs, name="")
    assert [op.name for op in imported.get_operations()] == [n.name for n in graph.node]
    assert graph_def.read_graph_def(tmp_path / name) == graph


def test_too_large_a_graph_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(b"old")
    monkeypatch.setattr(messages, "SIZE_LIMIT", 10)
    graph = messages.GraphDef(node=[messages.NodeDef(name="a" * 20, op="NoOp")])
    with pytest.raises(UnsupportedError, match=r"GraphDef is too large for protobuf for .*graph.pb"):
        graph_def.write_graph_def(path, graph)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["graph.pb"]


def test_too_large_a_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    path.write_bytes(messages.serialize(messages.GraphDef(node=[{"name": "a", "op": "NoOp"}]), where=""))
    os.truncate(path, 1 << 40)  # a hole
    with pytest.raises(UnsupportedError, match=r"GraphDef is too large in .*: expected at most 2147483647 bytes"):
        graph_def.read_graph_def(path)


def test_every_cut_is_our_error(written: Path, tmp_path: Path) -> None:
    data = (written / "graph.pb").read_bytes()
    path = tmp_path / "cut.pb"
    ends = {0}
    parsed = 0
    for end in range(0, len(data), 7):
        path.write_bytes(data[:end])
        try:
            graph_def.read_graph_def(path)
            parsed += 1  # cut between two nodes: still a graph
        except (CorruptError, WrongFileError):
            ends.add(end)
    assert len(ends) > parsed


def test_cut_file_names_the_offset(written: Path, tmp_path: Path) -> None:
    graph = messages.GraphDef(node=[messages.NodeDef(name=n, op="NoOp") for n in ("first", "second")])
    data = messages.serialize(graph, where="")
    path = tmp_path / "cut.pb"
    path.write_bytes(data[:-3])
    with pytest.raises(TruncatedError) as info:
        graph_def.read_graph_def(path)
    assert str(info.value) == (
        f"file ends too early in {path}: expected 3 more bytes for the field at byte 0xf, found {len(data) - 3} bytes "
        "in all\nhint: was the download or the copy interrupted?"
    )
    path.write_bytes(data[:17] + b"\xff" + data[18:])
    with pytest.raises(CorruptError, match="damage inside a nested message of 31"):
        graph_def.read_graph_def(path)
    path.write_bytes(data + b"\x07")
    with pytest.raises(CorruptError, match="no field at byte 0x1f of 32"):
        graph_def.read_graph_def(path)


def test_unusual_but_sound_graphs_are_read(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    for graph in (
        messages.GraphDef(versions={"producer": 27}),
        messages.GraphDef(version=21),
        messages.GraphDef(library={"function": [{"signature": {"name": "f"}}]}),
        messages.GraphDef(node=[{"name": "\u00e9t\u00e9", "op": "NoOp"}]),
        messages.GraphDef(node=[{"name": "x" * 10_000, "op": "NoOp"}]),
    ):
        graph_def.write_graph_def(path, graph)
        assert graph_def.read_graph_def(path) == graph


def test_wrong_files(written: Path, tmp_path: Path) -> None:
    with pytest.raises(WrongFileError, match=r"expected a graph \(GraphDef\), found a meta graph \(MetaGraphDef\)"):
        graph_def.read_graph_def(written / "model.meta")
    with pytest.raises(
        WrongFileError, match=r"expected a meta graph \(MetaGraphDef\), found a graph \(GraphDef\), as t"
    ):
        meta_graph.read_meta_graph(written / "graph.pbtxt")
    with pytest.raises(NotFoundError, match=r"did you mean `graph.pb`"):
        graph_def.read_graph_def(written / "grap.pb")
    with pytest.raises(WrongFileError, match=r"expected the file of a graph .*, found a folder"):
        graph_def.read_graph_def(written)
    (tmp_path / "noise.pb").write_bytes(b"\x00\x01\x02\x03")
    with pytest.raises(WrongFileError, match="found of no known kind\nhint: its first bytes are `00 01 02 03`"):
        graph_def.read_graph_def(tmp_path / "noise.pb")


@pytest.mark.parametrize("name", ["model.meta", "model.meta.pbtxt"])
def test_meta_graph_variables(written: Path, name: str) -> None:
    meta = meta_graph.read_meta_graph(written / name)
    assert meta.saver_def.version == messages.SaverDef.V2
    found = {v.name: v for v in meta_graph.variables(meta, where="")}
    assert list(found) == ["whole:0", "frozen:0", "parts/part_0:0", "parts/part_1:0", "parts/part_2:0"]
    assert (found["whole:0"].is_resource, found["whole:0"].is_trainable) == (False, True)
    assert (found["frozen:0"].is_resource, found["frozen:0"].is_trainable) == (True, False)
    assert found["whole:0"].initializer == "whole/Assign"
    assert found["whole:0"].part is None
    part = found["parts/part_1:0"]
    assert part.node == "parts/part_1"
    assert part.checkpoint_name == "parts"
    assert part.part == meta_graph.VariableSlice("parts", (7, 4), (3, 0), (2, 4))
    assert len(meta_graph.variables(meta, "trainable_variables", where="")) == 4
    assert meta_graph.variables(meta, "absent", where="") == []


@pytest.mark.parametrize("name", ["out.meta", "out.pbtxt"])
def test_tensorflow_imports_a_meta_graph_we_write(written: Path, tmp_path: Path, name: str) -> None:
    meta = meta_graph.read_meta_graph(written / "model.meta")
    meta_graph.write_meta_graph(tmp_path / name, meta)
    with tf.Graph().as_default():
        v1.train.import_meta_graph(str(tmp_path / name))
        assert [v.name for v in v1.global_variables()] == [v.name for v in meta_graph.variables(meta, where="")]


def test_damaged_variables_are_named() -> None:
    meta = messages.MetaGraphDef()
    meta.collection_def["variables"].bytes_list.value.append(b"\x0a\x09a")
    with pytest.raises(CorruptError, match=r"VariableDef in entry 0 of collection `variables` in m.meta"):
        meta_graph.variables(meta, where="in m.meta")
    part = {"full_name": "w", "full_shape": [4], "var_offset": [3], "var_shape": [2]}
    raw = messages.VariableDef(variable_name="w/part_1:0", save_slice_info_def=part).SerializeToString()
    meta.collection_def["variables"].bytes_list.value[0] = raw
    with pytest.raises(
        CorruptError, match=r"`w/part_1:0` lies outside.*within `w` \[4\], found offset \[3\], shape \[2\]"
    ):
        meta_graph.variables(meta, where="in m.meta")


def test_signatures_by_name() -> None:
    meta = messages.MetaGraphDef()
    meta.signature_def["serving_default"].method_name = "predict"
    assert meta_graph.signature(meta, "serving_default", where="").method_name == "predict"
    with pytest.raises(
        NotFoundError, match=r"no signature is called `serving` in m: expected one of `serving_default`"
    ):
        meta_graph.signature(meta, "serving", where="in m")


@pytest.mark.parametrize("path", [*shared_data.model_files("**/*.pb"), *shared_data.model_files("**/*.meta")], ids=str)
def test_real_graphs_equal_tensorflows(path: Path) -> None:
    kind = sniff.sniff(path).kind
    classes = {sniff.Kind.GRAPH_DEF: v1.GraphDef, sniff.Kind.META_GRAPH: v1.MetaGraphDef}
    if kind not in classes or path.stat().st_size > 20_000_000:
        return
    found, message = graph_def.load_graph_like(path)
    theirs: Any = classes[kind].FromString(path.read_bytes())
    assert found is kind
    assert messages.serialize(message, where="") == theirs.SerializeToString(deterministic=True)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutated_files_give_a_graph_or_our_error(written: Path, tmp_path: Path, data: st.DataObject) -> None:
    name, read = data.draw(
        st.sampled_from(
            [
                ("graph.pb", graph_def.read_graph_def),
                ("model.meta", meta_graph.read_meta_graph),
                ("graph.pbtxt", graph_def.read_graph_def),
                ("graph.pb", graph_def.load_graph_like),
            ]
        )
    )
    raw = bytearray((written / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.one_of(st.integers(0, 100), st.integers(0, len(raw) - 1)))
        raw[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "mutated"
    path.write_bytes(raw)
    with contextlib.suppress(ColdframeError):
        read(path)
