"""Saved places of iterators: kept in checkpoints, refused where they are damaged or of something else.

That they are right, for each kind of dataset, is checked wherever datasets are compared: see `dataset_harness.resume`.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.checkpoint.reader import open_checkpoint
from coldframe.errors import (
    ColdframeError,
    CorruptError,
    EndOfInputError,
    ExecutionError,
    NotInitializedError,
    UnsupportedError,
)
from coldframe.formats import messages
from coldframe.runtime.files import AnyFile
from coldframe.runtime.session import Session
from dataset_harness import D, X, add_saving, elements, pairs

v1 = tf.compat.v1


class Program:
    """A dataset of TensorFlow's, and sessions in which it is iterated over and its place is saved."""

    def __init__(self, make: Any) -> None:
        with tf.Graph().as_default() as g:
            v1.set_random_seed(7)
            iterator = v1.data.make_initializable_iterator(make())
            self.names = [t.name for t in tf.nest.flatten(iterator.get_next(), expand_composites=True)]
            self.init = iterator.initializer.name
        self.graph = g.as_graph_def()
        add_saving(self.graph, iterator._iterator_resource.op.name)

    def session(self, *, begun: bool = True) -> Session:
        session = Session(self.graph, files=AnyFile())
        if begun:
            session.run(self.init)
        return session

    def take(self, session: Session, count: int) -> list[Any]:
        return [session.run(self.names) for _ in range(count)]

    def rest(self, session: Session) -> list[Any]:
        return elements(lambda: session.run(self.names))

    def saved(self, taken: int = 3) -> Any:
        session = self.session()
        self.take(session, taken)
        return session.run("saved:0")


def restore(session: Session, place: Any) -> None:
    session.run("restored", {"place:0": place})


def random_numbers() -> Any:
    drawn = D.range(30).map(lambda n: n * 1000 + tf.random.uniform([], 0, 1000, tf.int64, seed=4))
    return drawn.shuffle(7, seed=2).repeat(3).batch(4).prefetch(2)


def test_random_numbers_go_on_where_they_were() -> None:
    program = Program(random_numbers)
    session = program.session()
    program.take(session, 5)
    place = session.run("saved:0")
    want = program.rest(session)
    again = program.session()
    restore(again, place)
    np.testing.assert_equal(program.rest(again), want)


def test_random_seeds_go_on_too() -> None:
    program = Program(lambda: D.range(40).shuffle(9).repeat(2))
    for node in program.graph.node:  # no seeds: random ones
        if node.op == "Const" and node.name.startswith(("seed", "seed2")):
            node.attr["value"].tensor.int64_val[:] = [0]
    session, again = program.session(), program.session()
    program.take(session, 15)
    restore(again, session.run("saved:0"))
    assert program.rest(again) == program.rest(session)


def test_a_place_is_saved_while_threads_work() -> None:
    program = Program(lambda: D.range(5000).map(lambda n: n + 1).prefetch(3).batch(2).prefetch(3))
    session, seen = program.session(), list[int]()
    taker = threading.Thread(target=lambda: [seen.extend(e[0].tolist()) for e in program.take(session, 400)])
    taker.start()
    places = [session.run("saved:0") for _ in range(20)]
    taker.join()
    assert seen == list(range(1, 801))
    for place in places[::5]:
        again = program.session()
        restore(again, place)
        first = int(program.take(again, 1)[0][0][0])
        assert [e[0].tolist() for e in program.take(again, 3)] == [[first + k, first + k + 1] for k in (2, 4, 6)]


def test_an_iterator_goes_back(tmp_path: Path) -> None:
    program = Program(lambda: pairs().repeat().batch(3))
    session = program.session()
    place = session.run("saved:0")
    first = program.take(session, 5)
    restore(session, place)
    np.testing.assert_equal(program.take(session, 5), first)


def kinds() -> Any:
    """Sparse and ragged tensors, strings and windows, all of which wait in a buffer."""
    sparse = D.from_tensor_slices(tf.sparse.from_dense([[0, 1, 0], [0, 0, 0], [2, 0, 3], [4, 5, 0]])).batch(1)
    ragged = tf.data.Dataset.from_tensor_slices(tf.ragged.constant([[1], [2, 3], [], [4, 5, 6]]))
    words = tf.data.Dataset.from_tensor_slices(["a", "", "ccc", "dd"])
    windows = D.range(8).window(2).shuffle(3, seed=1).flat_map(lambda w: w.batch(2))
    return tf.data.Dataset.zip((sparse, ragged, words, windows)).shuffle(3, seed=5).prefetch(1)


@pytest.mark.parametrize("taken", range(5))
def test_all_kinds_of_elements_wait_in_buffers(taken: int) -> None:
    program = Program(kinds)
    session, again = program.session(), program.session()
    program.take(session, taken)
    restore(again, session.run("saved:0"))
    np.testing.assert_equal(program.rest(again), program.rest(session))


def test_files_that_are_shorter_now(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text("\n".join(map(str, range(9))))
    program = Program(lambda: v1.data.TextLineDataset(str(path)).batch(2))
    place = program.saved()
    session = program.session()
    restore(session, place)
    assert program.take(session, 1)[0][0].tolist() == [b"6", b"7"]
    path.write_text("0\n1\n2")
    again = program.session()
    with pytest.raises(ExecutionError, match=r"a number of the saved place .*: expected 0 to 3, found 6"):
        restore(again, place)
    assert program.take(again, 1)[0][0].tolist() == [b"0", b"1"]  # it stays where it is


# --- refusals ---------------------------------------------------------------------------------------------------
def test_an_iterator_must_be_initialized() -> None:
    program = Program(pairs)
    place = program.saved()
    session = program.session(begun=False)
    with pytest.raises(NotInitializedError, match="has no dataset yet at node `saved`"):
        session.run("saved:0")
    with pytest.raises(NotInitializedError, match="has no dataset yet at node `restored`"):
        restore(session, place)


def test_an_element_that_cannot_be_saved() -> None:
    scalar: Any = np.zeros(0, np.int32)

    def make() -> Any:
        lists = D.range(9).map(lambda n: tf.raw_ops.TensorListFromTensor(tensor=[n], element_shape=scalar))
        return lists.shuffle(3, seed=1).map(
            lambda t: tf.raw_ops.TensorListStack(input_handle=t, element_shape=scalar, element_dtype=tf.int64)
        )

    with pytest.raises(UnsupportedError, match=r"holds such elements cannot be saved .* found TensorList"):
        Program(make).saved(1)


def test_a_place_in_another_dataset() -> None:
    place = Program(lambda: pairs().batch(2)).saved()
    session = Program(lambda: pairs().repeat()).session()
    with pytest.raises(ExecutionError, match=r"is in another dataset .*: expected `Repeated`, found `Batches`"):
        restore(session, place)


def test_what_tensorflow_saved_is_refused_by_name() -> None:
    proto = messages.VariantTensorDataProto(type_name="tensorflow::Iterator", metadata=b"Iterator::Root::Range@@next")
    place = np.empty(1, object)
    place[0] = messages.serialize(proto, where="")
    program = Program(pairs)
    with pytest.raises(ExecutionError, match=r"saved by another program .* found `tensorflow::Iterator`\nhint: "):
        restore(program.session(), place)


def variants(told: Any, tensors: tuple[Any, ...] = ()) -> Any:
    out = np.empty(1 + len(tensors), object)
    data = told if isinstance(told, bytes) else json.dumps(told).encode()
    proto = messages.VariantTensorDataProto(type_name="coldframe::IteratorState", metadata=data)
    out[0] = messages.serialize(proto, where="")
    out[1:] = tensors
    return out


def shuffled(**parts: Any) -> Any:
    """A place in a shuffled range, with some parts in place of the true ones."""
    words = {"place": "Words", "parts": {"seed": 1, "seed2": 2, "drawn": 2}}
    true = {
        "seeds": {"place": "SeedGenerator", "parts": {"words": words}}, "passes": 1, "over": False, "gave": True,
        "key": {"list": [1, 2]}, "first": 0, "numbers": {"list": [0]}, "elements": {"list": [{"element": [5]}]},
        "slices": {"list": [{"list": [0, 1]}]}, "now": {"place": "Rows", "parts": {"at": 1}},
    }  # fmt: skip
    elements = {"place": "Shuffled", "parts": true | parts}
    return variants({"version": 1, "saved": {"place": "Place", "parts": {"elements": elements}}})


DAMAGED: dict[str, Any] = {
    "nothing": np.empty(0, object),
    "numbers": np.arange(3),
    "no message": np.array([b"\xff\xff\xff"], object),
    "no json": variants(b"{"),
    "deep": variants(b'{"version":1,"saved":' + b'{"list":[' * 100_000),
    "not text": variants(b"\xff\xfe\xfd"),
    "another version": variants({"version": 2, "saved": None}),
    "no place": variants({"version": 1, "saved": 3}),
    "an unknown key": variants({"version": 1, "saved": {"class": "os.system"}}),
    "empty": variants({"version": 1, "saved": {}}),
    "no elements": variants({"version": 1, "saved": {"place": "Place", "parts": {}}}),
    "a tensor that is not there": variants({"version": 1, "saved": {"tensor": 7}}),
    "a float": variants({"version": 1, "saved": 1.5}),
    "no element in the buffer": shuffled(elements={"list": []}),
    "a number twice": shuffled(numbers={"list": [3]}),
    "slices without end": shuffled(slices={"list": [{"list": [0, 1 << 60]}]}),
    "slices backwards": shuffled(slices={"list": [{"list": [5, 1]}, {"list": [0, 5]}]}),
    "slices of text": shuffled(slices={"list": ["ab"]}),
    "a key of text": shuffled(key={"list": ["a", "b"]}),
    "a key of one": shuffled(key={"list": [1]}),
    "a place beyond the end": shuffled(now={"place": "Rows", "parts": {"at": 10**30}}),
    "a place before the beginning": shuffled(now={"place": "Rows", "parts": {"at": -1}}),
    "a list for a number": shuffled(passes={"list": []}),
    "too early": shuffled(first=10),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_places_are_refused_and_change_nothing(name: str) -> None:
    program = Program(lambda: D.range(20).shuffle(5, seed=3))
    session = program.session()
    program.take(session, 2)
    with pytest.raises((ExecutionError, CorruptError)):
        restore(session, DAMAGED[name])
    other = program.session()
    assert program.rest(session) == program.rest(other)[2:]


def test_no_byte_crashes() -> None:
    program = Program(lambda: kinds().batch(2).repeat(2))
    place = program.saved(1)
    rng = np.random.default_rng(5)
    for _ in range(300):
        bad = place.copy()
        k = int(rng.integers(len(bad)))
        data = bytearray(bad[k])
        data[int(rng.integers(len(data)))] = int(rng.integers(256))
        bad[k] = bytes(data)
        session = program.session()
        try:
            restore(session, bad)
            program.take(session, 3)
        except (ColdframeError, EndOfInputError):
            pass


# --- checkpoints ------------------------------------------------------------------------------------------------
def test_graphs_of_tensorflow_save_and_restore_places(tmp_path: Path) -> None:
    prefix = str(tmp_path / "model")
    with tf.Graph().as_default() as g:
        iterator = v1.data.make_initializable_iterator(D.range(20).shuffle(6, seed=1).batch(3))
        name, init = iterator.get_next().name, iterator.initializer.name
        v1.add_to_collection("saveable_objects", X.make_saveable_from_iterator(iterator))
        saver = v1.train.Saver().saver_def
        session, again = (Session(g.as_graph_def(), files=AnyFile()) for _ in range(2))
    session.run(init)
    session.run(name)
    session.run(saver.save_tensor_name, {saver.filename_tensor_name: prefix})
    with open_checkpoint(prefix) as checkpoint:
        assert list(checkpoint) == ["IteratorV2:0_STATE"]
    again.run(init)
    again.run(saver.restore_op_name, {saver.filename_tensor_name: prefix})
    want = elements(lambda: session.run(name))
    np.testing.assert_equal(elements(lambda: again.run(name)), want)
    assert len(want) == 7
