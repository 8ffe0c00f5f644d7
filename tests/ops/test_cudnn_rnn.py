"""CUDA's recurrent layers. TensorFlow has them on GPUs alone: Keras' layers with the same weights are the oracle."""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe.tf1 as cf1
from coldframe.errors import ExecutionError, MisuseError
from coldframe.tf1.framework.build import raw_op
from op_harness import NUMPY, Row, bound, sample

STEPS, BATCH, INPUTS, UNITS = 5, 3, 4, 6
GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
LENGTHS = np.array([5, 2, 4], np.int32)


def run(op: str, inputs: list[Any], **attrs: Any) -> list[Any]:
    call, flat = bound(Row(op, inputs, attrs))
    return call.run(NUMPY, flat)


def keras_layer(mode: str, kernels: list[Any], biases: list[Any], backwards: bool) -> Any:
    """A Keras layer with the canonical weights of a cell; its gates are in another order for GRU."""
    options = {"return_sequences": True, "return_state": True, "go_backwards": backwards}
    gates = GATES[mode]
    order = (1, 0, 2) if mode == "gru" else tuple(range(gates))  # Keras has update, reset, new
    if mode == "lstm":
        layer = tf.keras.layers.LSTM(UNITS, **options)
    elif mode == "gru":
        layer = tf.keras.layers.GRU(UNITS, reset_after=True, **options)
    else:
        layer = tf.keras.layers.SimpleRNN(UNITS, activation=mode.removeprefix("rnn_"), **options)
    layer.build((None, None, kernels[0].shape[1]))
    side = [np.concatenate([kernels[half + g].T for g in order], axis=1) for half in (0, gates)]
    bias = [np.concatenate([biases[half + g] for g in order]) for half in (0, gates)]
    layer.set_weights([*side, np.stack(bias) if mode == "gru" else bias[0] + bias[1]])
    return layer


def from_keras(
    mode: str, ways: int, x: Any, h: Any, c: Any, kernels: list[Any], biases: list[Any], lengths: Any = None
) -> tuple[Any, list[Any]]:
    """Return outputs [time, batch, ways * units], and last outputs (and cells) per layer and direction."""
    mask = None if lengths is None else np.arange(len(x))[None] < lengths[:, None]
    below, states, own = x.swapaxes(0, 1), [], 2 * GATES[mode]
    for layer in range(len(h) // ways):
        outs = []
        for way in range(ways):
            k = layer * ways + way
            cell = keras_layer(mode, kernels[k * own : (k + 1) * own], biases[k * own : (k + 1) * own], way == 1)
            first = [h[k], c[k]] if mode == "lstm" else [h[k]]
            out, *last = cell(below, initial_state=[tf.constant(s) for s in first], mask=mask)
            out = out.numpy()[:, ::-1] if way else out.numpy()
            outs.append(out if mask is None else out * mask[:, :, None])
            states.append([s.numpy() for s in last])
        below = np.concatenate(outs, axis=2)
    return below.swapaxes(0, 1), [np.stack(s) for s in zip(*states, strict=True)]


def weights(mode: str, layers: int, ways: int, inputs: int = INPUTS) -> tuple[list[Any], list[Any]]:
    gates, kernels = GATES[mode], []
    for k in range(layers * ways):
        below = inputs if k < ways else ways * UNITS
        widths = [below] * gates + [UNITS] * gates
        kernels += [sample("float32", UNITS, w, seed=17 * k + g, low=-1, high=1) for g, w in enumerate(widths)]
    return kernels, [sample("float32", UNITS, seed=100 + i, low=-1, high=1) for i in range(len(kernels))]


def attrs(mode: str, ways: int) -> dict[str, Any]:
    return {"rnn_mode": mode, "direction": "bidirectional" if ways == 2 else "unidirectional"}


def packed(mode: str, layers: int, ways: int, inputs: int = INPUTS) -> Any:
    numbers = [np.int32(v) for v in (layers, UNITS, inputs)]
    return run("CudnnRNNCanonicalToParams", [*numbers, *weights(mode, layers, ways, inputs)], **attrs(mode, ways))[0]


KINDS = [(m, n, w) for m in GATES for n, w in ((1, 1), (2, 1), (2, 2))]


@pytest.mark.parametrize(("mode", "layers", "ways"), KINDS)
def test_layers(mode: str, layers: int, ways: int) -> None:
    x = sample("float32", STEPS, BATCH, INPUTS)
    h = sample("float32", layers * ways, BATCH, UNITS, seed=1, low=-1, high=1)
    c = sample("float32", layers * ways, BATCH, UNITS, seed=2) if mode == "lstm" else np.zeros((0,), np.float32)
    params = packed(mode, layers, ways)
    want, states = from_keras(mode, ways, x, h, c, *weights(mode, layers, ways))
    for op in ("CudnnRNN", "CudnnRNNV2"):
        got = run(op, [x, h, c, params], is_training=False, dropout=0.5, **attrs(mode, ways))
        np.testing.assert_allclose(got[0], want, rtol=2e-5, atol=2e-6)
        for found, state in zip(got[1:], states, strict=False):
            np.testing.assert_allclose(found, state, rtol=2e-5, atol=2e-6)
        assert got[2].shape == (h.shape if mode == "lstm" else ())
        assert [g.size for g in got[3:]] == [0] * (len(got) - 3)


@pytest.mark.parametrize("time_major", [True, False])
@pytest.mark.parametrize("mode", ["lstm", "gru"])
def test_sequences_of_different_lengths(mode: str, time_major: bool) -> None:
    x, h = sample("float32", STEPS, BATCH, INPUTS), sample("float32", 4, BATCH, UNITS, seed=1, low=-1, high=1)
    c = sample("float32", 4, BATCH, UNITS, seed=2)
    want, states = from_keras(mode, 2, x, h, c, *weights(mode, 2, 2), lengths=LENGTHS)
    turned = [v if time_major else v.swapaxes(0, 1) for v in (x, h, c)]
    got = run("CudnnRNNV3", [*turned, packed(mode, 2, 2), LENGTHS], time_major=time_major, **attrs(mode, 2))
    for found, w in zip(got, [want, *states], strict=False):
        np.testing.assert_allclose(found if time_major else found.swapaxes(0, 1), w, rtol=2e-5, atol=2e-6)


def test_the_packing_is_that_of_keras_on_gpus() -> None:
    """Keras packs the weights of its GPU kernel: all matrices, transposed, then all biases."""
    kernels, biases = weights("lstm", 1, 1)
    keras_rnn = importlib.import_module("keras.src.backend.tensorflow.rnn")
    want = keras_rnn._standardize_cudnn_weights(
        [tf.constant(k.T) for k in kernels], biases, [-1], transpose_weights=True
    )
    np.testing.assert_array_equal(packed("lstm", 1, 1), want.numpy())


@pytest.mark.parametrize(("mode", "layers", "ways"), KINDS)
def test_canonical_weights_go_round(mode: str, layers: int, ways: int) -> None:
    kernels, biases = weights(mode, layers, ways)
    numbers, params = [np.int32(v) for v in (layers, UNITS, INPUTS)], packed(mode, layers, ways)
    n = len(kernels)
    for op, counts in (("", {"num_params": n}), ("V2", {"num_params_weights": n, "num_params_biases": n})):
        got = run(f"CudnnRNNParamsToCanonical{op}", [*numbers, params], **counts, **attrs(mode, ways))
        for found, w in zip(got, kernels + biases, strict=True):
            np.testing.assert_array_equal(found, w)
    again = run("CudnnRNNCanonicalToParamsV2", [*numbers, kernels, biases], **attrs(mode, ways))[0]
    np.testing.assert_array_equal(again, params)
    size = run("CudnnRNNParamsSize", numbers, T="float32", S="int64", **attrs(mode, ways))[0]
    assert size.tolist() == [params.size]


@pytest.mark.parametrize("d", ["float16", "float64"])
def test_other_dtypes(d: str) -> None:
    x, h = sample(d, STEPS, BATCH, INPUTS), np.zeros((1, BATCH, UNITS), d)
    params = packed("lstm", 1, 1)
    got = run("CudnnRNN", [x, h, h, params.astype(d)])
    want = run("CudnnRNN", [x.astype("f"), h.astype("f"), h.astype("f"), params])
    assert got[0].dtype == np.dtype(d)
    tolerance = {"float16": 1e-2, "float64": 1e-5}[d]
    np.testing.assert_allclose(got[0], want[0], rtol=tolerance, atol=tolerance)


X, H = sample("float32", STEPS, BATCH, INPUTS), np.zeros((1, BATCH, UNITS), np.float32)


@pytest.mark.parametrize(
    ("message", "inputs", "more"),
    [
        ("`params`: expected a vector of 288, found shape", [X, H, H, np.zeros(7, "f")], {}),
        (r"`input_c`: expected \[1, 3, 6\]", [X, H, H[0], np.zeros(7, "f")], {}),
        ("input and state: expected rank 3", [X[0], H, H, np.zeros(7, "f")], {}),
        ("a multiple of 2", [X, H, H, np.zeros(7, "f")], {"direction": "bidirectional"}),
        ("dropout in training", [X, H, H, np.zeros(7, "f")], {"dropout": 0.5}),
        ("without input matrices", [X, H, H, np.zeros(7, "f")], {"input_mode": "skip_input"}),
    ],
)
def test_refusals(message: str, inputs: list[Any], more: dict[str, Any]) -> None:
    with pytest.raises(ExecutionError, match=message):
        run("CudnnRNN", inputs, **more)


def test_lengths_beyond_the_steps_are_refused() -> None:
    with pytest.raises(ExecutionError, match="`sequence_lengths`: expected 3 numbers of 0 to 5"):
        run("CudnnRNNV3", [X, H, H, packed("lstm", 1, 1), LENGTHS + 1])


# --- gradients --------------------------------------------------------------------------------------------------
def _steep(x: Any) -> Any:
    """Away from 0, where the rectified cells have a corner."""
    return x.astype(np.float64)


def _gradients(mode: str, layers: int, ways: int, op: str, **more: Any) -> None:
    """Compare with differences of the outputs, each weighed by a number of its own."""
    lengths = [LENGTHS] if op.endswith("V3") else []
    stacked = layers * ways
    c = _steep(sample("float32", stacked, BATCH, UNITS, seed=2)) if mode == "lstm" else np.zeros(())
    inputs = [
        _steep(sample("float32", STEPS, BATCH, INPUTS)),
        _steep(sample("float32", stacked, BATCH, UNITS, seed=1, low=-1, high=1)),
        c,
        _steep(packed(mode, layers, ways)),
    ]
    if not more.get("time_major", True):
        inputs[:3] = [v.swapaxes(0, 1) if v.ndim else v for v in inputs[:3]]
    fixed = attrs(mode, ways) | more

    def outputs(values: list[Any]) -> list[Any]:
        return run(op.replace("Backprop", ""), [*values, *lengths], **fixed)

    out = outputs(inputs)
    dys = [sample("float64", *o.shape, seed=9 + k) for k, o in enumerate(out[:3])]
    got = run(op, [*inputs, *lengths, *out[:3], *dys, *out[3:]], **fixed)
    rng, step = np.random.default_rng(0), 1e-6
    for k, (value, found) in enumerate(zip(inputs, got, strict=True)):
        assert found.shape == value.shape
        if not value.ndim:
            continue
        way = rng.uniform(-1, 1, value.shape)
        ends = [outputs([v + sign * step * way if i == k else v for i, v in enumerate(inputs)]) for sign in (1, -1)]
        want = sum(((a - b) * dy).sum() for a, b, dy in zip(*ends, dys, strict=False)) / (2 * step)
        np.testing.assert_allclose((found * way).sum(), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("mode", "layers", "ways"), KINDS)
def test_gradients_are_those_of_differences(mode: str, layers: int, ways: int) -> None:
    for op in ("CudnnRNNBackprop", "CudnnRNNBackpropV2"):
        _gradients(mode, layers, ways, op)


@pytest.mark.parametrize("time_major", [True, False])
@pytest.mark.parametrize("mode", ["lstm", "gru"])
def test_gradients_of_sequences_of_different_lengths(mode: str, time_major: bool) -> None:
    _gradients(mode, 2, 2, "CudnnRNNBackpropV3", time_major=time_major)


def test_gradients_that_do_not_fit_are_refused() -> None:
    p = packed("lstm", 1, 1)
    out = run("CudnnRNN", [X, H, H, p])
    with pytest.raises(ExecutionError, match=r"`output_backprop`: expected \[5, 3, 6\], found \[3, 6\]"):
        run("CudnnRNNBackprop", [X, H, H, p, *out[:3], out[0][0], H, H, out[3]])
    with pytest.raises(ExecutionError, match="dropout in training"):
        run("CudnnRNNBackprop", [X, H, H, p, *out[:3], *out[:3], out[3]], dropout=0.5)


@pytest.mark.parametrize("version", ["", "V2", "V3"])
def test_layers_are_trained(version: str) -> None:
    with cf1.Graph().as_default():
        p = cf1.Variable(packed("gru", 1, 1))
        lengths = [LENGTHS] if version == "V3" else []
        out = raw_op(f"CudnnRNN{version}", [X, H, H, p, *lengths], {"rnn_mode": "gru"})
        loss = cf1.reduce_sum(cf1.square(out[0]))
        step = cf1.train.GradientDescentOptimizer(0.02).minimize(loss)
        with cf1.Session() as session:
            session.run(cf1.global_variables_initializer())
            losses = [session.run([loss, step])[0] for _ in range(5)]
    assert all(b < a for a, b in itertools.pairwise(losses))


def test_layers_that_are_not_training_have_no_gradient() -> None:
    with cf1.Graph().as_default():
        p = cf1.constant(packed("gru", 1, 1))
        out = raw_op("CudnnRNN", [X, H, H, p], {"rnn_mode": "gru", "is_training": False})
        with pytest.raises(MisuseError, match=r"gradient of .*CudnnRNN.*: expected `is_training` true, found false"):
            cf1.gradients(out[0], p)
