"""`tf.distributions`: normal, uniform, Bernoulli and categorical variables.

A distribution is a batch of independent variables, of the shape that its parameters broadcast to. Samples for given
seeds are those of TensorFlow; what is not defined in closed form for a family raises `NotImplementedError`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import coldframe.tf1 as tf
from coldframe import dtypes
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.shape import TensorShape

_HALF_LOG_2_PI: Final = 0.5 * math.log(2.0 * math.pi)
_SQRT_HALF: Final = math.sqrt(0.5)


class Distribution:
    """The base: a name, parameters, and what follows from the methods of a family.

    Families define `_parameter`, `_draw`, `_log_prob`, and what else they know.
    """

    def __init__(self, dtype: Any, name: str) -> None:
        self._dtype, self._name = dtype, name

    @property
    def name(self) -> str:
        return self._name

    @property
    def dtype(self) -> Any:
        """The dtype of samples."""
        return self._dtype

    @property
    def batch_shape(self) -> TensorShape:
        """The shape of one sample, as far as it is known."""
        return TensorShape(self._parameter().shape)

    @property
    def event_shape(self) -> TensorShape:
        """The shape of a variable: all are scalars."""
        return TensorShape([])

    def batch_shape_tensor(self, name: str = "batch_shape_tensor") -> Any:
        """Return the shape of one sample, as a tensor."""
        with tf.name_scope(f"{self._name}/{name}/"):
            return tf.shape(self._parameter())

    def _parameter(self) -> Any:
        """Return a tensor of the shape of one sample."""
        raise NotImplementedError

    def _draw(self, n: Any, seed: int | None) -> Any:
        raise self._undefined("sample")

    def _log_prob(self, value: Any) -> Any:
        raise self._undefined("log_prob")

    def _cdf(self, value: Any) -> Any:
        raise self._undefined("cdf")

    def _entropy(self) -> Any:
        raise self._undefined("entropy")

    def _mean(self) -> Any:
        raise self._undefined("mean")

    def _variance(self) -> Any:
        raise self._undefined("variance")

    def _mode(self) -> Any:
        raise self._undefined("mode")

    def _undefined(self, what: str) -> NotImplementedError:
        return NotImplementedError(f"{what} is not implemented: {type(self).__name__}")

    def _within(self, name: str, make: Callable[[], Any]) -> Any:
        with tf.name_scope(f"{self._name}/"), tf.name_scope(name):
            return make()

    def sample(self, sample_shape: Any = (), seed: int | None = None, name: str = "sample") -> Any:
        """Return samples ``[*sample_shape, *batch_shape]``."""

        def make() -> Any:
            wanted = tf.reshape(convert_to_tensor(sample_shape, dtypes.int32, name="sample_shape"), [-1])
            drawn = self._draw(tf.reduce_prod(wanted), seed)
            return tf.reshape(drawn, tf.concat([wanted, tf.shape(drawn)[1:]], 0))

        return self._within(name, make)

    def log_prob(self, value: Any, name: str = "log_prob") -> Any:
        """Return the logarithm of the density, or of the probability, at `value`."""
        return self._within(name, lambda: self._log_prob(self._value(value)))

    def prob(self, value: Any, name: str = "prob") -> Any:
        """Return the density, or the probability, at `value`."""
        return self._within(name, lambda: tf.exp(self._log_prob(self._value(value))))

    def cdf(self, value: Any, name: str = "cdf") -> Any:
        """Return the probability of at most `value`."""
        return self._within(name, lambda: self._cdf(self._value(value)))

    def log_cdf(self, value: Any, name: str = "log_cdf") -> Any:
        """Return the logarithm of the probability of at most `value`."""
        return self._within(name, lambda: tf.log(self._cdf(self._value(value))))

    def survival_function(self, value: Any, name: str = "survival_function") -> Any:
        """Return the probability of more than `value`."""
        return self._within(name, lambda: 1.0 - self._cdf(self._value(value)))

    def entropy(self, name: str = "entropy") -> Any:
        """Return the entropy, in nats."""
        return self._within(name, self._entropy)

    def mean(self, name: str = "mean") -> Any:
        """Return the mean."""
        return self._within(name, self._mean)

    def variance(self, name: str = "variance") -> Any:
        """Return the variance."""
        return self._within(name, self._variance)

    def stddev(self, name: str = "stddev") -> Any:
        """Return the standard deviation."""
        return self._within(name, lambda: tf.sqrt(self._variance()))

    def mode(self, name: str = "mode") -> Any:
        """Return the most likely value."""
        return self._within(name, self._mode)

    def kl_divergence(self, other: Any, name: str = "kl_divergence") -> Any:
        """Return how far `other` is from this distribution, in nats."""
        return self._within(name, lambda: kl_divergence(self, other))

    def _value(self, value: Any) -> Any:
        return convert_to_tensor(value, self._dtype, name="value")


class Normal(Distribution):
    """Normal variables.

    Args:
        loc: the means.
        scale: the standard deviations, positive.
        validate_args, allow_nan_stats: accepted for compatibility.
    """

    def __init__(
        self, loc: Any, scale: Any, validate_args: bool = False, allow_nan_stats: bool = True, name: str = "Normal"
    ) -> None:
        with tf.name_scope(name, values=[loc, scale]) as scope:
            self.loc = tf.identity(convert_to_tensor(loc, name="loc/input"), name="loc")
            self.scale = tf.identity(convert_to_tensor(scale, self.loc.dtype, name="scale/input"), name="scale")
        super().__init__(self.loc.dtype, scope.rstrip("/"))

    def _parameter(self) -> Any:
        return self.loc + tf.zeros_like(self.scale)

    def _draw(self, n: Any, seed: int | None) -> Any:
        shape = tf.concat([[n], tf.shape(self._parameter())], 0)
        return tf.random_normal(shape, dtype=self.dtype, seed=seed) * self.scale + self.loc

    def _standard(self, value: Any) -> Any:
        return (value - self.loc) / self.scale

    def _log_prob(self, value: Any) -> Any:
        return -0.5 * tf.square(self._standard(value)) - (_HALF_LOG_2_PI + tf.log(self.scale))

    def _cdf(self, value: Any) -> Any:
        return 0.5 * tf.erfc(-self._standard(value) * _SQRT_HALF)

    def _entropy(self) -> Any:
        return 0.5 + _HALF_LOG_2_PI + tf.log(self.scale * tf.ones_like(self.loc))

    def _mean(self) -> Any:
        return self.loc * tf.ones_like(self.scale)

    def _variance(self) -> Any:
        return tf.square(self.scale * tf.ones_like(self.loc))

    def _mode(self) -> Any:
        return self._mean()

    def quantile(self, value: Any, name: str = "quantile") -> Any:
        """Return what a part `value` of all samples is not above."""
        return self._within(name, lambda: self.loc + self.scale * tf.math.ndtri(self._value(value)))


class Uniform(Distribution):
    """Variables that are anything between `low` and `high` (left out) alike."""

    def __init__(
        self, low: Any = 0.0, high: Any = 1.0, validate_args: bool = False, allow_nan_stats: bool = True,
        name: str = "Uniform",
    ) -> None:  # fmt: skip
        with tf.name_scope(name, values=[low, high]) as scope:
            self.low = tf.identity(convert_to_tensor(low, name="low/input"), name="low")
            self.high = tf.identity(convert_to_tensor(high, self.low.dtype, name="high/input"), name="high")
        super().__init__(self.low.dtype, scope.rstrip("/"))

    def _parameter(self) -> Any:
        return self.low + tf.zeros_like(self.high)

    def range(self, name: str = "range") -> Any:
        """Return ``high - low``."""
        return self._within(name, lambda: self.high - self.low)

    def _draw(self, n: Any, seed: int | None) -> Any:
        shape = tf.concat([[n], tf.shape(self._parameter())], 0)
        return self.low + (self.high - self.low) * tf.random_uniform(shape, dtype=self.dtype, seed=seed)

    def _log_prob(self, value: Any) -> Any:
        inside = tf.logical_and(value >= self.low, value < self.high)
        density = tf.ones_like(value) / (self.high - self.low)
        return tf.log(tf.cast(inside, self.dtype) * density)

    def _cdf(self, value: Any) -> Any:
        return tf.clip_by_value((value - self.low) / (self.high - self.low), 0.0, 1.0)

    def _entropy(self) -> Any:
        return tf.log(self.high - self.low)

    def _mean(self) -> Any:
        return (self.low + self.high) / 2.0

    def _variance(self) -> Any:
        return tf.square(self.high - self.low) / 12.0


class Bernoulli(Distribution):
    """Variables that are 1 with a probability, given as such or by its log-odds, and 0 otherwise."""

    def __init__(
        self, logits: Any = None, probs: Any = None, dtype: Any = dtypes.int32, validate_args: bool = False,
        allow_nan_stats: bool = True, name: str = "Bernoulli",
    ) -> None:  # fmt: skip
        _one_of(logits, probs)
        with tf.name_scope(name, values=[logits, probs]) as scope:
            if probs is None:
                self.logits = convert_to_tensor(logits, name="logits")
                self.probs = tf.sigmoid(self.logits, name="probs")
            else:
                self.probs = convert_to_tensor(probs, name="probs")
                self.logits = tf.log(self.probs) - tf.log1p(-self.probs)
        super().__init__(tf.as_dtype(dtype), scope.rstrip("/"))

    def _parameter(self) -> Any:
        return self.probs

    def _draw(self, n: Any, seed: int | None) -> Any:
        shape = tf.concat([[n], tf.shape(self.probs)], 0)
        return tf.cast(tf.random_uniform(shape, seed=seed, dtype=self.probs.dtype) < self.probs, self.dtype)

    def _value(self, value: Any) -> Any:
        return tf.cast(convert_to_tensor(value, name="value"), self.logits.dtype)

    def _log_prob(self, value: Any) -> Any:
        same = tf.zeros_like(self.logits + value)
        return -tf.nn.sigmoid_cross_entropy_with_logits(labels=value + same, logits=self.logits + same)

    def _entropy(self) -> Any:
        return -self.logits * (tf.sigmoid(self.logits) - 1.0) + tf.nn.softplus(-self.logits)

    def _mean(self) -> Any:
        return tf.identity(self.probs)

    def _variance(self) -> Any:
        return self.probs * (1.0 - self.probs)

    def _mode(self) -> Any:
        return tf.cast(self.probs > 0.5, self.dtype)


class Categorical(Distribution):
    """Variables that are a class, with probabilities along the last axis, given as such or by their logits."""

    def __init__(
        self, logits: Any = None, probs: Any = None, dtype: Any = dtypes.int32, validate_args: bool = False,
        allow_nan_stats: bool = True, name: str = "Categorical",
    ) -> None:  # fmt: skip
        _one_of(logits, probs)
        with tf.name_scope(name, values=[logits, probs]) as scope:
            if probs is None:
                self.logits = convert_to_tensor(logits, name="logits")
                self.probs = tf.nn.softmax(self.logits, name="probs")
            else:
                self.probs = convert_to_tensor(probs, name="probs")
                self.logits = tf.log(self.probs)
            self.event_size = tf.shape(self.logits)[-1]
        super().__init__(tf.as_dtype(dtype), scope.rstrip("/"))

    def _parameter(self) -> Any:
        return self.logits[..., 0]

    def _draw(self, n: Any, seed: int | None) -> Any:
        rows = tf.reshape(self.logits, [-1, self.event_size])
        drawn = tf.transpose(tf.multinomial(rows, n, seed=seed))
        shape = tf.concat([[n], tf.shape(self.logits)[:-1]], 0)
        return tf.cast(tf.reshape(drawn, shape), self.dtype)

    def _value(self, value: Any) -> Any:
        return convert_to_tensor(value, name="value")

    def _log_prob(self, value: Any) -> Any:
        logits = self.logits + tf.zeros_like(tf.expand_dims(tf.cast(value, self.logits.dtype), -1))
        labels = tf.cast(value, dtypes.int32) + tf.zeros_like(logits[..., 0], dtype=dtypes.int32)
        return -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits)

    def _entropy(self) -> Any:
        return -tf.reduce_sum(tf.nn.softmax(self.logits) * tf.nn.log_softmax(self.logits), axis=-1)

    def _mode(self) -> Any:
        return tf.cast(tf.argmax(self.logits, axis=-1), self.dtype)


def _one_of(logits: Any, probs: Any) -> None:
    if (logits is None) == (probs is None):
        raise ValueError("Must pass probs or logits, but not both.")


def kl_divergence(
    distribution_a: Any, distribution_b: Any, allow_nan_stats: bool = True, name: str | None = None
) -> Any:
    """Return how far `distribution_b` is from `distribution_a`, in nats; both are of one family.

    Raises:
        NotImplementedError: there is no formula for these two.
    """
    a, b = distribution_a, distribution_b
    formula = _DIVERGENCES.get(type(a)) if type(a) is type(b) else None
    if formula is None:
        raise NotImplementedError(
            f"No KL(distribution_a || distribution_b) registered for distribution_a type {type(a).__name__} and "
            f"distribution_b type {type(b).__name__}"
        )
    with tf.name_scope(name, "KullbackLeibler"):
        return formula(a, b)


def _of_normals(a: Any, b: Any) -> Any:
    ratio = tf.square(a.scale) / tf.square(b.scale)
    return tf.square(a.loc - b.loc) / (2.0 * tf.square(b.scale)) + 0.5 * (ratio - 1.0 - tf.log(ratio))


def _of_bernoullis(a: Any, b: Any) -> Any:
    on = tf.sigmoid(a.logits) * (tf.nn.softplus(-b.logits) - tf.nn.softplus(-a.logits))
    return on + tf.sigmoid(-a.logits) * (tf.nn.softplus(b.logits) - tf.nn.softplus(a.logits))


def _of_categoricals(a: Any, b: Any) -> Any:
    difference = tf.nn.log_softmax(a.logits) - tf.nn.log_softmax(b.logits)
    return tf.reduce_sum(tf.nn.softmax(a.logits) * difference, axis=-1)


_DIVERGENCES: Final[dict[type, Callable[[Any, Any], Any]]] = {
    Normal: _of_normals, Bernoulli: _of_bernoullis, Categorical: _of_categoricals,
}  # fmt: skip

__all__ = ["Bernoulli", "Categorical", "Distribution", "Normal", "Uniform", "kl_divergence"]
