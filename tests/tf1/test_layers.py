"""tf.layers: names of variables and nodes are TF1's, written out; numbers are TensorFlow's for the same graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as tf
from coldframe.tf1.lazy import MissingSymbol
from tf1_import import names, same, variables

Shapes = dict[str, list[int]]


@pytest.fixture(autouse=True)
def _fresh_graph() -> Iterator[None]:
    with tf.Graph().as_default():
        tf.set_random_seed(3)
        yield


def x(*dims: int | None) -> Any:
    return tf.placeholder(tf.float32, dims, name="x")


_CONV = ["dilation_rate", "Conv2D", "BiasAdd"]
CALLS: list[tuple[str, Callable[[], Any], Shapes, list[str]]] = [
    (
        "dense", lambda: tf.layers.dense(x(None, 3), 4, tf.nn.relu),
        {"dense/kernel": [3, 4], "dense/bias": [4]}, ["dense/MatMul", "dense/BiasAdd", "dense/Relu"],
    ),
    (
        "dense without bias, named", lambda: tf.layers.dense(x(None, 3), 4, use_bias=False, name="fc"),
        {"fc/kernel": [3, 4]}, ["fc/MatMul"],
    ),
    (
        "dense of rank 3", lambda: tf.layers.dense(x(2, 5, 3), 4),
        {"dense/kernel": [3, 4], "dense/bias": [4]},
        ["dense/Tensordot/Reshape/shape", "dense/Tensordot/Reshape", "dense/Tensordot/MatMul", "dense/Tensordot/shape",
         "dense/Tensordot", "dense/BiasAdd"],
    ),
    (
        "conv2d", lambda: tf.layers.conv2d(x(None, 8, 8, 3), 4, 3, activation="relu"),
        {"conv2d/kernel": [3, 3, 3, 4], "conv2d/bias": [4]}, [f"conv2d/{n}" for n in (*_CONV, "Relu")],
    ),
    (
        "conv2d, strides, same", lambda: tf.layers.conv2d(x(None, 9, 8, 3), 4, (3, 2), strides=2, padding="SAME"),
        {"conv2d/kernel": [3, 2, 3, 4], "conv2d/bias": [4]}, [f"conv2d/{n}" for n in _CONV],
    ),
    (
        "conv1d", lambda: tf.layers.conv1d(x(None, 8, 3), 4, 3),
        {"conv1d/kernel": [3, 3, 4], "conv1d/bias": [4]},
        ["conv1d/dilation_rate", "conv1d/conv1d/ExpandDims/dim", "conv1d/conv1d/ExpandDims",
         "conv1d/conv1d/ExpandDims_1/dim", "conv1d/conv1d/ExpandDims_1", "conv1d/conv1d", "conv1d/conv1d/Squeeze",
         "conv1d/BiasAdd"],
    ),
    (
        "conv3d", lambda: tf.layers.conv3d(x(None, 4, 4, 4, 2), 3, 2),
        {"conv3d/kernel": [2, 2, 2, 2, 3], "conv3d/bias": [3]},
        ["conv3d/dilation_rate", "conv3d/Conv3D", "conv3d/BiasAdd"],
    ),
    (
        "separable_conv2d", lambda: tf.layers.separable_conv2d(x(None, 8, 8, 3), 4, 3, depth_multiplier=2),
        {"separable_conv2d/depthwise_kernel": [3, 3, 3, 2], "separable_conv2d/pointwise_kernel": [1, 1, 6, 4],
         "separable_conv2d/bias": [4]},
        ["separable_conv2d/separable_conv2d/depthwise", "separable_conv2d/separable_conv2d",
         "separable_conv2d/BiasAdd"],
    ),
    (
        "conv2d_transpose", lambda: tf.layers.conv2d_transpose(x(None, 4, 5, 3), 2, 3, strides=2),
        {"conv2d_transpose/kernel": [3, 3, 2, 3], "conv2d_transpose/bias": [2]},
        ["conv2d_transpose/Shape", "conv2d_transpose/strided_slice", "conv2d_transpose/strided_slice_1/stack",
         "conv2d_transpose/strided_slice_1", "conv2d_transpose/strided_slice_2/stack",
         "conv2d_transpose/strided_slice_2", "conv2d_transpose/mul/y", "conv2d_transpose/mul",
         "conv2d_transpose/add/y", "conv2d_transpose/add", "conv2d_transpose/mul_1/y", "conv2d_transpose/mul_1",
         "conv2d_transpose/add_1/y", "conv2d_transpose/add_1", "conv2d_transpose/stack/3", "conv2d_transpose/stack",
         "conv2d_transpose/conv2d_transpose", "conv2d_transpose/BiasAdd"],
    ),
    (
        "max_pooling2d", lambda: tf.layers.max_pooling2d(x(None, 8, 8, 3), 2, 2), {}, ["max_pooling2d/MaxPool"],
    ),
    (
        "average_pooling2d", lambda: tf.layers.average_pooling2d(x(None, 7, 7, 3), 3, 2, "same"), {},
        ["average_pooling2d/AvgPool"],
    ),
    (
        "max_pooling1d", lambda: tf.layers.max_pooling1d(x(None, 8, 3), 2, 2), {},
        ["max_pooling1d/ExpandDims/dim", "max_pooling1d/ExpandDims", "max_pooling1d/MaxPool", "max_pooling1d/Squeeze"],
    ),
    (
        "flatten", lambda: tf.layers.flatten(x(None, 4, 3)), {},
        ["flatten/Shape", "flatten/strided_slice", "flatten/Reshape/shape/1", "flatten/Reshape/shape",
         "flatten/Reshape"],
    ),
    ("dropout, not training", lambda: tf.layers.dropout(x(None, 4)), {}, ["dropout/Identity"]),
    (
        "batch_normalization", lambda: tf.layers.batch_normalization(x(None, 4, 4, 3)),
        {f"batch_normalization/{n}": [3] for n in ("gamma", "beta", "moving_mean", "moving_variance")},
        ["batch_normalization/FusedBatchNormV3", "batch_normalization/Const"],
    ),
    (
        "batch_normalization, training", lambda: tf.layers.batch_normalization(x(None, 4, 4, 3), training=True),
        {f"batch_normalization/{n}": [3] for n in ("gamma", "beta", "moving_mean", "moving_variance")},
        [f"batch_normalization/{n}" for n in (
            "Const", "Const_1", "FusedBatchNormV3", "Const_2", "AssignMovingAvg/sub/x", "AssignMovingAvg/sub",
            "AssignMovingAvg/sub_1", "AssignMovingAvg/mul", "AssignMovingAvg", "AssignMovingAvg_1/sub/x",
            "AssignMovingAvg_1/sub", "AssignMovingAvg_1/sub_1", "AssignMovingAvg_1/mul", "AssignMovingAvg_1")],
    ),
    (
        "batch_normalization of rank 2", lambda: tf.layers.batch_normalization(x(None, 3)),
        {f"batch_normalization/{n}": [3] for n in ("gamma", "beta", "moving_mean", "moving_variance")},
        [f"batch_normalization/batchnorm/{n}" for n in (
            "add/y", "add", "Rsqrt", "mul", "mul_1", "mul_2", "sub", "add_1")],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("call", "shapes", "nodes"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS])
def test_variables_nodes_and_numbers(call: Any, shapes: Shapes, nodes: list[str]) -> None:
    result = call()
    assert variables() == shapes
    assert names() == nodes
    got = same([result])[0]
    assert all(k is None or k == n for k, n in zip(result.shape.as_list(), got.shape, strict=True))


# --- numbers of calls whose names need no table -----------------------------------------------------------------------
def _causal() -> Any:
    return tf.layers.conv1d(x(None, 8, 3), 4, 3, padding="causal", dilation_rate=2)


MORE: dict[str, Callable[[], Any]] = {
    "conv2d, dilated": lambda: tf.layers.conv2d(x(None, 9, 9, 3), 4, 3, dilation_rate=2),
    "conv1d, causal": _causal,
    "conv3d_transpose": lambda: tf.layers.conv3d_transpose(x(2, 3, 3, 3, 2), 3, 2, 2, "same"),
    "conv2d_transpose, same": lambda: tf.layers.conv2d_transpose(x(None, None, 5, 3), 2, 3, 2, "same"),
    "separable_conv1d": lambda: tf.layers.separable_conv1d(x(None, 9, 3), 4, 3, strides=2),
    "average_pooling1d": lambda: tf.layers.average_pooling1d(x(None, 9, 3), 3, 2, "same"),
    "max_pooling3d": lambda: tf.layers.max_pooling3d(x(2, 4, 4, 4, 2), 2, 2),
    "batch normalization of another axis": lambda: tf.layers.batch_normalization(x(2, 3, 4), axis=1, training=True),
    "batch normalization of two axes": lambda: tf.layers.batch_normalization(x(2, 3, 4), axis=[1, 2], training=True),
    "batch normalization without gamma, beta": lambda: tf.layers.batch_normalization(
        x(2, 3, 3, 4), center=False, scale=False, training=True
    ),
    "batch normalization unless training": lambda: tf.layers.batch_normalization(
        x(2, 3, 3, 4), training=tf.placeholder_with_default(False, [])
    ),
    "dense, activation by name": lambda: tf.layers.dense(x(2, 3), 4, "hard_sigmoid"),
    "dropout unless training": lambda: tf.layers.dropout(x(2, 3), training=tf.placeholder_with_default(False, [])),
}


@pytest.mark.parametrize("call", MORE.values(), ids=MORE)
def test_numbers(call: Any) -> None:
    result = call()
    got = same([result])[0]
    assert all(k is None or k == n for k, n in zip(result.shape.as_list(), got.shape, strict=True))


@pytest.mark.parametrize("shape", [(4, 3, 3, 2), (4, 2)], ids=["one node", "several nodes"])
@pytest.mark.parametrize("training", ["constant", "fed"])
def test_moving_averages_follow_the_batches(shape: tuple[int, ...], training: str) -> None:
    flag: Any = True if training == "constant" else tf.placeholder(tf.bool, [], name="training")
    layer = tf.layers.BatchNormalization(momentum=0.9)
    layer.apply(x(*shape), training=flag)
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    assert len(updates) == 2
    assert updates == layer.updates
    value = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    feeds = {"x:0": value, **({} if training == "constant" else {"training:0": True})}
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(3):
            session.run(updates, feeds)
        mean, variance = session.run([layer.moving_mean, layer.moving_variance])
        if training == "fed":
            session.run(updates, {**feeds, "training:0": False})
            assert np.array_equal(session.run(layer.moving_mean), mean)  # not training: unchanged
    axes, count = tuple(range(len(shape) - 1)), value.size // shape[-1]
    batch = value.mean(axes), value.var(axes) * (count / (count - 1) if len(shape) == 4 else 1)
    kept = 0.9**3
    np.testing.assert_allclose(mean, batch[0] * (1 - kept), rtol=1e-5)
    np.testing.assert_allclose(variance, kept + batch[1] * (1 - kept), rtol=1e-5)


def test_updates_are_those_of_tensorflow() -> None:
    tf.layers.batch_normalization(x(4, 3, 3, 2), training=True)
    averages = tf.global_variables()[-2:]
    updates = tf.get_collection(tf.GraphKeys.UPDATE_OPS)
    with tf.control_dependencies(updates):
        after = [tf.identity(v._ref) for v in averages]
    same(after, steps=3)


def test_training_a_small_network_lessens_its_loss() -> None:
    y = tf.layers.conv2d(x(None, 6, 6, 1), 4, 3, use_bias=False)
    y = tf.nn.relu(tf.layers.batch_normalization(y, training=True))
    y = tf.layers.dense(tf.layers.flatten(tf.layers.max_pooling2d(y, 2, 2)), 1)
    loss = tf.reduce_mean(tf.square(y - 1.0))
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        step = tf.train.GradientDescentOptimizer(0.05).minimize(loss)
    value = np.random.default_rng(0).standard_normal([8, 6, 6, 1]).astype(np.float32)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        first = session.run(loss, {"x:0": value})
        for _ in range(10):
            session.run(step, {"x:0": value})
        assert session.run(loss, {"x:0": value}) < first / 2
        assert abs(session.run(tf.global_variables()[3])).max() > 0  # the moving mean


# --- sharing, regularising ------------------------------------------------------------------------------------------
def test_layers_without_names_get_variables_of_their_own() -> None:
    tf.layers.dense(tf.layers.dense(x(None, 3), 4), 5)
    assert list(variables()) == ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]


def test_a_layer_that_is_called_twice_shares_its_variables() -> None:
    layer = tf.layers.Dense(4, name="fc")
    first, second = layer(x(None, 3)), layer.apply(x(None, 3))
    assert list(variables()) == ["fc/kernel", "fc/bias"]
    assert (first.name, second.name) == ("fc/BiasAdd:0", "fc/BiasAdd_1:0")
    assert layer.count_params() == 16


def test_reuse_shares_and_needs_what_it_shares() -> None:
    tf.layers.dense(x(None, 3), 4, name="fc")
    tf.layers.dense(x(None, 3), 4, name="fc", reuse=True)
    with tf.variable_scope("", reuse=tf.AUTO_REUSE):
        tf.layers.dense(x(None, 3), 4, name="fc")
    assert list(variables()) == ["fc/kernel", "fc/bias"]
    with pytest.raises(ValueError, match="Variable fc/kernel already exists, disallowed"):
        tf.layers.dense(x(None, 3), 4, name="fc")
    with pytest.raises(ValueError, match="Variable other/kernel does not exist"):
        tf.layers.dense(x(None, 3), 4, name="other", reuse=True)
    with pytest.raises(ValueError, match="Trying to share variable fc/kernel, but specified shape"):
        tf.layers.dense(x(None, 3), 5, name="fc", reuse=True)


def test_regularizers_make_losses_and_scopes_give_initializers() -> None:
    with tf.variable_scope("net", initializer=tf.constant_initializer(2.0)):
        for reuse in (None, True):
            tf.layers.dense(
                x(None, 3), 4, kernel_regularizer=tf.contrib.layers.l2_regularizer(0.5), name="fc", reuse=reuse
            )
    (loss,) = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    assert loss.name == "net/fc/kernel/Regularizer/l2_regularizer:0"
    assert same([loss])[0] == 0.5 * 12 * 4 / 2


def test_variables_of_layers_that_do_not_train() -> None:
    tf.layers.dense(x(None, 3), 4, trainable=False)
    assert tf.trainable_variables() == []
    assert len(tf.global_variables()) == 2


# --- errors ---------------------------------------------------------------------------------------------------------
ERRORS: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "open channels": (lambda: tf.layers.dense(x(None, None), 4), ValueError, "last dimension of the inputs"),
    "rank": (lambda: tf.layers.conv2d(x(None, 8, 3), 4, 3), ValueError, "expected ndim=4, found ndim=3"),
    "channels": (lambda: tf.layers.conv2d(x(None, 8, 8, None), 4, 3), ValueError, "channel dimension"),
    "padding": (lambda: tf.layers.conv2d(x(2, 8, 8, 3), 4, 3, padding="full"), ValueError, "'valid', 'same'"),
    "format": (lambda: tf.layers.max_pooling2d(x(2, 8, 8, 3), 2, 2, data_format="NHWC"), ValueError, "channels_first"),
    "kernel": (lambda: tf.layers.conv2d(x(2, 8, 8, 3), 4, (3, 3, 3)), ValueError, "tuple of 2 integers"),
    "activation": (lambda: tf.layers.dense(x(2, 3), 4, "relo"), ValueError, "did you mean"),
    "axis": (lambda: tf.layers.batch_normalization(x(2, 3), axis=2), ValueError, "Invalid axis"),
    "renorm": (lambda: tf.layers.batch_normalization(x(2, 3), renorm=True), MissingSymbol, "`renorm`"),
    "name": (lambda: tf.layers.dens, MissingSymbol, "`tf.layers.dens`"),
}


@pytest.mark.parametrize(("call", "error", "text"), ERRORS.values(), ids=ERRORS)
def test_errors(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()


def test_a_built_layer_refuses_other_channels() -> None:
    layer = tf.layers.Dense(4)
    layer(x(None, 3))
    with pytest.raises(ValueError, match="expected axis -1 of input shape to have value 3"):
        layer(x(None, 5))


def test_dropout_while_training_keeps_the_scale() -> None:
    made = tf.layers.dropout(tf.ones([100, 100]), 0.25, seed=1, training=True)
    with tf.Session() as session:
        value = session.run(made)
    assert set(np.unique(value)) == {np.float32(0), np.float32(1) / np.float32(0.75)}
    assert abs(value.mean() - 1) < 0.02
