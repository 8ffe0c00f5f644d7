"""Dense, dropout and flattening layers."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.cond import smart_cond
from coldframe.tf1.contraction_ops import tensordot
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.init_ops import Zeros
from coldframe.tf1.layers import arguments
from coldframe.tf1.layers.base import InputSpec, Layer
from coldframe.tf1.shape_ops import identity, reshape, shape


class Dense(Layer):
    """``activation(inputs @ kernel + bias)``, with the inputs' last axis contracted.

    Args:
        units: how many outputs.
        activation: a function, or its name.
        use_bias: whether there is a bias.
        kernel_initializer, bias_initializer: what the variables start from; the scope's, else Glorot's, for None.
        kernel_regularizer, bias_regularizer, activity_regularizer: what makes losses of them.
        kernel_constraint, bias_constraint: what optimizers apply to them after a step.
        trainable, name: as for all layers.
    """

    def __init__(
        self, units: int, activation: Any = None, use_bias: bool = True, kernel_initializer: Any = None,
        bias_initializer: Any = Zeros, kernel_regularizer: Any = None, bias_regularizer: Any = None,
        activity_regularizer: Any = None, kernel_constraint: Any = None, bias_constraint: Any = None,
        trainable: bool = True, name: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(trainable=trainable, name=name, activity_regularizer=activity_regularizer, **kwargs)
        self.units, self.use_bias = int(units), use_bias
        self.activation = arguments.activation(activation)
        self.kernel_initializer = arguments.initializer(kernel_initializer)
        self.bias_initializer = arguments.initializer(bias_initializer)
        self.kernel_regularizer, self.bias_regularizer = kernel_regularizer, bias_regularizer
        self.kernel_constraint, self.bias_constraint = kernel_constraint, bias_constraint
        self.input_spec = InputSpec(min_ndim=2)
        self.kernel: Any = None
        self.bias: Any = None

    def build(self, input_shape: Any) -> None:
        dims = TensorShape(input_shape).as_list()
        if dims[-1] is None:
            raise ValueError("The last dimension of the inputs to `Dense` should be defined. Found `None`.")
        self.input_spec = InputSpec(min_ndim=2, axes={-1: dims[-1]})
        self.kernel = self.add_weight(
            "kernel", shape=[dims[-1], self.units], initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer, constraint=self.kernel_constraint,
        )  # fmt: skip
        if self.use_bias:
            self.bias = self.add_weight(
                "bias", shape=[self.units], initializer=self.bias_initializer, regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )  # fmt: skip
        self.built = True

    def call(self, inputs: Any) -> Any:
        rank = inputs.shape.ndims
        if rank > 2:
            outputs = tensordot(inputs, self.kernel, [[rank - 1], [0]])
            outputs.set_shape([*inputs.shape.as_list()[:-1], self.units])
        else:
            outputs = raw.MatMul(inputs, self.kernel)
        if self.use_bias:
            outputs = raw.BiasAdd(outputs, self.bias)
        return outputs if self.activation is None else self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        """Return the outputs' shape for inputs of a shape."""
        return TensorShape([*TensorShape(input_shape).as_list()[:-1], self.units])


class Dropout(Layer):
    """While training, zeros a part of the inputs and scales the others up; otherwise changes nothing.

    Args:
        rate: the part, from 0 to 1.
        noise_shape: the shape of the mask, where it is to be broadcast to the inputs'.
        seed: of the random numbers.
        name: as for all layers.
    """

    def __init__(
        self, rate: Any = 0.5, noise_shape: Any = None, seed: int | None = None, name: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(name=name, **kwargs)
        self.rate, self.noise_shape, self.seed = rate, noise_shape, seed

    def call(self, inputs: Any, training: Any = False) -> Any:
        from coldframe.tf1 import nn

        def dropped() -> Any:
            return nn.dropout(inputs, noise_shape=self._noise_shape(inputs), seed=self.seed, rate=self.rate)

        return smart_cond(training, dropped, lambda: identity(inputs))

    def _noise_shape(self, inputs: Any) -> Any:
        if self.noise_shape is None or not isinstance(self.noise_shape, (list, tuple)):
            return self.noise_shape
        sizes = shape(inputs)
        return [sizes[i] if n is None else n for i, n in enumerate(self.noise_shape)]

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        """Return the outputs' shape: the inputs'."""
        return TensorShape(input_shape)


class Flatten(Layer):
    """Makes one axis of all but the first (the batch's)."""

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = arguments.data_format(data_format or "channels_last")
        self.input_spec = InputSpec(min_ndim=1)

    def call(self, inputs: Any) -> Any:
        rank = inputs.shape.ndims
        if self.data_format == "channels_first" and rank is not None and rank > 1:
            inputs = raw.Transpose(inputs, [0, *range(2, rank), 1], name="transpose")
        batch = inputs.shape.as_list()[0] if rank else None
        outputs = reshape(inputs, (batch or shape(inputs)[0], -1))
        outputs.set_shape(self.compute_output_shape(inputs.shape))
        return outputs

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        """Return the outputs' shape for inputs of a shape."""
        static = TensorShape(input_shape)
        if static.ndims is None:
            return TensorShape([None, None])
        dims = static.as_list()
        return TensorShape([dims[0], TensorShape(dims[1:]).num_elements()])


# --- as functions -----------------------------------------------------------------------------------------------
def dense(
    inputs: Any, units: int, activation: Any = None, use_bias: bool = True, kernel_initializer: Any = None,
    bias_initializer: Any = Zeros, kernel_regularizer: Any = None, bias_regularizer: Any = None,
    activity_regularizer: Any = None, kernel_constraint: Any = None, bias_constraint: Any = None,
    trainable: bool = True, name: str | None = None, reuse: Any = None,
) -> Any:  # fmt: skip
    """Return ``activation(inputs @ kernel + bias)``; see `Dense`."""
    layer = Dense(
        units, activation, use_bias, kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer,
        activity_regularizer, kernel_constraint, bias_constraint, trainable, name, _scope=name, _reuse=reuse,
    )  # fmt: skip
    return layer.apply(inputs)


def dropout(
    inputs: Any, rate: Any = 0.5, noise_shape: Any = None, seed: int | None = None, training: Any = False,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return `inputs` with a part of them zeroed while training; see `Dropout`."""
    return Dropout(rate, noise_shape, seed, name).apply(inputs, training=training)


def flatten(inputs: Any, name: str | None = None, data_format: str = "channels_last") -> Any:
    """Return `inputs` with one axis made of all but the first; see `Flatten`."""
    return Flatten(name=name, data_format=data_format).apply(inputs)


__all__ = ["Dense", "Dropout", "Flatten", "dense", "dropout", "flatten"]
