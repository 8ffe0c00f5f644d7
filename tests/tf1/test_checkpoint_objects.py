"""`tf.train.Checkpoint`: the same files as TensorFlow's, whichever of the two saves and restores."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow

import coldframe.tf1 as cf
from coldframe import open_checkpoint, save_checkpoint
from coldframe.formats import messages
from coldframe.formats.object_graph import OBJECT_GRAPH_KEY, variable_key

v1 = tensorflow.compat.v1
BOTH = {"tensorflow": v1, "coldframe": cf}
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "adam": lambda t: t.AdamOptimizer(0.1),
    "momentum": lambda t: t.MomentumOptimizer(0.1, 0.9, name="M"),
    "rmsprop": lambda t: t.RMSPropOptimizer(0.1, momentum=0.5, centered=True),
    "ftrl": lambda t: t.FtrlOptimizer(0.1, l1_regularization_strength=0.01),
}


class Program:
    """A training of two variables, kept as objects in every way that there is."""

    def __init__(self, tf: Any, optimizer: str, resource: bool) -> None:
        self.tf = tf
        self.w = tf.get_variable("scope/w", [3], initializer=tf.ones_initializer(), use_resource=resource)
        self.b = tf.get_variable("b", [2], initializer=tf.zeros_initializer(), use_resource=resource)
        self.step = tf.train.get_or_create_global_step()
        self.opt = OPTIMIZERS[optimizer](tf.train)
        loss = tf.reduce_sum((self.w - 3.0) ** 2) + tf.reduce_sum((self.b + 1.0) ** 4)
        self.train = self.opt.minimize(loss, global_step=self.step)
        inner = tf.train.Checkpoint(x=self.b)
        self.checkpoint = tf.train.Checkpoint(
            w=self.w, opt=self.opt, step=self.step, inner=inner, items=[self.b, {"k": self.w, "a/b.c": self.b}],
            pair=(self.w, self.b), named={"z": self.w, "y": [self.b]},
        )  # fmt: skip

    def run(self, session: Any, steps: int) -> list[Any]:
        for _ in range(steps):
            session.run(self.train)
        slots = [self.opt.get_slot(v, n) for n in self.opt.get_slot_names() for v in (self.w, self.b)]
        found: list[Any] = session.run([self.w, self.b, self.step, *slots])
        return found


# --- with TensorFlow --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("first", "second"), [("tensorflow", "coldframe"), ("coldframe", "tensorflow")])
def test_a_training_is_handed_over(first: str, second: str, optimizer: str, resource: bool, tmp_path: Path) -> None:
    with BOTH[first].Graph().as_default():
        program = Program(BOTH[first], optimizer, resource)
        with BOTH[first].Session() as session:
            session.run(BOTH[first].global_variables_initializer())
            saved = program.run(session, 3)
            path = program.checkpoint.save(str(tmp_path / "ckpt"))
            ended = program.run(session, 3)
    assert path == str(tmp_path / "ckpt-1")
    with BOTH[second].Graph().as_default():
        program = Program(BOTH[second], optimizer, resource)
        with BOTH[second].Session() as session:
            assert BOTH[second].train.latest_checkpoint(str(tmp_path)) == path
            status = program.checkpoint.restore(path)
            status.assert_consumed().assert_existing_objects_matched().assert_nontrivial_match().run_restore_ops()
            for got, wanted in zip(program.run(session, 0), saved, strict=True):
                np.testing.assert_array_equal(got, wanted)
            assert session.run(program.checkpoint.save_counter) == 1
            for got, wanted in zip(program.run(session, 3), ended, strict=True):
                np.testing.assert_allclose(got, wanted, rtol=1e-5)
            again = program.checkpoint.save(str(tmp_path / "ckpt"), session=session)
    assert again == str(tmp_path / "ckpt-2")
    with open_checkpoint(path) as ours, open_checkpoint(again) as theirs:
        assert ours.object_graph is not None
        assert theirs.object_graph is not None
        assert ours.object_graph.message == theirs.object_graph.message
        assert set(ours) == set(theirs)
        shared = ours.object_graph.by_full_name["scope/w"]
        assert shared == variable_key("w")


@pytest.mark.parametrize("by", BOTH)
def test_a_saver_restores_objects_by_name(by: str, tmp_path: Path) -> None:
    with BOTH[by].Graph().as_default(), BOTH[by].Session() as session:
        program = Program(BOTH[by], "adam", True)
        session.run(BOTH[by].global_variables_initializer())
        saved = program.run(session, 2)
        path = program.checkpoint.save(str(tmp_path / "ckpt"))
    for tf in BOTH.values():
        with tf.Graph().as_default(), tf.Session() as session:
            program = Program(tf, "adam", True)
            tf.train.Saver().restore(session, path)
            for got, wanted in zip(program.run(session, 0), saved, strict=True):
                np.testing.assert_array_equal(got, wanted)


def named_checkpoint(tf: Any, path: Path) -> tuple[str, list[Any]]:
    with tf.Graph().as_default(), tf.Session() as session:
        program = Program(tf, "adam", False)
        session.run(tf.global_variables_initializer())
        return tf.train.Saver().save(session, str(path)), program.run(session, 0)


@pytest.mark.parametrize("by", BOTH)
def test_a_checkpoint_by_names_is_restored_into_objects(by: str, tmp_path: Path) -> None:
    path, saved = named_checkpoint(BOTH[by], tmp_path / "m")
    with cf.Graph().as_default(), cf.Session() as session:
        program = Program(cf, "adam", False)
        status = program.checkpoint.restore(path).assert_consumed().assert_nontrivial_match()
        status.initialize_or_restore()
        for got, wanted in zip(program.run(session, 0), saved, strict=True):
            np.testing.assert_array_equal(got, wanted)
        assert program.checkpoint.save(str(tmp_path / "ckpt")) == str(tmp_path / "ckpt-1")
        other = cf.train.Checkpoint(w=cf.get_variable("scope/ww", [3]))
        status = other.restore(path)
        with pytest.raises(AssertionError, match=r"`w` \(<tf.Variable 'scope/ww:0'.*"):
            status.assert_existing_objects_matched()
        with pytest.raises(AssertionError, match="none of the variables' names"):
            status.assert_nontrivial_match()
        with pytest.raises(cf.errors.NotFoundError, match=r"Key scope/ww not found[\s\S]*did you mean `scope/w`"):
            status.run_restore_ops()
        few = cf.train.Checkpoint(w=program.w).restore(path)
        with pytest.raises(AssertionError, match=r"8 of its values found no Python object:\n  `b`"):
            few.assert_consumed()


# --- deferred ---------------------------------------------------------------------------------------------------
def test_what_is_made_after_restore_is_restored(tmp_path: Path) -> None:
    with cf.Graph().as_default(), cf.Session() as session:
        program = Program(cf, "adam", False)
        session.run(cf.global_variables_initializer())
        saved = program.run(session, 2)
        path = program.checkpoint.save(tmp_path / "ckpt")
    with cf.Graph().as_default(), cf.Session() as session:
        checkpoint = cf.train.Checkpoint()
        status = checkpoint.restore(path)
        with pytest.raises(AssertionError, match="values found no Python object"):
            status.assert_consumed()
        checkpoint.w = w = cf.get_variable("other/w", [3])
        checkpoint.opt = opt = cf.train.AdamOptimizer(0.1)
        status.expect_partial().initialize_or_restore()
        np.testing.assert_array_equal(session.run(w), saved[0])
        opt.minimize(cf.reduce_sum(w * w))
        checkpoint.new = new = cf.get_variable("new", [2], initializer=cf.ones_initializer())
        with pytest.raises(AssertionError, match=r"(?s)Found 1 Python objects.*`new` \(<tf.Variable 'new:0'"):
            status.assert_existing_objects_matched()
        status.initialize_or_restore(session)
        np.testing.assert_array_equal(session.run(opt.get_slot(w, "m")), saved[3])
        np.testing.assert_array_equal(session.run(new), [1, 1])


class Net(cf.train.Checkpoint):
    """A model that keeps its parts as attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = cf.layers.Dense(4, name="hidden")
        self.cell = cf.nn.rnn_cell.MultiRNNCell([cf.nn.rnn_cell.GRUCell(2), cf.nn.rnn_cell.DropoutWrapper(
            cf.nn.rnn_cell.BasicLSTMCell(3))])  # fmt: skip
        self.blocks = [cf.layers.BatchNormalization(), cf.make_template("t", lambda: cf.get_variable("v", [1]))]
        self.note, self.me = "no object", self

    def __call__(self, x: Any) -> Any:
        self.blocks[1]()
        out = self.blocks[0](self.hidden(x))
        return cf.nn.static_rnn(self.cell, [out], dtype=cf.float32)[0][0]


def test_layers_cells_and_models_of_them(tmp_path: Path) -> None:
    values = {}
    for restored in (False, True):
        with cf.Graph().as_default(), cf.Session() as session:
            with cf.variable_scope("elsewhere" if restored else "here"):
                net = Net()
                checkpoint = cf.train.Checkpoint(net=net)
                if restored:
                    status = checkpoint.restore(str(tmp_path / "ckpt-1"))
                net(cf.ones([2, 5]))
            variables = cf.global_variables()
            names = [v.op.name.partition("/")[2] for v in variables if "save_counter" not in v.name]
            if restored:
                status.assert_consumed().run_restore_ops()
            else:
                session.run(cf.global_variables_initializer())
                checkpoint.save(tmp_path / "ckpt")
            values[restored] = dict(
                zip(names, session.run([v for v in variables if "save_counter" not in v.name]), strict=True)
            )
    assert values[True].keys() == values[False].keys()
    assert len(values[True]) == 13
    for name, value in values[True].items():
        np.testing.assert_array_equal(value, values[False][name])
    with open_checkpoint(tmp_path) as written:
        assert written.object_graph is not None
        paths = set(written.object_graph.by_path)
    assert {
        "net/hidden/kernel", "net/hidden/bias", "net/cell/cell-0/gates.Skernel", "net/cell/cell-1/cell/bias",
        "net/blocks/0/moving_mean", "net/blocks/1/v",
    } <= paths  # fmt: skip


# --- the manager ------------------------------------------------------------------------------------------------
def test_the_manager_counts_as_tensorflows(tmp_path: Path) -> None:
    listed = {}
    for name, tf in BOTH.items():
        folder = str(tmp_path / name)
        with tf.Graph().as_default(), tf.Session() as session:
            v = tf.get_variable("v", [2], initializer=tf.zeros_initializer(), use_resource=True)
            session.run(v.initializer)
            checkpoint = tf.train.Checkpoint(v=v)
            manager = tensorflow.train.CheckpointManager if tf is v1 else cf.train.CheckpointManager
            kept = manager(checkpoint, folder, max_to_keep=2)
            for _ in range(3):
                kept.save()
            kept.save(checkpoint_number=9)
            assert session.run(checkpoint.save_counter) == 4
            listed[name] = [os.path.relpath(p, folder) for p in kept.checkpoints]
    assert listed["coldframe"] == listed["tensorflow"] == ["ckpt-3", "ckpt-9"]
    with cf.Graph().as_default(), cf.Session() as session:
        checkpoint = cf.train.Checkpoint(v=cf.get_variable("v", [2]))
        kept = cf.train.CheckpointManager(checkpoint, str(tmp_path / "tensorflow"), max_to_keep=2)
        assert kept.restore_or_initialize() == kept.latest_checkpoint
        assert os.path.basename(kept.save() or "") == "ckpt-5"


# --- options ----------------------------------------------------------------------------------------------------
def test_options_call_back_and_leave_out_slots(tmp_path: Path) -> None:
    told: list[Any] = []
    options = cf.train.CheckpointOptions(experimental_write_callbacks=[told.append, lambda: told.append("saved")])
    for restoring in (False, True):
        with cf.Graph().as_default(), cf.Session() as session:
            v = cf.get_variable("v", [2], initializer=cf.ones_initializer())
            optimizer = cf.train.MomentumOptimizer(0.1, 0.9)
            step = optimizer.minimize(cf.reduce_sum(v * v))
            checkpoint = cf.train.Checkpoint(v=v, optimizer=optimizer)
            manager = cf.train.CheckpointManager(checkpoint, str(tmp_path), max_to_keep=3)
            slot = optimizer.get_slot(v, "momentum")
            if not restoring:
                session.run(cf.global_variables_initializer())
                session.run(step)
                path = checkpoint.write(str(tmp_path / "one"), options=options)
                assert told == [path, "saved"]
                numbered = manager.save(options=options)
                manager.sync()
                assert told[2:] == [numbered, "saved"]
                trained = session.run(v)
                continue
            no_slots = cf.train.CheckpointOptions(experimental_skip_slot_variables=True)
            status = checkpoint.read(path, options=no_slots)
            status.assert_existing_objects_matched()
            status.initialize_or_restore()
            np.testing.assert_array_equal(session.run(v), trained)
            np.testing.assert_array_equal(session.run(slot), [0.0, 0.0])
            checkpoint.restore(numbered, copy.copy(no_slots)).assert_consumed().run_restore_ops()
            np.testing.assert_array_equal(session.run(slot), [0.0, 0.0])
            checkpoint.read(path).run_restore_ops()
            np.testing.assert_array_equal(session.run(slot), [2.0, 2.0])
    with pytest.raises(ValueError, match=r"takes the path, or nothing"):
        cf.train.CheckpointOptions(experimental_write_callbacks=[lambda a, b: None])
    with pytest.raises(ValueError, match=r"hint: tf.train.Saver\(sharded=True\)"):
        cf.train.CheckpointOptions(experimental_sharding_callback=object())


# --- what goes wrong --------------------------------------------------------------------------------------------
WRONG: dict[str, tuple[Callable[[], Any], str]] = {
    "number": (lambda: 3, "got 3.\nhint: a checkpoint keeps variables"),
    "tensor": (lambda: cf.constant(1), "hint: a checkpoint keeps variables"),
    "average": (lambda: cf.train.ExponentialMovingAverage(0.9), "hint: pass the averages"),
    "partitioned": (
        lambda: cf.get_variable("p", [4], partitioner=cf.fixed_size_partitioner(2)), "hint: pass the parts"
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_object(kind: str) -> None:
    make, text = WRONG[kind]
    with cf.Graph().as_default(), pytest.raises(ValueError, match="expecting `x` to be a trackable object") as caught:
        cf.train.Checkpoint(x=make())
    assert text in str(caught.value)


def test_saving_says_what_is_wrong(tmp_path: Path) -> None:
    with cf.Graph().as_default():
        v, w = cf.get_variable("v", [2]), cf.get_variable("w", [2])
        checkpoint = cf.train.Checkpoint(v=v, w=w)
        with pytest.raises(ValueError, match="save needs a session"):
            checkpoint.save(tmp_path / "c")
        with cf.Session() as session:
            with pytest.raises(cf.errors.FailedPreconditionError, match="uninitialized value v, w"):
                checkpoint.save(tmp_path / "c")
            assert os.listdir(tmp_path) == []
            session.run(cf.global_variables_initializer())
            with pytest.raises(ValueError, match=r"the dict at `d` cannot be saved: its key 1 is no string"):
                cf.train.Checkpoint(d={1: v}).write(tmp_path / "c")
            opt = cf.train.MomentumOptimizer(0.1, 0.9)
            opt.minimize(cf.reduce_sum(v))
            session.run(cf.global_variables_initializer())
            with pytest.raises(NotImplementedError, match="slot `momentum` of optimizer `opt` is an object of its own"):
                cf.train.Checkpoint(v=v, opt=opt, m=opt.get_slot(v, "momentum")).write(tmp_path / "c")
        with cf.Graph().as_default(), cf.Session(), pytest.raises(ValueError, match=r"`v`.* is of another graph"):
            checkpoint.write(tmp_path / "c")
    assert os.listdir(tmp_path) == []


def test_restoring_says_what_is_wrong(tmp_path: Path) -> None:
    with cf.Graph().as_default(), cf.Session() as session:
        checkpoint = cf.train.Checkpoint(kernel=cf.get_variable("v", [2]), bias=cf.get_variable("w", [2]))
        session.run(cf.global_variables_initializer())
        path = checkpoint.write(tmp_path / "ckpt")
        assert sorted(os.listdir(tmp_path)) == ["ckpt.data-00000-of-00001", "ckpt.index"]
        renamed = cf.train.Checkpoint(kernal=checkpoint.kernel, bias=checkpoint.bias)
        status = renamed.read(path)
        with pytest.raises(AssertionError, match=r"(?s)Found 1 Python objects.*`kernal` .*did you mean `kernel`\?"):
            status.assert_consumed()
        with pytest.raises(AssertionError, match=r"(?s)1 of its values.*\n  `kernel`\nhint: .*expect_partial"):
            cf.train.Checkpoint(bias=checkpoint.bias).read(path).assert_consumed()
        with pytest.raises(AssertionError, match=r"Nothing to load.* has `bias`, `kernel`, the program `x`"):
            cf.train.Checkpoint(x=checkpoint.bias).read(path).assert_nontrivial_match()
        before = session.run([checkpoint.bias])
        larger = cf.train.Checkpoint(bias=checkpoint.bias, kernel=cf.get_variable("larger", [3]))
        with pytest.raises(cf.errors.InvalidArgumentError, match=r"kernel.*expected shape \[3\], found shape \[2\]"):
            larger.read(path).run_restore_ops()
        np.testing.assert_array_equal(session.run([checkpoint.bias]), before)
        with pytest.raises(cf.errors.NotFoundError, match="ckpt"):
            checkpoint.restore(str(tmp_path / "ckpz"))


def test_damaged_object_graphs_are_refused(tmp_path: Path) -> None:
    def restored(message: Any) -> Any:
        save_checkpoint(tmp_path / "c", {OBJECT_GRAPH_KEY: np.array(message.SerializeToString(), object)})
        with cf.Graph().as_default(), cf.Session():
            checkpoint = cf.train.Checkpoint(v=cf.get_variable("v", [2]))
            status = checkpoint.read(tmp_path / "c")
            return status.assert_nontrivial_match().run_restore_ops()

    message = messages.TrackableObjectGraph()
    with pytest.raises(AssertionError, match=r"Nothing to load.* has nothing, the program `v`"):
        restored(message)
    message.nodes.add().children.add(node_id=1, local_name="v")
    with pytest.raises(cf.errors.DataLossError, match="object graph refers to no node"):
        restored(message)
    message.nodes.add().attributes.add(name="VARIABLE_VALUE", full_name="v", checkpoint_key=variable_key("v"))
    with pytest.raises(cf.errors.NotFoundError, match=r"Key v/.ATTRIBUTES/VARIABLE_VALUE not found in checkpoint"):
        restored(message)
    message.nodes[1].children.add(node_id=0, local_name="back")  # a cycle, and the root is no variable
    message.nodes[0].children.add(node_id=0, local_name="v")
    with pytest.raises(cf.errors.NotFoundError, match=r"Key v/.ATTRIBUTES"):
        restored(message)


def test_counting_in_a_graph_that_is_finalized_or_not_the_default(tmp_path: Path) -> None:
    with cf.Graph().as_default() as graph:
        v = cf.get_variable("v", [2])
        checkpoint = cf.train.Checkpoint(v=v)
        session = cf.Session()
    session.run(v.initializer)
    path = checkpoint.save(tmp_path / "c", session)
    assert checkpoint.save_counter.graph is graph
    checkpoint.restore(path).assert_consumed().run_restore_ops(session)
    with graph.as_default():
        other = cf.train.Checkpoint(v=v)
        graph.finalize()
        with pytest.raises(RuntimeError, match=r"(?s)finalized.*hint: ask for checkpoint.save_counter"):
            other.save(tmp_path / "d", session)
        checkpoint.save(tmp_path / "c", session)
        other.write(tmp_path / "d", session)
    assert v1.train.latest_checkpoint(str(tmp_path)) == str(tmp_path / "c-2")
    session.close()


def test_eager_tensorflow_restores_objects(tmp_path: Path) -> None:
    with cf.Graph().as_default(), cf.Session() as session:
        program = Program(cf, "adam", False)
        session.run(cf.global_variables_initializer())
        saved = program.run(session, 2)
        path = program.checkpoint.save(tmp_path / "ckpt")
    w, b = tensorflow.Variable(np.zeros(3, np.float32)), tensorflow.Variable(np.zeros(2, np.float32))
    checkpoint = tensorflow.train.Checkpoint(w=w, items=[b])
    checkpoint.restore(path).assert_existing_objects_matched().expect_partial()
    np.testing.assert_array_equal(w.numpy(), saved[0])
    np.testing.assert_array_equal(b.numpy(), saved[1])
    assert checkpoint.save_counter.numpy() == 1
    again = checkpoint.save(str(tmp_path / "ckpt"))
    with cf.Graph().as_default(), cf.Session() as session:
        mine = cf.train.Checkpoint(w=cf.get_variable("w", [3]), items=[cf.get_variable("b", [2])])
        mine.restore(again).assert_consumed().run_restore_ops()
        np.testing.assert_array_equal(session.run(mine.w), saved[0])


def test_restoring_nothing_runs_the_initializers(tmp_path: Path) -> None:
    with cf.Graph().as_default(), cf.Session() as session:
        v = cf.get_variable("v", [2], initializer=cf.ones_initializer())
        status = cf.train.Checkpoint(v=v).restore(cf.train.latest_checkpoint(str(tmp_path)))
        for wrong in (status.assert_consumed, status.run_restore_ops, status.assert_nontrivial_match):
            with pytest.raises(AssertionError, match="No checkpoint specified"):
                wrong()
        status.initialize_or_restore()
        np.testing.assert_array_equal(session.run(v), [1, 1])


def test_random_operations_go_on(tmp_path: Path) -> None:
    drawn = []
    for restored in (False, True):
        with cf.Graph().as_default(), cf.Session() as session:
            v = cf.get_variable("v", [2], initializer=cf.zeros_initializer())
            noise = cf.random_uniform([3], seed=1)
            checkpoint = cf.train.Checkpoint(v=v)
            if restored:
                checkpoint.restore(str(tmp_path / "ckpt-1")).run_restore_ops()
            else:
                session.run([v.initializer, noise])
                session.run(noise)
                checkpoint.save(tmp_path / "ckpt")
            drawn.append(session.run(noise))
    np.testing.assert_array_equal(*drawn)
