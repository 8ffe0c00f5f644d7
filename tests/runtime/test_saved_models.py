"""SavedModels that TensorFlow writes here, of both generations: tables, assets, tags, signatures, composite inputs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf

v1 = tf.compat.v1
WORDS = np.array([b"b", b"a", b"nothing"], object)
TEN = tf.constant(10.0)
X = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)


def _signature(inputs: dict[str, Any], outputs: dict[str, Any]) -> Any:
    infos = ({k: v1.saved_model.build_tensor_info(v) for k, v in side.items()} for side in (inputs, outputs))
    return v1.saved_model.build_signature_def(*infos, "tensorflow/serving/predict")


# --- the first generation ---------------------------------------------------------------------------------------
def _table(folder: Path) -> tuple[Any, Any, Any]:
    """A table of an asset's lines: the words fed, their numbers, and what fills it."""
    vocabulary = folder / "words.txt"
    vocabulary.write_text("a\nb\nc\n")
    asset = tf.constant(str(vocabulary), name="asset")
    v1.add_to_collection(v1.GraphKeys.ASSET_FILEPATHS, asset)
    fill = tf.lookup.TextFileInitializer(
        asset, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    words = v1.placeholder(tf.string, [None], name="words")
    table = v1.lookup.StaticHashTable(fill, -1)
    return words, table.lookup(words), table.initializer


def _first(folder: Path, how: str) -> Path:
    """Write two meta graphs, with a table that is filled as `how` says, and move the folder."""
    out = folder / "written"
    builder = v1.saved_model.Builder(str(out))
    with tf.Graph().as_default(), v1.Session() as session:
        words, numbers, fill = _table(folder)
        x = v1.placeholder(tf.float32, [None, 3], name="x")
        w = v1.get_variable("w", initializer=np.full((3, 2), 2, np.float32))
        y = tf.matmul(x, w)
        session.run([v1.global_variables_initializer(), v1.tables_initializer()])
        kwargs: dict[str, Any] = {"assets_collection": v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS)}
        if how == "main_op":
            kwargs["main_op"] = tf.group(fill, name="main")
        else:
            kwargs["legacy_init_op"] = tf.group(fill, name="legacy")
        signatures = {
            "serving_default": _signature({"x": x}, {"y": y}),
            "look": _signature({"words": words}, {"ids": numbers}),
        }
        builder.add_meta_graph_and_variables(session, ["serve"], signatures, strip_default_attrs=True, **kwargs)
        builder.add_meta_graph(["serve", "gpu"], {"twice": _signature({"x": x}, {"y": 2 * y})})
        builder.save(as_text=how == "text")
    moved = folder / "moved"
    shutil.move(out, moved)
    (folder / "words.txt").unlink()  # the asset has a copy of its own
    return moved


@pytest.mark.parametrize("how", ["main_op", "legacy_init_op", "text"])
def test_tables_of_assets_are_filled_and_tags_choose(tmp_path: Path, how: str) -> None:
    folder = _first(tmp_path, how)
    model = cf.load(folder)  # `serve`
    assert set(model.signatures) == {"serving_default", "look"}
    assert model.run({"words": WORDS}, signature="look")["ids"].tolist() == [1, 0, -1]
    np.testing.assert_array_equal(model.run({"x": X})["y"], X @ np.full((3, 2), 2, "f"))
    other = cf.load(folder, tags=["gpu", "serve"])
    assert set(other.signatures) == {"twice"}
    np.testing.assert_array_equal(other.run({"x": X}, signature="twice")["y"], X @ np.full((3, 2), 4, "f"))


def test_unknown_tags_and_signatures_name_those_present(tmp_path: Path) -> None:
    folder = _first(tmp_path, "main_op")
    with pytest.raises(
        cf.NotFoundError, match=r"no meta graph is tagged \[`train`\] .*: found \[`serve`\]; \[`gpu`, `serve`\]"
    ):
        cf.load(folder, tags=["train"])
    with pytest.raises(cf.NotFoundError, match="look"):
        cf.load(folder).run({"words": WORDS}, signature="lookup")


def _composite(folder: Path) -> Path:
    out = folder / "composite"
    with tf.Graph().as_default(), v1.Session() as session:
        sparse = v1.sparse_placeholder(tf.float32, [None, 3], name="sparse")
        ragged = v1.ragged.placeholder(tf.float32, 2, [], name="ragged")
        product = tf.sparse.sparse_dense_matmul(sparse, tf.ones([3, 2]))
        builder = v1.saved_model.Builder(str(out))
        signatures = {
            "sparse": _signature({"s": sparse}, {"dense": product, "back": tf.sparse.from_dense(product)}),
            "ragged": _signature({"r": ragged}, {"sums": tf.reduce_sum(ragged, axis=2)}),
        }
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    return out


def test_sparse_and_ragged_tensors_are_several(tmp_path: Path) -> None:
    model = cf.load(_composite(tmp_path))
    sparse, ragged = model.signatures["sparse"], model.signatures["ragged"]
    assert {k: (v.dtype.name, str(v.shape)) for k, v in sparse.inputs.items()} == {
        "s/indices": ("int64", "[?, 2]"), "s/values": ("float32", "[?]"), "s/dense_shape": ("int64", "[2]"),
    }  # fmt: skip
    feeds = {"s/indices": [[0, 1], [1, 2]], "s/values": np.array([3, 4], "f"), "s/dense_shape": [2, 3]}
    got = model.run(feeds, signature="sparse")
    assert got["dense"].tolist() == [[3, 3], [4, 4]]
    assert got["back/indices"].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert got["back/values"].tolist() == [3, 3, 4, 4]
    assert list(ragged.inputs) == ["r/values", "r/row_splits_0", "r/row_splits_1"]
    feeds = {"r/values": np.arange(4, dtype="f"), "r/row_splits_0": [0, 1, 2], "r/row_splits_1": [0, 3, 4]}
    got = model.run(feeds, signature="ragged")
    assert got["sums/values"].tolist() == [3, 3]
    assert got["sums/row_splits"].tolist() == [0, 1, 2]


# --- the second generation --------------------------------------------------------------------------------------
class Module(tf.Module):  # type: ignore[misc]
    """A table of a file's lines, a variable, and functions with several kinds of arguments."""

    def __init__(self, vocabulary: Path) -> None:
        super().__init__()
        fill = tf.lookup.TextFileInitializer(
            str(vocabulary),
            tf.string,
            tf.lookup.TextFileIndex.WHOLE_LINE,
            tf.int64,
            tf.lookup.TextFileIndex.LINE_NUMBER,
        )
        self.table = tf.lookup.StaticHashTable(fill, -1)
        self.v = tf.Variable([1.0, 2.0, 3.0])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="words")])  # type: ignore[untyped-decorator]
    def look(self, words: Any) -> Any:
        return {"ids": self.table.lookup(words)}

    @tf.function(  # type: ignore[untyped-decorator]
        input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x"), tf.TensorSpec([], tf.float32, name="scale")]
    )
    def scaled(self, x: Any, scale: Any = TEN) -> Any:
        return {"y": x * self.v * scale}

    @tf.function(input_signature=[tf.RaggedTensorSpec([None, None], tf.float32)])  # type: ignore[untyped-decorator]
    def sums(self, r: Any) -> Any:
        return {"s": tf.reduce_sum(r, axis=1)}

    @tf.function(input_signature=[tf.SparseTensorSpec([None, 3], tf.float32)])  # type: ignore[untyped-decorator]
    def product(self, s: Any) -> Any:
        return {"y": tf.sparse.sparse_dense_matmul(s, tf.ones([3, 1]))}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    vocabulary = folder / "words.txt"
    vocabulary.write_text("a\nb\nc\n")
    module = Module(vocabulary)
    signatures = {n: getattr(module, n) for n in ("look", "scaled", "sums", "product")}
    tf.saved_model.save(module, str(folder / "written"), signatures=signatures)
    vocabulary.unlink()
    moved = folder / "moved"
    shutil.move(folder / "written", moved)
    return moved


def answer(folder: Path, signature: str, **inputs: Any) -> Any:
    """What TensorFlow answers."""
    return tf.saved_model.load(str(folder)).signatures[signature](**inputs)


def test_a_table_of_an_asset(saved: Path) -> None:
    model = cf.load(saved)
    got = model.run({"words": WORDS}, signature="look")
    want = answer(saved, "look", words=tf.constant(WORDS))
    np.testing.assert_array_equal(got["ids"], want["ids"])


def test_an_input_with_a_default_may_be_left_out(saved: Path) -> None:
    model = cf.load(saved)
    assert {k: v.tolist() for k, v in model.signatures["scaled"].defaults.items()} == {"scale": 10.0}
    want = answer(saved, "scaled", x=tf.constant(X), scale=tf.constant(10.0))  # TensorFlow's Python asks for all
    np.testing.assert_array_equal(model.run({"x": X}, signature="scaled")["y"], want["y"])
    want = answer(saved, "scaled", x=tf.constant(X), scale=tf.constant(0.5))
    np.testing.assert_array_equal(model.run({"x": X, "scale": 0.5}, signature="scaled")["y"], want["y"])


def test_composite_arguments_are_several_inputs(saved: Path) -> None:
    model = cf.load(saved)
    ragged = {2: np.array([0, 2, 3]), 1: np.array([1, 2, 4], "f")}  # row splits, values
    inputs = model.signatures["sums"].inputs
    feeds = {k: ragged[1 if v.dtype.is_float else 2] for k, v in inputs.items()}
    assert len(feeds) == 2
    assert model.run(feeds, signature="sums")["s"].tolist() == [3, 4]
    parts = {"float": np.array([3, 4], "f"), "indices": np.array([[0, 1], [1, 2]]), "shape": np.array([2, 3])}
    feeds = {}
    for key, spec in model.signatures["product"].inputs.items():
        matrix = spec.shape.dims is not None and len(spec.shape.dims) == 2
        feeds[key] = parts["float" if spec.dtype.is_float else "indices" if matrix else "shape"]
    assert len(feeds) == 3
    assert model.run(feeds, signature="product")["y"].tolist() == [[3], [4]]


def test_a_keras_model(tmp_path: Path) -> None:
    inputs = {"a": tf.keras.Input([3], name="a"), "b": tf.keras.Input([2], name="b")}
    joined = tf.keras.layers.Concatenate()([tf.keras.layers.Dense(4, "relu")(inputs["a"]), inputs["b"]])
    model = tf.keras.Model(inputs, {"out": tf.keras.layers.Dense(2)(tf.keras.layers.BatchNormalization()(joined))})
    model.export(str(tmp_path / "keras"), verbose=False)
    feeds = {"a": X, "b": X[:, :2]}
    want = model(feeds)["out"].numpy()
    np.testing.assert_allclose(cf.load(tmp_path / "keras").run(feeds)["out"], want, rtol=1e-5)


# --- tables that programs change --------------------------------------------------------------------------------
class _Changed(tf.Module):
    """Tables whose entries are in the checkpoint alone."""

    def __init__(self) -> None:
        self.words = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
        self.words.insert(["a", "b"], tf.constant([7, 8], tf.int64))
        self.rows = tf.lookup.experimental.MutableHashTable(tf.int64, tf.float32, [0.0, 0.0])
        self.rows.insert(tf.constant([7], tf.int64), [[1.0, 2.0]])
        self.dense = tf.lookup.experimental.DenseHashTable(
            tf.int64, tf.float32, 0.5, empty_key=-5, deleted_key=-6, initial_num_buckets=4
        )
        self.dense.insert(tf.constant([7, 9], tf.int64), [1.5, 2.5])

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "words")])
    def look(self, words: Any) -> dict[str, Any]:
        ids = self.words.lookup(words)
        return {"ids": ids, "rows": self.rows.lookup(ids), "dense": self.dense.lookup(ids), "size": self.dense.size()}


@pytest.mark.parametrize("engine", ["auto", "reference"])
def test_tables_that_a_program_changed_are_restored(tmp_path: Path, engine: str) -> None:
    module = _Changed()
    tf.saved_model.save(module, str(tmp_path), signatures=module.look)
    want = tf.saved_model.load(str(tmp_path)).signatures["serving_default"](tf.constant(WORDS))
    got = cf.load(tmp_path, engine=engine).run({"words": WORDS})
    assert got["ids"].tolist() == [8, 7, -1]
    for name, value in want.items():
        np.testing.assert_array_equal(got[name], value.numpy())


def test_so_are_those_of_the_first_generation(tmp_path: Path) -> None:
    out = tmp_path / "written"
    with tf.Graph().as_default(), v1.Session() as session:
        table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1, name="changed")
        words = v1.placeholder(tf.string, [None], name="words")
        found = table.lookup(words)
        session.run(table.insert(["a", "b"], tf.constant([7, 8], tf.int64)))
        builder = v1.saved_model.Builder(str(out))
        signatures = {"serving_default": _signature({"words": words}, {"ids": found})}
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    assert cf.load(out).run({"words": WORDS})["ids"].tolist() == [8, 7, -1]


def test_a_table_that_the_checkpoint_lacks_is_named(tmp_path: Path) -> None:
    module = _Changed()
    tf.saved_model.save(module, str(tmp_path), signatures=module.look)
    cf.save_checkpoint(tmp_path / "variables" / "variables", {"other": np.zeros(1, np.float32)})
    with pytest.raises(cf.NotFoundError, match="table-keys"):
        cf.load(tmp_path).run({"words": WORDS})
