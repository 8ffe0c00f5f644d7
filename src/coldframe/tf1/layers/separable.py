"""Separable convolutions: a kernel per channel, then a mix of the channels at each position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.init_ops import Zeros
from coldframe.tf1.layers import arguments
from coldframe.tf1.layers.base import InputSpec, Layer
from coldframe.tf1.layers.convolutional import Conv
from coldframe.tf1.shape_ops import expand_dims, squeeze


class SeparableConv(Conv):
    """A separable convolution over `rank` spatial axes, a bias, and an activation.

    Args:
        rank, filters, kernel_size, strides, padding, data_format, dilation_rate: as for `Conv`.
        depth_multiplier: how many channels are made of each input channel, before they are mixed.
        depthwise_initializer, pointwise_initializer, ...: as for `Dense`, of the two kernels.
    """

    def __init__(
        self, rank: int, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
        data_format: str = "channels_last", dilation_rate: Any = 1, depth_multiplier: int = 1, activation: Any = None,
        use_bias: bool = True, depthwise_initializer: Any = None, pointwise_initializer: Any = None,
        bias_initializer: Any = Zeros, depthwise_regularizer: Any = None, pointwise_regularizer: Any = None,
        bias_regularizer: Any = None, activity_regularizer: Any = None, depthwise_constraint: Any = None,
        pointwise_constraint: Any = None, bias_constraint: Any = None, trainable: bool = True, name: str | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            rank, filters, kernel_size, strides, padding, data_format, dilation_rate, activation, use_bias,
            bias_initializer=bias_initializer, bias_regularizer=bias_regularizer,
            activity_regularizer=activity_regularizer, bias_constraint=bias_constraint, trainable=trainable, name=name,
            **kwargs,
        )  # fmt: skip
        self.depth_multiplier = depth_multiplier
        self.depthwise_initializer = arguments.initializer(depthwise_initializer)
        self.pointwise_initializer = arguments.initializer(pointwise_initializer)
        self.depthwise_regularizer, self.pointwise_regularizer = depthwise_regularizer, pointwise_regularizer
        self.depthwise_constraint, self.pointwise_constraint = depthwise_constraint, pointwise_constraint

    def build(self, input_shape: Any) -> None:
        channels = self._channels(input_shape)
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={self.channel_axis: channels})
        self.depthwise_kernel = self.add_weight(
            "depthwise_kernel", shape=[*self.kernel_size, channels, self.depth_multiplier],
            initializer=self.depthwise_initializer, regularizer=self.depthwise_regularizer,
            constraint=self.depthwise_constraint,
        )  # fmt: skip
        self.pointwise_kernel = self.add_weight(
            "pointwise_kernel", shape=[1] * self.rank + [channels * self.depth_multiplier, self.filters],
            initializer=self.pointwise_initializer, regularizer=self.pointwise_regularizer,
            constraint=self.pointwise_constraint,
        )  # fmt: skip
        self._add_bias()
        self.built = True

    def _convolve(self, inputs: Any) -> Any:
        if self.rank == 2:
            return self._separable(
                inputs, self.depthwise_kernel, self.pointwise_kernel, self.strides, self.dilation_rate, self.padding
            )
        padding = self.padding
        if padding == "causal":
            before = self.dilation_rate[0] * (self.kernel_size[0] - 1)
            rows = (
                [[0, 0], [0, 0], [before, 0]] if self.data_format == "channels_first" else [[0, 0], [before, 0], [0, 0]]
            )
            inputs, padding = raw.Pad(inputs, rows), "valid"
        axis = 2 if self.data_format == "channels_first" else 1
        made = self._separable(
            expand_dims(inputs, axis), expand_dims(self.depthwise_kernel, 0), expand_dims(self.pointwise_kernel, 0),
            self.strides * 2, (1, *self.dilation_rate), padding,
        )  # fmt: skip
        return squeeze(made, [axis])

    def _separable(self, inputs: Any, depthwise: Any, pointwise: Any, strides: Any, rate: Any, padding: str) -> Any:
        layout = arguments.layout(self.data_format, 2)
        with name_scope(None, "separable_conv2d", [inputs]) as scope:
            inputs = convert_to_tensor(inputs, name="tensor_in")
            deep = raw.DepthwiseConv2dNative(
                inputs, depthwise, strides=arguments.per_axis(strides, self.data_format), padding=padding.upper(),
                data_format=layout, dilations=arguments.per_axis(rate, self.data_format), name="depthwise",
            )  # fmt: skip
            return raw.Conv2D(deep, pointwise, strides=[1] * 4, padding="VALID", data_format=layout, name=scope)


class SeparableConv1D(SeparableConv):
    """A separable convolution over one axis; see `SeparableConv`."""

    def __init__(self, filters: int, kernel_size: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(1, filters, kernel_size, *args, **kwargs)


class SeparableConv2D(SeparableConv):
    """A separable convolution over two axes; see `SeparableConv`."""

    def __init__(self, filters: int, kernel_size: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(2, filters, kernel_size, *args, **kwargs)


# --- as functions -----------------------------------------------------------------------------------------------
def _function(layer: Callable[..., Layer], name: str) -> Any:
    def convolution(
        inputs: Any, filters: int, kernel_size: Any, strides: Any = 1, padding: str = "valid",
        data_format: str = "channels_last", dilation_rate: Any = 1, depth_multiplier: int = 1, activation: Any = None,
        use_bias: bool = True, depthwise_initializer: Any = None, pointwise_initializer: Any = None,
        bias_initializer: Any = Zeros, depthwise_regularizer: Any = None, pointwise_regularizer: Any = None,
        bias_regularizer: Any = None, activity_regularizer: Any = None, depthwise_constraint: Any = None,
        pointwise_constraint: Any = None, bias_constraint: Any = None, trainable: bool = True, name: str | None = None,
        reuse: Any = None,
    ) -> Any:  # fmt: skip
        made = layer(
            filters, kernel_size, strides, padding, data_format, dilation_rate, depth_multiplier, activation, use_bias,
            depthwise_initializer, pointwise_initializer, bias_initializer, depthwise_regularizer,
            pointwise_regularizer, bias_regularizer, activity_regularizer, depthwise_constraint, pointwise_constraint,
            bias_constraint, trainable, name, _scope=name, _reuse=reuse,
        )  # fmt: skip
        return made.apply(inputs)

    convolution.__doc__ = f"Return the inputs convolved per channel, mixed, activated; see `{name}`."
    return convolution


separable_conv1d, separable_conv2d = (
    _function(SeparableConv1D, "SeparableConv1D"),
    _function(SeparableConv2D, "SeparableConv2D"),
)
SeparableConvolution1D, SeparableConvolution2D = SeparableConv1D, SeparableConv2D
separable_convolution2d = separable_conv2d

__all__ = [
    "SeparableConv1D", "SeparableConv2D", "SeparableConvolution1D", "SeparableConvolution2D", "separable_conv1d",
    "separable_conv2d", "separable_convolution2d",
]  # fmt: skip
