"""SavedModel folders, exchanged with TensorFlow in both directions."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import shared_data
from coldframe.errors import (
    CorruptError,
    NotFoundError,
    TruncatedError,
    UnsupportedFormatError,
    WrongFileError,
)
from coldframe.formats import messages, saved_model, sniff


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "model"
    vocabulary = folder.parent / "vocab.txt"
    vocabulary.write_text("a\nb\n")
    module = tf.Module()
    module.w = tf.Variable([2.0, 3.0])
    module.vocabulary = tf.saved_model.Asset(str(vocabulary))
    module.f = tf.function(lambda x: x * module.w, input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.f})
    return folder


@pytest.mark.parametrize("given", ["", "saved_model.pb"])
def test_read_what_tensorflow_writes(written: Path, given: str) -> None:
    model = saved_model.read_saved_model(written / given)
    assert model.folder == written
    assert model.tag_sets == [frozenset({"serve"})]
    assert model.variables_prefix == written / "variables" / "variables"
    graph = model.meta_graph()
    assert graph == model.meta_graph(["serve"]) == model.meta_graph("serve")
    assert graph.signature_def["serving_default"].inputs["x"].name == "serving_default_x:0"
    assert [p.read_text() for p in model.assets(graph).values()] == ["a\nb\n"]
    fingerprint = model.fingerprint()
    assert fingerprint is not None
    assert fingerprint.version.producer >= 1
    theirs: Any = saved_model_pb2.SavedModel.FromString((written / "saved_model.pb").read_bytes())
    assert messages.serialize(model.message, where="") == theirs.SerializeToString(deterministic=True)


@pytest.mark.parametrize("as_text", [False, True])
def test_tensorflow_loads_what_we_write(written: Path, tmp_path: Path, as_text: bool) -> None:
    source = saved_model.read_saved_model(written)
    shutil.copytree(written / "variables", tmp_path / "out" / "variables")
    (tmp_path / "out" / "saved_model.pb").write_bytes(b"stale")
    copy = saved_model.write_saved_model(
        tmp_path / "out", source.message.meta_graphs, assets={"vocab.txt": b"a\nb\n"}, as_text=as_text
    )
    assert saved_model.read_saved_model(tmp_path / "out").message == source.message
    assert [p.read_text() for p in copy.assets(copy.meta_graph()).values()] == ["a\nb\n"]
    loaded = tf.saved_model.load(str(tmp_path / "out"))
    assert loaded.f(tf.constant([[1.0, 1.0]])).numpy().tolist() == [[2.0, 3.0]]


def _write(folder: Path, *tag_sets: list[str], version: int = 1) -> Path:
    folder.mkdir(exist_ok=True)
    model = messages.SavedModel(saved_model_schema_version=version)
    for tags in tag_sets:
        graph = model.meta_graphs.add()
        graph.meta_info_def.tags.extend(tags)
        graph.graph_def.versions.producer = len(tags)
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    return folder


def test_tags_choose(tmp_path: Path) -> None:
    model = saved_model.read_saved_model(_write(tmp_path, ["train"], ["serve"], ["serve", "gpu"]))
    assert list(model.meta_graph().meta_info_def.tags) == ["serve"]
    assert set(model.meta_graph(["gpu", "serve"]).meta_info_def.tags) == {"serve", "gpu"}
    assert model.variables_prefix is None
    assert model.fingerprint() is None
    with pytest.raises(NotFoundError) as info:
        model.meta_graph(["gpu"])
    assert f"no meta graph is tagged [`gpu`] in {tmp_path}: found [`train`]; [`serve`]; [`gpu`, `serve`]" in str(
        info.value
    )
    only = saved_model.read_saved_model(_write(tmp_path, ["odd"]))
    assert list(only.meta_graph().meta_info_def.tags) == ["odd"]
    several = saved_model.read_saved_model(_write(tmp_path, ["a"], ["b"]))
    with pytest.raises(NotFoundError, match=r"found \[`a`\]; \[`b`\]\nhint: name one by its tags"):
        several.meta_graph()
    with pytest.raises(NotFoundError, match="found no meta graph"):
        saved_model.read_saved_model(_write(tmp_path)).meta_graph()


def test_a_schema_version_of_zero_is_read(tmp_path: Path) -> None:
    model = messages.SavedModel()
    model.meta_graphs.add().meta_info_def.tags.append("serve")
    model.meta_graphs[0].graph_def.node.add(name="a", op="NoOp")
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    assert saved_model.read_saved_model(tmp_path).message == model


def test_what_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormatError, match=r"schema to come in .*: expected version 1, found 2"):
        saved_model.read_saved_model(_write(tmp_path, ["serve"], version=2))
    chunked = tmp_path / "chunked"
    chunked.mkdir()
    (chunked / "saved_model.cpb").write_bytes(bytes.fromhex("83af70d10d884a3f") + bytes(64))
    for path in (chunked, chunked / "saved_model.cpb"):
        with pytest.raises(UnsupportedFormatError, match=r"chunked SavedModel in .*saved_model.cpb"):
            saved_model.read_saved_model(path)


def test_damage(written: Path, tmp_path: Path) -> None:
    data = (written / "saved_model.pb").read_bytes()
    path = tmp_path / "saved_model.pb"
    path.write_bytes(data[:-5])
    with pytest.raises(TruncatedError, match=r"file ends too early in .*saved_model.pb: expected 5 more bytes"):
        saved_model.read_saved_model(tmp_path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(WrongFileError, match="git lfs pull"):
        saved_model.read_saved_model(tmp_path)
    (tmp_path / "fingerprint.pb").write_bytes(b"\x0a")
    with pytest.raises(CorruptError, match=r"FingerprintDef in .*fingerprint.pb"):
        saved_model.SavedModel(tmp_path, messages.SavedModel()).fingerprint()


def test_wrong_folders(written: Path, tmp_path: Path) -> None:
    with pytest.raises(
        WrongFileError, match=r"found a folder without TensorFlow files\nhint: pass a folder below it: `.*model`"
    ):
        saved_model.read_saved_model(written.parent)
    with pytest.raises(WrongFileError, match=r"found a folder of checkpoints\nhint: open it as a checkpoint"):
        saved_model.read_saved_model(written / "variables")
    with pytest.raises(NotFoundError, match="no file"):
        saved_model.read_saved_model(tmp_path / "nope")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "", "c:\\x"])
def test_assets_stay_inside(tmp_path: Path, name: str) -> None:
    graph = messages.MetaGraphDef(asset_file_def=[{"tensor_info": {"name": "v:0"}, "filename": name}])
    model = saved_model.SavedModel(tmp_path, messages.SavedModel(meta_graphs=[graph]))
    with pytest.raises(CorruptError, match="asset outside the folder `assets`"):
        model.assets(graph)
    with pytest.raises(CorruptError, match="asset outside"):
        saved_model.write_saved_model(tmp_path / "new", [graph], assets={name: b""})
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("path", shared_data.model_files("**/saved_model.pb*"), ids=str)
def test_real_models_are_read(path: Path) -> None:
    if sniff.sniff(path.parent).kind is sniff.Kind.SAVED_MODEL:
        model = saved_model.read_saved_model(path.parent)
        assert model.tag_sets
        assert model.meta_graph(model.tag_sets[0]).graph_def.node
        assert all(p.name for m in model.message.meta_graphs for p in model.assets(m).values())
