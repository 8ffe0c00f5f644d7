"""Convolutions: windows of the inputs times a kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coldframe.dtypes import int32
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.init_ops import Zeros
from coldframe.tf1.layers import arguments
from coldframe.tf1.layers.base import InputSpec, Layer
from coldframe.tf1.shape_ops import expand_dims, reshape, squeeze


class Conv(Layer):
    """A convolution over `rank` spatial axes, a bias, and an activation.

    Args:
        rank: number of spatial axes.
        filters: how many channels the outputs have.
        kernel_size, strides, dilation_rate: a number, or one per spatial axis.
        padding: ``valid`` or ``same`` (``causal`` too, for `Conv1D`).
        data_format: ``channels_last`` or ``channels_first``.
        activation, use_bias, kernel_initializer, ...: as for `Dense`.
    """

    def __init__(
        self, rank: int, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
        data_format: str = "channels_last", dilation_rate: Any = 1, activation: Any = None, use_bias: bool = True,
        kernel_initializer: Any = None, bias_initializer: Any = Zeros, kernel_regularizer: Any = None,
        bias_regularizer: Any = None, activity_regularizer: Any = None, kernel_constraint: Any = None,
        bias_constraint: Any = None, trainable: bool = True, name: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(trainable=trainable, name=name, activity_regularizer=activity_regularizer, **kwargs)
        self.rank, self.filters, self.use_bias = rank, int(filters), use_bias
        self.kernel_size = arguments.sizes(kernel_size, rank, "kernel_size")
        self.strides = arguments.sizes(strides, rank, "strides")
        self.padding = arguments.padding(padding, *(["causal"] if rank == 1 else []))
        self.data_format = arguments.data_format(data_format)
        self.dilation_rate = arguments.sizes(dilation_rate, rank, "dilation_rate")
        self.activation = arguments.activation(activation)
        self.kernel_initializer = arguments.initializer(kernel_initializer)
        self.bias_initializer = arguments.initializer(bias_initializer)
        self.kernel_regularizer, self.bias_regularizer = kernel_regularizer, bias_regularizer
        self.kernel_constraint, self.bias_constraint = kernel_constraint, bias_constraint
        self.input_spec = InputSpec(ndim=rank + 2)
        self.kernel: Any = None
        self.bias: Any = None

    @property
    def channel_axis(self) -> int:
        """The axis of the channels."""
        return 1 if self.data_format == "channels_first" else -1

    def build(self, input_shape: Any) -> None:
        channels = self._channels(input_shape)
        self.kernel = self._weight("kernel", [*self.kernel_size, channels, self.filters])
        self._add_bias()
        convert_to_tensor(list(self.dilation_rate), int32, name="dilation_rate")
        self.built = True

    def _channels(self, input_shape: Any) -> int:
        channels = TensorShape(input_shape).as_list()[self.channel_axis]
        if channels is None:
            raise ValueError("The channel dimension of the inputs should be defined. Found `None`.")
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={self.channel_axis: channels})
        return channels

    def _weight(self, name: str, dims: list[int]) -> Any:
        return self.add_weight(
            name, shape=dims, initializer=self.kernel_initializer, regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )  # fmt: skip

    def _add_bias(self) -> None:
        if self.use_bias:
            self.bias = self.add_weight(
                "bias", shape=[self.filters], initializer=self.bias_initializer, regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
            )  # fmt: skip

    def call(self, inputs: Any) -> Any:
        return self._finish(self._convolve(inputs))

    def _convolve(self, inputs: Any) -> Any:
        attrs = {
            "strides": arguments.per_axis(self.strides, self.data_format), "padding": self.padding.upper(),
            "data_format": arguments.layout(self.data_format, self.rank),
            "dilations": arguments.per_axis(self.dilation_rate, self.data_format),
        }  # fmt: skip
        return (raw.Conv2D if self.rank == 2 else raw.Conv3D)(inputs, self.kernel, **attrs)

    def _finish(self, outputs: Any) -> Any:
        """Return `outputs` with the bias, activated."""
        if self.use_bias:
            if self.data_format == "channels_first" and self.rank == 1:
                outputs = outputs + reshape(self.bias, (1, self.filters, 1))
            else:
                layout = "NCHW" if self.data_format == "channels_first" else "NHWC"
                outputs = raw.BiasAdd(outputs, self.bias, data_format=layout)
        return outputs if self.activation is None else self.activation(outputs)

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        """Return the outputs' shape for inputs of a shape."""
        dims = TensorShape(input_shape).as_list()
        first = 2 if self.data_format == "channels_first" else 1
        for i in range(self.rank):
            dims[first + i] = arguments.output_length(
                dims[first + i], self.kernel_size[i], self.padding, self.strides[i], self.dilation_rate[i]
            )
        dims[self.channel_axis] = self.filters
        return TensorShape(dims)


class Conv1D(Conv):
    """A convolution over one axis; see `Conv`."""

    def __init__(self, filters: int, kernel_size: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(1, filters, kernel_size, *args, **kwargs)

    def _convolve(self, inputs: Any) -> Any:
        """Convolve with the axes of a picture of height 1, as there is no op for one axis."""
        padding = self.padding.upper()
        if self.padding == "causal":
            before = self.dilation_rate[0] * (self.kernel_size[0] - 1)
            rows = (
                [[0, 0], [0, 0], [before, 0]] if self.data_format == "channels_first" else [[0, 0], [before, 0], [0, 0]]
            )
            inputs, padding = raw.Pad(inputs, rows), "VALID"
        axis = 2 if self.data_format == "channels_first" else 1
        with name_scope(None, "conv1d", [inputs]) as scope:
            made = raw.Conv2D(
                expand_dims(inputs, axis), expand_dims(self.kernel, 0), padding=padding,
                strides=arguments.per_axis((1, *self.strides), self.data_format),
                data_format=arguments.layout(self.data_format, 2),
                dilations=arguments.per_axis((1, *self.dilation_rate), self.data_format), name=scope,
            )  # fmt: skip
            return squeeze(made, [axis])


class Conv2D(Conv):
    """A convolution over two axes; see `Conv`."""

    def __init__(self, filters: int, kernel_size: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(2, filters, kernel_size, *args, **kwargs)


class Conv3D(Conv):
    """A convolution over three axes; see `Conv`."""

    def __init__(self, filters: int, kernel_size: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(3, filters, kernel_size, *args, **kwargs)


# --- as functions -----------------------------------------------------------------------------------------------
def _function(layer: Callable[..., Layer], name: str) -> Any:
    def convolution(
        inputs: Any, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
        data_format: str = "channels_last", dilation_rate: Any = 1, activation: Any = None, use_bias: bool = True,
        kernel_initializer: Any = None, bias_initializer: Any = Zeros, kernel_regularizer: Any = None,
        bias_regularizer: Any = None, activity_regularizer: Any = None, kernel_constraint: Any = None,
        bias_constraint: Any = None, trainable: bool = True, name: str | None = None, reuse: Any = None,
    ) -> Any:  # fmt: skip
        made = layer(
            filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias,
            kernel_initializer, bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer,
            kernel_constraint, bias_constraint, trainable, name, _scope=name, _reuse=reuse,
        )  # fmt: skip
        return made.apply(inputs)

    convolution.__doc__ = f"Return the inputs convolved, with a bias, activated; see `{name}`."
    return convolution


conv1d, conv2d, conv3d = _function(Conv1D, "Conv1D"), _function(Conv2D, "Conv2D"), _function(Conv3D, "Conv3D")
Convolution1D, Convolution2D, Convolution3D = Conv1D, Conv2D, Conv3D
convolution1d, convolution2d, convolution3d = conv1d, conv2d, conv3d

__all__ = [
    "Conv1D", "Conv2D", "Conv3D", "Convolution1D", "Convolution2D", "Convolution3D", "conv1d", "conv2d", "conv3d",
    "convolution1d", "convolution2d", "convolution3d",
]  # fmt: skip
