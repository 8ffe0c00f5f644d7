"""Further optimizers, against their formulas written in numpy, and against TensorFlow's ops where it has them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as tf

START = np.linspace(-1, 1, 8).reshape(4, 2)
ROWS = [1, 3, 1]
BETA1, BETA2 = float(np.float32(0.9)), float(np.float32(0.999))  # hyperparameters become tensors of float32
RATE = float(np.float32(0.1))
Rule = Callable[[Any, Any, dict[str, Any], int, Any], Any]


# --- formulas: the new variable, from the gradient (rows that no gradient touches: `touched` is False) ------------
def lazy_adam(w: Any, g: Any, s: dict[str, Any], t: int, touched: Any) -> Any:
    old_m, old_v = s.get("m", 0 * w), s.get("v", 0 * w)
    m = np.where(touched, BETA1 * old_m + (1 - BETA1) * g, old_m)
    v = np.where(touched, BETA2 * old_v + (1 - BETA2) * g * g, old_v)
    s |= {"m": m, "v": v}
    rate = RATE * math.sqrt(1 - BETA2**t) / (1 - BETA1**t)
    return w - np.where(touched, rate * m / (np.sqrt(v) + 1e-8), 0.0)


def nadam(w: Any, g: Any, s: dict[str, Any], t: int, touched: Any) -> Any:
    m, v = BETA1 * s.get("m", 0 * w) + (1 - BETA1) * g, BETA2 * s.get("v", 0 * w) + (1 - BETA2) * g * g
    s |= {"m": m, "v": v}
    rate = RATE * math.sqrt(1 - BETA2**t) / (1 - BETA1**t)
    return w - rate * (BETA1 * m + (1 - BETA1) * g) / (np.sqrt(v) + 1e-8)


def adamax(w: Any, g: Any, s: dict[str, Any], t: int, touched: Any) -> Any:
    m = np.where(touched, BETA1 * s.get("m", 0 * w) + (1 - BETA1) * g, s.get("m", 0 * w))
    v = np.where(touched, np.maximum(BETA2 * s.get("v", 0 * w), abs(g)), s.get("v", 0 * w))
    s |= {"m": m, "v": v}
    return w - np.where(touched, RATE / (1 - BETA1**t) * m / (v + 1e-8), 0.0)


def adamw(w: Any, g: Any, s: dict[str, Any], t: int, touched: Any) -> Any:
    w = w - np.where(touched, 0.05 * w, 0.0)
    m, v = BETA1 * s.get("m", 0 * w) + (1 - BETA1) * g, BETA2 * s.get("v", 0 * w) + (1 - BETA2) * g * g
    s |= {"m": m, "v": v}
    return w - RATE * math.sqrt(1 - BETA2**t) / (1 - BETA1**t) * m / (np.sqrt(v) + 1e-8)


def momentumw(w: Any, g: Any, s: dict[str, Any], t: int, touched: Any) -> Any:
    m = np.where(touched, BETA1 * s.get("momentum", 0 * w) + g, s.get("momentum", 0 * w))
    s |= {"momentum": m}
    return w - np.where(touched, 0.05 * w + RATE * m, 0.0)


def addsign(w: Any, g: Any, s: dict[str, Any], t: int, touched: Any) -> Any:
    s["m"] = 0.9 * s.get("m", 0 * w) + 0.1 * g
    decay = max(1 - min((t - 1) / 10, 1), 0)
    return w - 0.1 * (1.0 + decay * np.sign(g) * np.sign(s["m"])) * g


def powersign(w: Any, g: Any, s: dict[str, Any], t: int, touched: Any) -> Any:
    s["m"] = 0.9 * s.get("m", 0 * w) + 0.1 * g
    return w - 0.1 * np.exp(np.sign(g) * np.sign(s["m"])) * g


def lars(w: Any, g: Any, s: dict[str, Any], t: int, touched: Any) -> Any:
    norm, slope = np.linalg.norm(w), np.linalg.norm(g)
    trust = 0.1 * norm / (slope + 0.01 * norm)
    s["momentum"] = 0.9 * s.get("momentum", 0 * w) + g + 0.01 * w
    return w - 2.0 * trust * s["momentum"]


def clipped(w: Any, g: Any, s: dict[str, Any], t: int, touched: Any) -> Any:
    w = w - 0.1 * g
    norms = np.linalg.norm(w, axis=1, keepdims=True)
    return np.where(touched, w * np.minimum(1.0, 0.5 / norms), w)


def _decayed(opt: Any) -> Any:
    return opt.extend_with_decoupled_weight_decay(tf.train.AdamOptimizer)(0.05, 0.1)


def _clipping(opt: Any) -> Any:
    dims = {v: [1] for v in tf.global_variables() if "w" in v.op.name}
    return opt.VariableClippingOptimizer(tf.train.GradientDescentOptimizer(0.1), dims, 0.5)


OPTIMIZERS: dict[str, tuple[Callable[[Any], Any], Rule]] = {
    "LazyAdam": (lambda opt: opt.LazyAdamOptimizer(0.1), lazy_adam),
    "Nadam": (lambda opt: opt.NadamOptimizer(0.1), nadam),
    "AdaMax": (lambda opt: opt.AdaMaxOptimizer(0.1), adamax),
    "AdamW": (lambda opt: opt.AdamWOptimizer(0.05, 0.1), adamw),
    "Adam, extended": (_decayed, adamw),
    "MomentumW": (lambda opt: opt.MomentumWOptimizer(lambda: 0.05, 0.1, 0.9), momentumw),
    "AddSign": (lambda opt: opt.AddSignOptimizer(0.1, sign_decay_fn=opt.get_linear_decay_fn(10)), addsign),
    "PowerSign": (lambda opt: opt.PowerSignOptimizer(0.1), powersign),
    "LARS": (lambda opt: opt.LARSOptimizer(2.0, weight_decay=0.01, eeta=0.1), lars),
    "VariableClipping": (_clipping, clipped),
}
DENSE_ONLY = {"LARS"}


def gradient(w: Any, sparse: bool) -> Any:
    if not sparse:
        return 2 * (w - 0.3)
    g = np.zeros_like(w)
    np.add.at(g, ROWS, 2 * (w[ROWS] - 0.3))
    return g


@pytest.mark.parametrize("resource", [False, True], ids=["reference", "resource"])
@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "sparse"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_the_formula(name: str, sparse: bool, resource: bool) -> None:
    if sparse and name in DENSE_ONLY:
        pytest.skip("rows are updated as by Momentum")
    make, rule = OPTIMIZERS[name]
    with tf.Graph().as_default(), tf.Session() as sess:
        w = tf.get_variable("w", [4, 2], tf.float64, tf.constant_initializer(START), use_resource=resource)
        x = tf.gather(w, ROWS) if sparse else tf.identity(w)
        loss = tf.reduce_sum(tf.square(x - 0.3))
        step = tf.train.get_or_create_global_step()
        optimizer = make(tf.contrib.opt)
        train = optimizer.minimize(loss, global_step=step)
        sess.run(tf.global_variables_initializer())
        expected, slots = START.copy(), {}
        touched = np.isin(np.arange(4), ROWS)[:, None] if sparse else np.ones((4, 1), bool)
        for t in range(1, 5):
            expected = rule(expected, gradient(expected, sparse), slots, t, touched)
            sess.run(train)
            np.testing.assert_allclose(sess.run(w), expected, rtol=5e-5, atol=5e-6)
        assert sess.run(step) == 4
        for n, value in slots.items():
            np.testing.assert_allclose(sess.run(optimizer.get_slot(w, n)), value, rtol=5e-5, atol=5e-6)


def test_only_some_variables_decay() -> None:
    with tf.Graph().as_default(), tf.Session() as sess:
        a, b = (tf.get_variable(n, [2], initializer=tf.ones_initializer()) for n in "ab")
        optimizer = tf.contrib.opt.MomentumWOptimizer(0.5, 0.0, 0.0)
        train = optimizer.minimize(tf.reduce_sum(a * b), decay_var_list=[a])
        sess.run(tf.global_variables_initializer())
        sess.run(train)
        assert [v.tolist() for v in sess.run([a, b])] == [[0.5, 0.5], [1.0, 1.0]]


def test_lars_leaves_what_is_in_the_skip_list() -> None:
    with tf.Graph().as_default(), tf.Session() as sess:
        b = tf.get_variable("bias", [2], initializer=tf.ones_initializer())
        optimizer = tf.contrib.opt.LARSOptimizer(0.1, skip_list=["bias"])
        train = optimizer.minimize(tf.reduce_sum(b * 2.0))
        sess.run(tf.global_variables_initializer())
        sess.run(train)
        np.testing.assert_allclose(sess.run(b), [0.8, 0.8], rtol=1e-6)


def test_decays_of_signs() -> None:
    opt = tf.contrib.opt
    fns = [opt.get_linear_decay_fn(10), opt.get_cosine_decay_fn(10), opt.get_cosine_decay_fn(10, 2, zero_after=1),
           opt.get_restart_decay_fn(10, 2), opt.get_restart_decay_fn(10, 2, zero_after=1)]  # fmt: skip
    with tf.Graph().as_default(), tf.Session() as sess:
        step = tf.placeholder(tf.int64, [])
        found = np.array([sess.run([f(step) for f in fns], {step: n}) for n in (0, 3, 7, 10)])
    half = lambda x: 0.5 * (1 + math.cos(math.pi * x))  # noqa: E731
    wanted = [
        [1, 0.7, 0.3, 0], [half(n / 10) for n in (0, 3, 7, 10)], [1, half(1.2), 0, 0],
        [1, half(0.6), half(0.4), 1], [1, half(0.6), 0, 0],
    ]  # fmt: skip
    np.testing.assert_allclose(found.T, wanted, atol=1e-6)


def test_a_swapping_saver_saves_averages(tmp_path: Path) -> None:
    path = str(tmp_path / "swapped")
    with tf.Graph().as_default(), tf.Session() as sess:
        v = tf.get_variable("v", [], initializer=tf.constant_initializer(10.0), use_resource=True)
        optimizer = tf.contrib.opt.MovingAverageOptimizer(tf.train.GradientDescentOptimizer(1.0), average_decay=0.5)
        with pytest.raises(RuntimeError, match="before creating the swapping_saver"):
            optimizer.swapping_saver()
        train = optimizer.minimize(v * 2.0)
        saver = optimizer.swapping_saver()
        sess.run(tf.global_variables_initializer())
        sess.run(train)
        sess.run(train)
        assert sess.run(v) == 6.0
        saver.save(sess, path)
    reader = tf.train.load_checkpoint(path)
    assert reader.get_tensor("v") == 0.5 * (0.5 * 10 + 0.5 * 8) + 0.5 * 6
    assert sorted(reader.get_variable_to_shape_map()) == ["v", "v/ExponentialMovingAverage"]
    assert reader.get_tensor("v/ExponentialMovingAverage") == 6.0


def test_gradients_are_clipped_by_their_global_norm() -> None:
    with tf.Graph().as_default(), tf.Session() as sess:
        v = tf.get_variable("v", [2])
        pairs = tf.contrib.opt.clip_gradients_by_global_norm([(tf.constant([3.0, 4.0]), v)], 1.0)
        np.testing.assert_allclose(sess.run(pairs[0][0]), [0.6, 0.8], rtol=1e-6)


# --- scipy ------------------------------------------------------------------------------------------------------
def test_scipy_minimises_within_bounds_and_constraints() -> None:
    pytest.importorskip("scipy")
    steps: list[Any] = []
    losses: list[float] = []
    with tf.Graph().as_default(), tf.Session() as sess:
        a = tf.get_variable("a", [2], tf.float64, tf.constant_initializer(7.0))
        b = tf.get_variable("b", [2, 1], tf.float64, tf.constant_initializer(1.0), use_resource=True)
        k = tf.placeholder(tf.float64, [])
        loss = tf.reduce_sum(tf.square(a - k)) + tf.reduce_sum(tf.square(b + 2.0))
        sess.run(tf.global_variables_initializer())
        plain = tf.contrib.opt.ScipyOptimizerInterface(loss, options={"maxiter": 100})
        plain.minimize(sess, {k: 3.0}, [k], steps.append, lambda value, given: losses.append(value))
        np.testing.assert_allclose(sess.run(a), [3.0, 3.0], atol=1e-5)
        np.testing.assert_allclose(sess.run(b), [[-2.0], [-2.0]], atol=1e-5)
        assert steps[-1].shape == (4,)
        assert losses[0] == 50.0
        bounded = tf.contrib.opt.ScipyOptimizerInterface(loss, [a], var_to_bounds={a: ([0.0, 4.0], 9.0)})
        bounded.minimize(sess, {k: 3.0})
        np.testing.assert_allclose(sess.run(a), [3.0, 4.0], atol=1e-5)
        tied = tf.contrib.opt.ScipyOptimizerInterface(
            loss, [a], equalities=[a[0] + a[1] - 10.0], inequalities=[a[1] - 8.0], method="SLSQP"
        )
        tied.minimize(sess, {k: 3.0})
        np.testing.assert_allclose(sess.run(a), [2.0, 8.0], atol=1e-5)
        with pytest.raises(NotImplementedError, match="implement _minimize"):
            tf.contrib.opt.ExternalOptimizerInterface(loss).minimize(sess)
