"""SavedModels of TF1: written here and served by TensorFlow, and the other way round."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow

import coldframe
import coldframe.tf1 as cf
from coldframe.formats import messages

v1 = tensorflow.compat.v1
BOTH = {"tensorflow": v1, "coldframe": cf}
X = np.arange(8, dtype=np.float32).reshape(2, 4)


@pytest.fixture(autouse=True, scope="module")
def reference_variables() -> Iterator[None]:
    before = v1.resource_variables_enabled()
    v1.disable_resource_variables()
    yield
    if before:
        v1.enable_resource_variables()


def model(tf: Any) -> tuple[Any, Any]:
    x = tf.placeholder(tf.float32, [None, 4], name="x")
    w = tf.get_variable("w", [4, 3], initializer=tf.constant_initializer(0.3))
    return x, tf.identity(tf.matmul(x, w), name="y")


def simple(tf: Any, folder: Path) -> Any:
    with tf.Graph().as_default():
        x, y = model(tf)
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            tf.saved_model.simple_save(sess, str(folder), {"image": x}, {"out": y})
            return sess.run(y, {x: X})


@pytest.mark.parametrize("writer", BOTH)
@pytest.mark.parametrize("reader", BOTH)
def test_simple_save_and_load(tmp_path: Path, writer: str, reader: str) -> None:
    expected = simple(BOTH[writer], tmp_path / "m")
    tf = BOTH[reader]
    with tf.Graph().as_default(), tf.Session() as sess:
        meta = tf.saved_model.loader.load(sess, [tf.saved_model.tag_constants.SERVING], str(tmp_path / "m"))
        signature = meta.signature_def[tf.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY]
        assert signature.method_name == tf.saved_model.signature_constants.PREDICT_METHOD_NAME
        feed, fetch = signature.inputs["image"].name, signature.outputs["out"].name
        np.testing.assert_allclose(sess.run(fetch, {feed: X}), expected, rtol=1e-6)
    served = coldframe.load(str(tmp_path / "m"))
    np.testing.assert_allclose(served.run({"image": X})["out"], expected, rtol=1e-6)


def test_tensorflow_2_serves_it(tmp_path: Path) -> None:
    expected = simple(cf, tmp_path / "m")
    loaded = tensorflow.saved_model.load(str(tmp_path / "m"))
    answer = loaded.signatures["serving_default"](tensorflow.constant(X))
    np.testing.assert_allclose(answer["out"], expected, rtol=1e-6)


def with_vocabulary(tf: Any, folder: Path, words: Path) -> None:
    with tf.Graph().as_default():
        w = tf.get_variable("w", [2], initializer=tf.ones_initializer())
        name = tf.constant(str(words), name="words")
        read = tf.get_variable("read", initializer=tf.constant(""), trainable=False)
        start = tf.group(tf.assign(read, tf.read_file(name)), name="start")
        builder = tf.saved_model.builder.SavedModelBuilder(str(folder))
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            info = tf.saved_model.utils.build_tensor_info(w.value())
            signature = tf.saved_model.signature_def_utils.build_signature_def({}, {"w": info}, "mine")
            builder.add_meta_graph_and_variables(
                sess, ["serve", "cpu"], {"s": signature}, assets_collection=[name], main_op=start
            )
            builder.add_meta_graph(["train"])
            assert Path(os.fsdecode(builder.save())) == folder / "saved_model.pb"


@pytest.mark.parametrize("writer", BOTH)
@pytest.mark.parametrize("reader", BOTH)
def test_assets_and_what_runs_once(tmp_path: Path, writer: str, reader: str) -> None:
    words = tmp_path / "words.txt"
    words.write_bytes(b"one two")
    with_vocabulary(BOTH[writer], tmp_path / "m", words)
    words.unlink()
    assert (tmp_path / "m" / "assets" / "words.txt").read_bytes() == b"one two"
    tf = BOTH[reader]
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.saved_model.loader.load(sess, ["cpu", "serve"], str(tmp_path / "m"))
        assert sess.run("read:0") == b"one two"
        assert sess.run("w:0").tolist() == [1.0, 1.0]
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.saved_model.loader.load(sess, ["train"], str(tmp_path / "m"), import_scope="s")
        assert sess.run("s/w:0").tolist() == [1.0, 1.0]


def test_wrong_tags_and_folders(tmp_path: Path) -> None:
    simple(cf, tmp_path / "m")
    with cf.Graph().as_default(), cf.Session() as sess:
        with pytest.raises(RuntimeError, match=r"associated with tags \['servee'\] could not be found(.|\n)*`serve`"):
            cf.saved_model.loader.load(sess, ["servee"], str(tmp_path / "m"))
        with pytest.raises(OSError, match="SavedModel file does not exist at"):
            cf.saved_model.loader.load(sess, ["serve"], str(tmp_path / "none"))
    assert cf.saved_model.loader.maybe_saved_model_directory(str(tmp_path / "m"))
    assert not cf.saved_model.loader.maybe_saved_model_directory(str(tmp_path))
    with pytest.raises(AssertionError, match="already exists, and isn't empty"):
        cf.saved_model.builder.SavedModelBuilder(str(tmp_path / "m"))


def test_the_order_of_adding(tmp_path: Path) -> None:
    with cf.Graph().as_default():
        model(cf)
        builder = cf.saved_model.Builder(str(tmp_path / "m"))
        with pytest.raises(AssertionError, match="has not been saved yet"):
            builder.add_meta_graph(["serve"])
        with cf.Session() as sess:
            sess.run(cf.global_variables_initializer())
            builder.add_meta_graph_and_variables(sess, ["serve"])
            with pytest.raises(AssertionError, match="has already been saved"):
                builder.add_meta_graph_and_variables(sess, ["serve"])


def signatures(tf: Any) -> list[Any]:
    with tf.Graph().as_default():
        text, score = tf.placeholder(tf.string, [None], name="t"), tf.placeholder(tf.float32, [None, 2], name="s")
        unknown = tf.placeholder(tf.int64, name="u")
        sparse = tf.sparse_placeholder(tf.float32, name="sp")
        make = tf.saved_model.signature_def_utils
        made = [
            make.predict_signature_def({"a": score}, {"b": unknown}),
            make.classification_signature_def(text, text, score),
            make.regression_signature_def(text, score),
        ]
        assert all(make.is_valid_signature(s) for s in made)
        assert not make.is_valid_signature(make.build_signature_def(method_name="x"))
        made.append(tf.saved_model.utils.build_tensor_info(sparse))
        return [str(m) for m in made]


def test_signatures_are_tensorflows() -> None:
    assert signatures(cf) == signatures(v1)


WRONG: dict[str, Any] = {
    "Prediction `inputs` cannot be None or empty.": lambda m, t: m.predict_signature_def({}, {"a": t}),
    "Classification `classes` and `scores` cannot both be None.":
        lambda m, t: m.classification_signature_def(t, None, None),
    "Classification input tensors must be of type string.": lambda m, t: m.classification_signature_def(t, t, t),
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_wrong_signatures(message: str) -> None:
    for tf in BOTH.values():
        with tf.Graph().as_default(), pytest.raises(ValueError, match=re.escape(message)):
            WRONG[message](tf.saved_model.signature_def_utils, tf.constant(1.0))


def test_text(tmp_path: Path) -> None:
    with cf.Graph().as_default():
        model(cf)
        builder = cf.saved_model.Builder(str(tmp_path / "m"))
        with cf.Session() as sess:
            sess.run(cf.global_variables_initializer())
            builder.add_meta_graph_and_variables(sess, ["serve"])
        assert builder.save(as_text=True) == str(tmp_path / "m" / "saved_model.pbtxt")
    text = (tmp_path / "m" / "saved_model.pbtxt").read_text()
    assert messages.parse_text("SavedModel", text, where="").meta_graphs[0].meta_info_def.tags == ["serve"]
    with v1.Graph().as_default(), v1.Session() as sess:
        v1.saved_model.loader.load(sess, ["serve"], str(tmp_path / "m"))
