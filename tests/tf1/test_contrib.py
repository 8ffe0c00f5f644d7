"""tf.contrib: names of variables and nodes are TF1's, written out; numbers are TensorFlow's for the same graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as tf
from coldframe.tf1.lazy import MissingSymbol
from tf1_import import names, same, variables

slim = tf.contrib.slim
layers = tf.contrib.layers
Shapes = dict[str, list[int]]


@pytest.fixture(autouse=True)
def _fresh_graph() -> Iterator[None]:
    with tf.Graph().as_default():
        tf.set_random_seed(3)
        yield


def x(*dims: int | None) -> Any:
    return tf.placeholder(tf.float32, dims, name="x")


_BATCH = {f"BatchNorm/{n}": [3] for n in ("beta", "moving_mean", "moving_variance")}
CALLS: list[tuple[str, Callable[[], Any], Shapes, list[str]]] = [
    (
        "fully_connected", lambda: layers.fully_connected(x(None, 3), 4),
        {"fully_connected/weights": [3, 4], "fully_connected/biases": [4]},
        ["fully_connected/MatMul", "fully_connected/BiasAdd", "fully_connected/Relu"],
    ),
    (
        "linear", lambda: layers.linear(x(None, 3), 4, scope="out"),
        {"out/weights": [3, 4], "out/biases": [4]}, ["out/MatMul", "out/BiasAdd"],
    ),
    (
        "conv2d", lambda: layers.conv2d(x(None, 8, 8, 3), 4, [3, 3], stride=2),
        {"Conv/weights": [3, 3, 3, 4], "Conv/biases": [4]},
        ["Conv/dilation_rate", "Conv/Conv2D", "Conv/BiasAdd", "Conv/Relu"],
    ),
    (
        "conv2d, normalised", lambda: layers.conv2d(x(None, 8, 8, 2), 3, 3, normalizer_fn=layers.batch_norm,
                                                    normalizer_params={"is_training": False}),
        {"Conv/weights": [3, 3, 2, 3], **{f"Conv/{k}": v for k, v in _BATCH.items()}},
        ["Conv/dilation_rate", "Conv/Conv2D", "Conv/BatchNorm/Const", "Conv/BatchNorm/FusedBatchNormV3",
         "Conv/BatchNorm/Const_1", "Conv/Relu"],
    ),
    (
        "conv2d_transpose", lambda: layers.conv2d_transpose(x(2, 4, 4, 3), 2, 3, 2, activation_fn=None),
        {"Conv2d_transpose/weights": [3, 3, 2, 3], "Conv2d_transpose/biases": [2]}, [],
    ),
    (
        "separable_conv2d", lambda: layers.separable_conv2d(x(None, 8, 8, 3), 4, 3),
        {"SeparableConv2d/depthwise_weights": [3, 3, 3, 1], "SeparableConv2d/pointwise_weights": [1, 1, 3, 4],
         "SeparableConv2d/biases": [4]},
        ["SeparableConv2d/separable_conv2d/depthwise", "SeparableConv2d/separable_conv2d", "SeparableConv2d/BiasAdd",
         "SeparableConv2d/Relu"],
    ),
    (
        "separable_conv2d, depthwise only", lambda: layers.separable_conv2d(x(None, 8, 8, 3), None, 3),
        {"SeparableConv2d/depthwise_weights": [3, 3, 3, 1], "SeparableConv2d/biases": [3]},
        ["SeparableConv2d/depthwise", "SeparableConv2d/BiasAdd", "SeparableConv2d/Relu"],
    ),
    (
        "flatten, dropout, pools",
        lambda: layers.flatten(layers.dropout(layers.avg_pool2d(layers.max_pool2d(x(None, 8, 8, 3), 2), 2),
                                              is_training=False)),
        {},
        ["MaxPool2D/MaxPool", "AvgPool2D/AvgPool", "Dropout/Identity", "Flatten/flatten/Shape",
         "Flatten/flatten/strided_slice", "Flatten/flatten/Reshape/shape/1", "Flatten/flatten/Reshape/shape",
         "Flatten/flatten/Reshape"],
    ),
    (
        "batch_norm, forced updates", lambda: layers.batch_norm(x(None, 4, 4, 3), updates_collections=None),
        _BATCH,
        [f"BatchNorm/{n}" for n in (
            "Const", "Const_1", "Const_2", "FusedBatchNormV3", "AssignMovingAvg/decay", "AssignMovingAvg/sub",
            "AssignMovingAvg/mul", "AssignMovingAvg", "AssignMovingAvg_1/decay", "AssignMovingAvg_1/sub",
            "AssignMovingAvg_1/mul", "AssignMovingAvg_1", "Identity")],
    ),
    (
        "layer_norm", lambda: layers.layer_norm(x(None, 5, 3)), {"LayerNorm/beta": [3], "LayerNorm/gamma": [3]}, [],
    ),
    (
        "stack", lambda: layers.stack(x(None, 3), layers.fully_connected, [4, 5], scope="fc"),
        {"fc/fc_1/weights": [3, 4], "fc/fc_1/biases": [4], "fc/fc_2/weights": [4, 5], "fc/fc_2/biases": [5]}, [],
    ),
    (
        "repeat", lambda: slim.repeat(x(None, 8, 8, 3), 2, slim.conv2d, 4, [3, 3], scope="conv1"),
        {"conv1/conv1_1/weights": [3, 3, 3, 4], "conv1/conv1_1/biases": [4], "conv1/conv1_2/weights": [3, 3, 4, 4],
         "conv1/conv1_2/biases": [4]}, [],
    ),
    ("unit_norm", lambda: layers.unit_norm(x(None, 3), 1), {}, []),
    (
        "embed_sequence", lambda: layers.embed_sequence(tf.constant([[1, 2], [3, 0]]), 5, 4),
        {"EmbedSequence/embeddings": [5, 4]}, [],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "shapes", "nodes"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS])
def test_variables_nodes_and_numbers(call: Any, shapes: Shapes, nodes: list[str]) -> None:
    result = call()
    assert variables() == shapes
    if nodes:
        assert names() == nodes
    got = same([result])[0]
    assert all(k is None or k == n for k, n in zip(result.shape.as_list(), got.shape, strict=True))


# --- batch normalisation --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", [(4, 3, 3, 2), (4, 2), (4, 3, 2)], ids=str)
@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("collection", [None, "mine"])
def test_batch_norm_moves_its_averages(shape: tuple[int, ...], fused: bool, collection: str | None) -> None:
    training = tf.placeholder(tf.bool, [], name="training")
    made = layers.batch_norm(
        x(*shape), 0.9, scale=True, is_training=training, fused=fused, updates_collections=collection
    )
    mean, variance = slim.get_variables_by_suffix("moving_mean")[0], slim.get_variables_by_suffix("moving_variance")[0]
    updates = [made] if collection is None else tf.get_collection(collection)
    assert len(updates) == (1 if collection is None else 2)
    with tf.control_dependencies(updates):
        after = [tf.identity(v._ref) for v in (mean, variance)]
    value = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    got = same([made, *after], {"x:0": value, "training:0": True}, steps=2)
    np.testing.assert_allclose(got[1], value.mean(tuple(range(len(shape) - 1))) * (1 - 0.9**2), rtol=1e-4)
    same([made, *after], {"x:0": value, "training:0": False})


def test_batch_norm_says_what_it_lacks() -> None:
    with pytest.raises(MissingSymbol, match="`renorm`"):
        layers.batch_norm(x(2, 3), renorm=True)


# --- argument scopes, collections -----------------------------------------------------------------------------------
def test_arg_scopes_give_defaults_that_calls_override() -> None:
    with slim.arg_scope(
        [slim.conv2d, slim.fully_connected], activation_fn=None, weights_regularizer=slim.l2_regularizer(0.1)
    ):
        with slim.arg_scope([slim.conv2d], padding="VALID") as scope:
            y = slim.conv2d(x(None, 8, 8, 3), 4, 3, scope="a")
        z = slim.conv2d(y, 4, 3, scope="b", activation_fn=tf.nn.relu)
    with slim.arg_scope(scope):
        w = slim.conv2d(z, 4, 3, scope="c")
    assert [t.name for t in (y, z, w)] == ["a/BiasAdd:0", "b/Relu:0", "c/BiasAdd:0"]
    assert [t.shape.as_list() for t in (y, z, w)] == [[None, 6, 6, 4], [None, 6, 6, 4], [None, 4, 4, 4]]
    losses = [t.op.name for t in tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)]
    assert losses == [f"{s}/kernel/Regularizer/l2_regularizer" for s in "abc"]
    assert slim.conv2d(w, 4, 3).name == "Conv/Relu:0"  # outside: the defaults again


def test_arg_scope_refuses_what_takes_no_defaults() -> None:
    with pytest.raises(ValueError, match="is not decorated with @add_arg_scope"), slim.arg_scope([tf.nn.relu], a=1):
        pass
    with pytest.raises(TypeError, match="list_ops_or_scope"), slim.arg_scope(slim.conv2d, a=1):
        pass


def test_model_variables_and_collections() -> None:
    y = slim.conv2d(x(None, 8, 8, 3), 4, 3, scope="net/c", variables_collections=["mine"], outputs_collections="ends")
    slim.dropout(slim.fully_connected(slim.flatten(y), 2, scope="net/f", outputs_collections="ends"))
    tf.get_variable("step", [], trainable=False)
    assert [v.op.name for v in slim.get_model_variables()] == [
        "net/c/weights", "net/c/biases", "net/f/weights", "net/f/biases",
    ]  # fmt: skip
    assert [v.op.name for v in tf.get_collection("mine")] == ["net/c/weights", "net/c/biases"]
    assert [v.op.name for v in slim.get_variables_to_restore(exclude=["net/f"])] == [
        "net/c/weights", "net/c/biases", "step",
    ]  # fmt: skip
    assert list(slim.utils.convert_collection_to_dict("ends")) == ["net/c", "net/f"]
    assert [v.op.name for v in slim.get_variables(suffix="biases")] == ["net/c/biases", "net/f/biases"]
    assert slim.get_unique_variable("net/c/biases").op.name == "net/c/biases"


def test_reuse_shares() -> None:
    for reuse in (None, True):
        layers.fully_connected(x(None, 3), 4, scope="fc", reuse=reuse)
    assert list(variables()) == ["fc/weights", "fc/biases"]
    with pytest.raises(ValueError, match="Variable fc/weights already exists"):
        layers.fully_connected(x(None, 3), 4, scope="fc")


def test_values_from_a_checkpoint(tmp_path: Any) -> None:
    import coldframe

    layers.fully_connected(x(None, 3), 4, scope="fc")
    value = np.arange(12, dtype=np.float32).reshape(3, 4)
    coldframe.save_checkpoint(str(tmp_path / "m"), {"fc/weights": value})
    assign = slim.assign_from_checkpoint_fn(str(tmp_path / "m"), slim.get_model_variables(), ignore_missing_vars=True)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        assign(session)
        assert np.array_equal(session.run("fc/weights:0"), value)
    with pytest.raises(ValueError, match=r"missing variable \[fc/biases\]"):
        slim.assign_from_checkpoint(str(tmp_path / "m"), slim.get_model_variables())


# --- regularizers, initializers, training ---------------------------------------------------------------------------
def test_regularizers() -> None:
    w = tf.constant([[1.0, -2.0], [3.0, 0.5]])
    made = [
        layers.l1_regularizer(0.5)(w), layers.l2_regularizer(0.5)(w), layers.l1_l2_regularizer(0.1, 0.2)(w),
        layers.apply_regularization(layers.l2_regularizer(1.0), [w, w]),
    ]  # fmt: skip
    got = same(made)
    np.testing.assert_allclose(got, [3.25, 3.5625, 0.65 + 1.425, 14.25], rtol=1e-6)
    assert [t.op.name for t in made[:3]] == ["l1_regularizer", "l2_regularizer", "l1_l2_regularizer"]
    with pytest.raises(ValueError, match="scale cannot be an integer"):
        layers.l2_regularizer(1)


@pytest.mark.parametrize(
    ("initializer", "limit"),
    [
        (layers.xavier_initializer(), (3.0 / ((200 + 100) / 2)) ** 0.5),
        (layers.variance_scaling_initializer(), 2 * (1.3 * 2 / 200) ** 0.5),
    ],
    ids=["xavier", "variance scaling"],
)
def test_initializers_spread_by_the_size(initializer: Any, limit: float) -> None:
    value = same([initializer([200, 100])])[0]
    assert 0.99 * limit < abs(value).max() <= limit


@pytest.mark.parametrize(
    "optimizer", ["SGD", "Adam", tf.train.AdagradOptimizer, lambda r: tf.train.MomentumOptimizer(r, 0.9)]
)
def test_optimize_loss_trains(optimizer: Any) -> None:
    step = tf.train.get_or_create_global_step()
    loss = tf.reduce_mean(tf.square(layers.linear(x(None, 3), 1) - 1.0))
    train = layers.optimize_loss(loss, step, 0.1, optimizer, clip_gradients=5.0, summaries=[])
    value = np.random.default_rng(0).standard_normal([8, 3]).astype(np.float32)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        first = session.run(loss, {"x:0": value})
        for _ in range(10):
            session.run(train, {"x:0": value})
        assert session.run(loss, {"x:0": value}) < first
        assert session.run(step) == 10
    assert "OptimizeLoss/learning_rate" in variables()


def test_optimize_loss_refuses_unknown_optimizers() -> None:
    loss = tf.reduce_mean(layers.linear(x(None, 3), 1))
    with pytest.raises(ValueError, match="you provided Adm"):
        layers.optimize_loss(loss, None, 0.1, "Adm", summaries=[])


# --- recurrent cells ------------------------------------------------------------------------------------------------
def _rnn() -> Any:
    return tf.contrib.rnn


CELLS: dict[str, tuple[Callable[[], Any], Shapes]] = {
    "LSTMBlockCell": (
        lambda: _rnn().LSTMBlockCell(4), {"rnn/lstm_cell/kernel": [7, 16], "rnn/lstm_cell/bias": [16]},
    ),
    "GRUBlockCell": (
        lambda: _rnn().GRUBlockCell(4),
        {"rnn/gru_cell/w_ru": [7, 8], "rnn/gru_cell/b_ru": [8], "rnn/gru_cell/w_c": [7, 4], "rnn/gru_cell/b_c": [4]},
    ),
    "GRUBlockCellV2": (
        lambda: _rnn().GRUBlockCellV2(4),
        {"rnn/gru_cell/gates/kernel": [7, 8], "rnn/gru_cell/gates/bias": [8], "rnn/gru_cell/candidate/kernel": [7, 4],
         "rnn/gru_cell/candidate/bias": [4]},
    ),
    "LayerNormBasicLSTMCell": (
        lambda: _rnn().LayerNormBasicLSTMCell(4),
        {"rnn/layer_norm_basic_lstm_cell/kernel": [7, 16], **{
            f"rnn/layer_norm_basic_lstm_cell/{s}/{n}": [4]
            for s in ("input", "transform", "forget", "output", "state") for n in ("gamma", "beta")}},
    ),
    "AttentionCellWrapper": (
        lambda: _rnn().AttentionCellWrapper(_rnn().BasicLSTMCell(4), 3),
        {f"rnn/attention_cell_wrapper/{n}": s for n, s in {
            "kernel": [7, 3], "bias": [3], "basic_lstm_cell/kernel": [7, 16], "basic_lstm_cell/bias": [16],
            "attention/attn_w": [1, 1, 4, 4], "attention/attn_v": [4], "attention/kernel": [8, 4],
            "attention/bias": [4], "attn_output_projection/kernel": [8, 4], "attn_output_projection/bias": [4],
        }.items()},
    ),
    "CoupledInputForgetGateLSTMCell": (
        lambda: _rnn().CoupledInputForgetGateLSTMCell(4),
        {"rnn/coupled_input_forget_gate_lstm_cell/kernel": [7, 12],
         "rnn/coupled_input_forget_gate_lstm_cell/bias": [12]},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("cell", "shapes"), CELLS.values(), ids=CELLS)
def test_cells_compute_what_tensorflow_does(cell: Any, shapes: Shapes) -> None:
    outputs, _ = tf.contrib.rnn.static_rnn(cell(), tf.unstack(x(2, 3, 3), axis=1), dtype=tf.float32)
    assert variables() == shapes
    same([outputs[-1]])


def test_a_block_cell_computes_what_the_cell_of_several_nodes_does() -> None:
    inputs = tf.unstack(x(2, 3, 3), axis=1)
    with tf.variable_scope("a", reuse=tf.AUTO_REUSE, initializer=tf.random_normal_initializer(seed=1)):
        plain, _ = tf.contrib.rnn.static_rnn(_rnn().LSTMCell(4, name="lstm_cell"), inputs, dtype=tf.float32)
        block, _ = tf.contrib.rnn.static_rnn(_rnn().LSTMBlockCell(4), inputs, dtype=tf.float32)
    assert len(tf.global_variables()) == 2
    first, second = same([plain[-1], block[-1]])
    np.testing.assert_allclose(first, second, rtol=1e-5)


def test_a_fused_cell_stops_where_sequences_end() -> None:
    value = np.random.default_rng(0).standard_normal([4, 2, 3]).astype(np.float32)
    outputs, state = _rnn().LSTMBlockFusedCell(5)(x(4, 2, 3), dtype=tf.float32, sequence_length=tf.constant([2, 4]))
    got = same([outputs, *state], {"x:0": value})
    assert not got[0][2:, 0].any()
    assert np.array_equal(got[2], got[0][[1, 3], [0, 1]])


def test_stacked_bidirectional_layers() -> None:
    cells = [[_rnn().BasicLSTMCell(4), _rnn().BasicLSTMCell(2)] for _ in range(2)]
    outputs, fw, bw = _rnn().stack_bidirectional_dynamic_rnn(*cells, x(2, 3, 3), dtype=tf.float32)
    assert outputs.shape.as_list() == [2, 3, 4]
    assert (len(fw), len(bw)) == (2, 2)
    assert next(iter(variables())) == "stack_bidirectional_rnn/cell_0/bidirectional_rnn/fw/basic_lstm_cell/kernel"
    same([outputs])


# --- the rest -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("mean", [(True, True), (True, False), (False, True), (False, False)])
def test_sequence_loss(mean: tuple[bool, bool]) -> None:
    weights = tf.constant([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    made = tf.contrib.seq2seq.sequence_loss(x(2, 3, 4), tf.constant([[0, 1, 2], [3, 0, 0]]), weights, *mean)
    value = np.random.default_rng(0).standard_normal([2, 3, 4]).astype(np.float32)
    got = same([made], {"x:0": value})[0]
    logs = value - np.log(np.exp(value).sum(-1, keepdims=True))
    each = -np.array([[logs[0, 0, 0], logs[0, 1, 1], 0], [logs[1, 0, 3], 0, 0]], np.float32)
    counts = np.array([[1, 1, 0], [1, 0, 0]])
    if mean == (True, True):
        np.testing.assert_allclose(got, each.sum() / 3, rtol=1e-5)
    elif mean == (True, False):
        np.testing.assert_allclose(got, each.sum(1) / counts.sum(1), rtol=1e-5)
    elif mean == (False, True):
        np.testing.assert_allclose(got, each.sum(0) / (counts.sum(0) + 1e-12), rtol=1e-5)
    else:
        np.testing.assert_allclose(got, each, rtol=1e-5)


def test_hyperparameters() -> None:
    params = tf.contrib.training.HParams(rate=0.1, sizes=[3, 4], name="a", deep=True)
    params.parse("rate=0.5,sizes=[1,2,3],name=b,deep=false")
    assert params.values() == {"rate": 0.5, "sizes": [1, 2, 3], "name": "b", "deep": False}
    assert "rate" in params
    for text, message in (("rat=1", "did you mean `rate`"), ("deep=maybe", "no bool"), ("sizes=[x]", "Could not cast")):
        with pytest.raises(ValueError, match=message):
            params.parse(text)


MISSING: dict[str, tuple[Callable[[], Any], str]] = {
    "eager": (lambda: tf.contrib.eager, "use placeholders and a Session"),
    "tpu": (lambda: tf.contrib.tpu, "no TPUs"),
    "feature column": (lambda: layers.real_valued_column, "tf.data"),
    "nets": (lambda: slim.nets, "ships no networks"),
    "attention": (lambda: tf.contrib.seq2seq.LuongMonotonicAttention, "use BahdanauAttention"),
    "cell": (lambda: tf.contrib.rnn.NASCell, "use LSTMCell"),
    "misspelt": (lambda: layers.fully_conected, "did you mean `fully_connected`"),
}


@pytest.mark.parametrize(("call", "hint"), MISSING.values(), ids=MISSING)
def test_what_is_missing_says_what_to_use(call: Any, hint: str) -> None:
    with pytest.raises(MissingSymbol, match=hint):
        call()


def test_slim_has_the_modules_of_contrib_layers() -> None:
    assert slim.initializers.xavier_initializer is tf.contrib.layers.xavier_initializer
