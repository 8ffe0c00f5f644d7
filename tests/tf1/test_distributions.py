"""`tf.distributions` beside TensorFlow's: samples for seeds, densities, moments, divergences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow.compat.v1 as reference

import coldframe.tf1 as own

FAMILIES: dict[str, Callable[[Any], Any]] = {
    "Normal": lambda ds: ds.Normal([0.0, 1.0], [[1.0], [2.5]]),
    "Normal scalar": lambda ds: ds.Normal(0.5, 3.0),
    "Uniform": lambda ds: ds.Uniform(-1.0, [2.0, 3.0]),
    "Bernoulli": lambda ds: ds.Bernoulli(logits=[-1.0, 0.25, 2.0]),
    "Bernoulli probs": lambda ds: ds.Bernoulli(probs=[0.2, 0.5]),
    "Categorical": lambda ds: ds.Categorical(logits=[[1.0, 2.0, -1.0], [0.0, 0.5, 3.0]]),
    "Categorical probs": lambda ds: ds.Categorical(probs=[0.2, 0.5, 0.3]),
}
OTHERS: dict[str, Callable[[Any], Any]] = {
    "Normal": lambda ds: ds.Normal([1.0, 3.0], 0.5),
    "Bernoulli": lambda ds: ds.Bernoulli(logits=0.5),
    "Categorical": lambda ds: ds.Categorical(logits=[0.0, 0.5, 1.0]),
}
METHODS = ("mean", "variance", "stddev", "mode", "entropy")
KNOWN = {"Normal": METHODS, "Uniform": ("mean", "variance", "stddev", "entropy"), "Bernoulli": METHODS,
         "Categorical": ("mode", "entropy")}  # fmt: skip


def fetches(tf: Any, family: str) -> dict[str, Any]:
    d = FAMILIES[family](tf.distributions)
    kind = type(d).__name__
    made = {name: getattr(d, name)() for name in KNOWN[kind]}
    made |= {"three": d.sample(3, seed=7), "one": d.sample(seed=8), "grid": d.sample([2, 2], seed=9)}
    values = {"Normal": [-0.5, 2.0], "Uniform": [0.5, 2.5], "Bernoulli": 1, "Categorical": 2}[kind]
    made |= {"log_prob": d.log_prob(values), "prob": d.prob(values)}
    if kind in ("Normal", "Uniform"):
        made |= {"cdf": d.cdf(values), "survival": d.survival_function(values), "log_cdf": d.log_cdf(values)}
    if kind in OTHERS:
        made["kl"] = tf.distributions.kl_divergence(d, OTHERS[kind](tf.distributions))
    return made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", FAMILIES)
def test_like_tensorflow(family: str) -> None:
    with reference.Graph().as_default(), reference.Session() as session:
        reference.set_random_seed(5)
        want = session.run(fetches(reference, family))
    with own.Graph().as_default(), own.Session() as session:
        own.set_random_seed(5)
        made = fetches(own, family)
        got = session.run(made)
    for name, value in want.items():
        assert got[name].dtype == value.dtype, name
        np.testing.assert_allclose(got[name], value, rtol=2e-5, atol=1e-6, err_msg=name)
        assert made[name].shape.is_compatible_with(value.shape), name


def test_gradients_reach_the_parameters() -> None:
    with own.Graph().as_default(), own.Session() as session:
        loc, scale = own.constant(1.0), own.constant(2.0)
        d = own.distributions.Normal(loc, scale)
        found = session.run(own.gradients([d.log_prob(2.0), d.sample(seed=1)], [loc, scale]))
    assert found[0] == pytest.approx(0.25 + 1.0)
    assert np.isfinite(found[1])


def test_what_has_no_formula_says_so() -> None:
    with own.Graph().as_default():
        d = own.distributions.Categorical(logits=[1.0, 2.0])
        with pytest.raises(NotImplementedError, match="mean is not implemented: Categorical"):
            d.mean()
        with pytest.raises(NotImplementedError, match="distribution_b type Normal"):
            own.distributions.kl_divergence(d, own.distributions.Normal(0.0, 1.0))
        with pytest.raises(ValueError, match="probs or logits"):
            own.distributions.Bernoulli()
