"""Reading checkpoints by name, the state of a folder, and starting variables from checkpoints: as TensorFlow does."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow

import coldframe.tf1 as cf
from coldframe import save_checkpoint

v1 = tensorflow.compat.v1
BOTH = {"tensorflow": v1, "coldframe": cf}
TENSORS = {
    "a": np.array([1.0, 2.0], np.float32),
    "net/w": np.arange(12, dtype=np.float64).reshape(6, 2),
    "net/b": np.array([5, 6], np.int64),
    "table": np.arange(8, dtype=np.float32).reshape(4, 2),
    "text": np.array(b"words", object),
}


@pytest.fixture(autouse=True, scope="module")
def reference_variables() -> Iterator[None]:
    before = v1.resource_variables_enabled()
    v1.disable_resource_variables()
    yield
    if before:
        v1.enable_resource_variables()


@pytest.fixture
def folder(tmp_path: Path) -> str:
    for step in (1, 2):
        save_checkpoint(tmp_path / "m", TENSORS, global_step=step)
    return str(tmp_path)


# --- reading ----------------------------------------------------------------------------------------------------
def test_a_reader_says_what_tensorflows_says(folder: str) -> None:
    theirs, ours = (tf.train.NewCheckpointReader(f"{folder}/m-2") for tf in BOTH.values())
    assert ours.get_variable_to_shape_map() == theirs.get_variable_to_shape_map()
    names = {k: d.name for k, d in ours.get_variable_to_dtype_map().items()}
    assert names == {k: d.name for k, d in theirs.get_variable_to_dtype_map().items()}
    assert sorted(ours.debug_string().splitlines()) == sorted(theirs.debug_string().splitlines())
    for name in TENSORS:
        assert ours.has_tensor(name)
        np.testing.assert_array_equal(ours.get_tensor(name), theirs.get_tensor(name))
    assert not ours.has_tensor("b")
    with pytest.raises(cf.errors.NotFoundError, match=r"Key ab not found in checkpoint.*did you mean `a`"):
        ours.get_tensor("ab")


def test_lists_and_variables(folder: str) -> None:
    for place in (folder, f"{folder}/m-1"):
        assert cf.train.list_variables(place) == v1.train.list_variables(place)
        np.testing.assert_array_equal(cf.train.load_variable(place, "a:0"), TENSORS["a"])
        assert cf.train.load_checkpoint(place).get_tensor("text") == b"words"


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(cf.errors.NotFoundError, match="no checkpoint is called"):
        cf.train.NewCheckpointReader(str(tmp_path / "m"))
    with pytest.raises(ValueError, match="Couldn't find 'checkpoint' file or checkpoints in given directory"):
        cf.train.load_checkpoint(str(tmp_path))


# --- the state of a folder --------------------------------------------------------------------------------------
STATE_CALLS: dict[str, Callable[[Any, str], Any]] = {
    "latest": lambda tf, d: tf.train.latest_checkpoint(d),
    "latest of another state file": lambda tf, d: tf.train.latest_checkpoint(d, "other"),
    "latest of no folder": lambda tf, d: tf.train.latest_checkpoint(f"{d}/none"),
    "exists": lambda tf, d: [tf.train.checkpoint_exists(f"{d}/{n}") for n in ("m-1", "m-3", "m")],
    "times": lambda tf, d: [int(t) for t in tf.train.get_checkpoint_mtimes([f"{d}/m-1", f"{d}/none", f"{d}/m-2"])],
    "state": lambda tf, d: list(tf.train.get_checkpoint_state(d).all_model_checkpoint_paths),
    "no state": lambda tf, d: tf.train.get_checkpoint_state(f"{d}/none"),
}


@pytest.mark.parametrize("call", STATE_CALLS)
def test_state_calls(folder: str, call: str) -> None:
    assert STATE_CALLS[call](cf, folder) == STATE_CALLS[call](v1, folder)


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize("paths", [None, ["m-1", "m-2"], ["m-1"]])
def test_updating_the_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, relative: bool, paths: list[str] | None
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = "d" if relative else str(tmp_path / "d")
    os.mkdir("d")
    listed = None if paths is None else [f"{folder}/{p}" for p in paths]
    texts = []
    for tf in BOTH.values():
        tf.train.update_checkpoint_state(folder, f"{folder}/m-2", listed and list(listed))
        texts.append(Path("d/checkpoint").read_text())
    assert texts[0] == texts[1]


def test_timestamps_must_be_as_many_as_paths(tmp_path: Path) -> None:
    proto = cf.train.generate_checkpoint_state_proto
    made = proto(tmp_path, "m-2", ["m-1", "m-2"], [1.0, 2.0], last_preserved_timestamp=0.5)
    assert (list(made.all_model_checkpoint_timestamps), made.last_preserved_timestamp) == ([1.0, 2.0], 0.5)
    with pytest.raises(ValueError, match="Checkpoint timestamps, if provided, must match checkpoint paths"):
        proto(tmp_path, "m-2", ["m-1", "m-2"], [1.0])


def test_the_latest_that_is_whole(folder: str) -> None:
    Path(f"{folder}/m-2.data-00000-of-00001").unlink()
    assert cf.train.latest_checkpoint(folder) == f"{folder}/m-1"
    Path(f"{folder}/m-1.index").unlink()
    assert cf.train.latest_checkpoint(folder) is None


def test_a_damaged_state_file(folder: str, caplog: pytest.LogCaptureFixture) -> None:
    Path(f"{folder}/checkpoint").write_text("{{{")
    assert cf.train.get_checkpoint_state(folder) is None
    assert cf.train.latest_checkpoint(folder) is None
    assert "checkpoint" in caplog.text


def test_a_folder_that_has_moved(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    save_checkpoint(tmp_path / "old" / "m", TENSORS)
    v1.train.update_checkpoint_state(str(tmp_path / "old"), str(tmp_path / "old" / "m"))
    (tmp_path / "old").rename(tmp_path / "new")
    assert cf.train.latest_checkpoint(tmp_path / "new") == str(tmp_path / "new" / "m")


def test_removing(folder: str) -> None:
    Path(f"{folder}/m-2.meta").write_bytes(b"")
    cf.train.remove_checkpoint(f"{folder}/m-2")
    cf.train.remove_checkpoint(f"{folder}/m-2")
    assert sorted(os.listdir(folder)) == ["checkpoint", "m-1.data-00000-of-00001", "m-1.index"]


def test_waiting_for_new_ones(folder: str) -> None:
    found = []

    def later() -> None:
        time.sleep(0.2)
        save_checkpoint(f"{folder}/m", TENSORS, global_step=3)

    thread = threading.Thread(target=later)
    thread.start()
    for path in cf.train.checkpoints_iterator(folder, timeout=2.5):
        found.append(os.path.basename(path))
        if len(found) == 2:
            break
    thread.join()
    assert found == ["m-2", "m-3"]
    assert list(cf.train.checkpoints_iterator(f"{folder}/none", timeout=0)) == []
    asked = iter([False, True])
    assert list(cf.train.checkpoints_iterator(f"{folder}/none", timeout=0, timeout_fn=lambda: next(asked))) == []


def test_the_manager(tmp_path: Path) -> None:
    with cf.Graph().as_default():
        step = cf.Variable(0, name="step")
        more = step.assign_add(1)
        saver = cf.train.Saver()
        with cf.Session() as sess:
            sess.run(step.initializer)
            manager = cf.train.CheckpointManager(saver, tmp_path, 2, step_counter=step, checkpoint_interval=2)
            assert manager.restore_or_initialize() is None
            saved = []
            for _ in range(7):
                sess.run(more)
                saved.append(manager.save())
        assert [bool(s) for s in saved] == [True, False, True, False, True, False, True]
        assert manager.checkpoints == [str(tmp_path / "ckpt-3"), str(tmp_path / "ckpt-4")]
        assert v1.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "ckpt-4")
        again = cf.train.CheckpointManager(saver, tmp_path, 2)
        with cf.Session() as sess:
            assert again.restore_or_initialize() == str(tmp_path / "ckpt-4")
            assert sess.run(step) == 7


# --- starting from a checkpoint ---------------------------------------------------------------------------------
def variables(tf: Any) -> dict[str, Any]:
    zeros = tf.zeros_initializer()
    with tf.variable_scope("new"):
        w = tf.get_variable("w", [6, 2], tf.float64, zeros)
        b = tf.get_variable("b", [2], tf.int64, zeros, use_resource=True)
    parts = tf.get_variable("table", [4, 2], initializer=zeros, partitioner=tf.fixed_size_partitioner(2))
    return {"new/w": w, "new/b": b, "a": tf.get_variable("a", [2], initializer=zeros), "table": parts}


MAPS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "scope to scope": lambda v: {"net/": "new/"},
    "names": lambda v: {"net/w": "new/w", "a": "a"},
    "variables": lambda v: {"net/w": v["new/w"], "net/b": v["new/b"]},
    "parts": lambda v: {"table": list(v["table"])},
    "a partitioned variable by name": lambda v: {"table": "table"},
    "pairs": lambda v: [("net/b", "new/b"), ("a", v["a"])],
}


def started(tf: Any, folder: str, mapping: Any) -> dict[str, Any]:
    with tf.Graph().as_default():
        made = variables(tf)
        tf.train.init_from_checkpoint(folder, mapping(made))
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            return {k: sess.run(list(v)) if k == "table" else sess.run(v) for k, v in made.items()}


@pytest.mark.parametrize("mapping", MAPS)
def test_variables_start_as_tensorflows_do(folder: str, mapping: str) -> None:
    theirs, ours = (started(tf, folder, MAPS[mapping]) for tf in BOTH.values())
    for key in theirs:
        np.testing.assert_array_equal(flat(ours[key]), flat(theirs[key]))
    assert any(np.any(flat(v)) for v in ours.values())


def flat(value: Any) -> Any:
    return np.concatenate([np.ravel(part) for part in value])


def test_a_partitioned_variable_itself(folder: str) -> None:
    found = started(cf, folder, lambda v: {"table": v["table"]})
    np.testing.assert_array_equal(np.concatenate(found["table"]), TENSORS["table"])


def test_a_root_scope(folder: str) -> None:
    for tf in BOTH.values():
        with tf.Graph().as_default():
            with tf.variable_scope("copy"):
                a = tf.get_variable("a", [2])
            tf.train.init_from_checkpoint(folder, {"/": "copy/"})
            with tf.Session() as sess:
                sess.run(a.initializer)
                assert sess.run(a).tolist() == [1.0, 2.0]


WRONG_MAPS: dict[str, Any] = {
    r"Tensor b is not found in .*": {"b": "a"},
    r"Assignment map with scope only name nope should map to scope only a\.": {"a": "nope/a"},
    r"Tensor zz/b \(b in zz/\) is not found in .* checkpoint": {"zz/": "new/"},
    r"Shape of variable new/w:0 \(\(6, 2\)\) doesn't match with shape of tensor a \(\[2\]\) from checkpoint": {
        "a": "new/w"
    },
}


@pytest.mark.parametrize("message", WRONG_MAPS)
def test_wrong_maps(folder: str, message: str) -> None:
    for tf in BOTH.values():
        with tf.Graph().as_default():
            variables(tf)
            with pytest.raises(ValueError, match=message):
                tf.train.init_from_checkpoint(folder, WRONG_MAPS[message])


def warmed(tf: Any, folder: str, *arguments: Any, **more: Any) -> Any:
    with tf.Graph().as_default():
        zeros = tf.zeros_initializer()
        a = tf.get_variable("a", [2], initializer=zeros)
        other = tf.get_variable("other", [2], initializer=zeros, trainable=False)
        tf.train.warm_start(folder, *arguments, **more)
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            return [v.tolist() for v in sess.run([a, other])]


WARM: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "all that is trained": ((), {}),
    "by a pattern": (("a",), {}),
    "none": (("x",), {}),
    "any variable": ((["other"],), {"var_name_to_prev_var_name": {"other": "a"}}),
}


@pytest.mark.parametrize("case", WARM)
def test_warm_start(folder: str, case: str) -> None:
    arguments, more = WARM[case]
    assert warmed(cf, folder, *arguments, **more) == warmed(v1, folder, *arguments, **more)


def test_names_that_are_not_used(folder: str) -> None:
    message = "You provided the following variables in var_name_to_prev_var_name that were not used: {'zz'}"
    for tf in BOTH.values():
        with pytest.raises(ValueError, match=re.escape(message)):
            warmed(tf, folder, "a", var_name_to_prev_var_name={"zz": "a"})


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("oov", [0, 2])
def test_a_vocabulary_that_has_changed(tmp_path: Path, axis: int, oov: int) -> None:
    (tmp_path / "old.txt").write_text("pear\nplum\nfig\n")
    (tmp_path / "new.txt").write_text("apple\nfig\npear\nlime\n")
    old = np.arange(6, dtype=np.float32).reshape(3, 2) + 10
    save_checkpoint(tmp_path / "m", {"emb": old if axis == 0 else old.T.copy()})
    found = []
    for tf in BOTH.values():
        with tf.Graph().as_default():
            size = [4 + oov, 2] if axis == 0 else [2, 4 + oov]
            emb = tf.get_variable("emb", size)
            info = tf.train.VocabInfo(
                str(tmp_path / "new.txt"), 4, oov, str(tmp_path / "old.txt"), 3, tf.ones_initializer(), axis
            )
            tf.train.warm_start(str(tmp_path / "m"), "emb", var_name_to_vocab_info={"emb": info})
            with tf.Session() as sess:
                sess.run(tf.global_variables_initializer())
                found.append(sess.run(emb))
    np.testing.assert_array_equal(found[1], found[0])
    assert (found[1] == 1.0).sum() == 2 * (2 + oov)
