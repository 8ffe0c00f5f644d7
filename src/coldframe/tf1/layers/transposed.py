"""Transposed convolutions: each input value spreads over a window of the outputs."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.init_ops import Zeros
from coldframe.tf1.layers import arguments
from coldframe.tf1.layers.convolutional import Conv
from coldframe.tf1.shape_ops import shape, stack


class _ConvTranspose(Conv):
    def build(self, input_shape: Any) -> None:
        channels = self._channels(input_shape)
        self.kernel = self._weight("kernel", [*self.kernel_size, self.filters, channels])
        self._add_bias()
        self.built = True

    def _convolve(self, inputs: Any) -> Any:
        sizes = shape(inputs)
        batch = sizes[0]
        first = 2 if self.data_format == "channels_first" else 1
        spatial = [sizes[first + i] for i in range(self.rank)]
        lengths = [self._length(n, i) for i, n in enumerate(spatial)]
        if self.data_format == "channels_first":
            wanted = stack((batch, self.filters, *lengths))
        else:
            wanted = stack((batch, *lengths, self.filters))
        outputs = self._spread(inputs, wanted)
        outputs.set_shape(self.compute_output_shape(inputs.shape))
        return outputs

    def _length(self, n: Any, i: int) -> Any:
        length = n * self.strides[i]
        if self.padding == "valid":
            length = length + max(self.kernel_size[i] - self.strides[i], 0)
        return length

    def _spread(self, inputs: Any, wanted: Any) -> Any:
        op = raw.Conv2DBackpropInput if self.rank == 2 else raw.Conv3DBackpropInputV2
        with name_scope(None, f"conv{self.rank}d_transpose", [inputs, self.kernel, wanted]) as scope:
            return op(
                wanted, self.kernel, inputs, strides=arguments.per_axis(self.strides, self.data_format),
                padding=self.padding.upper(), data_format=arguments.layout(self.data_format, self.rank), name=scope,
            )  # fmt: skip

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        """Return the outputs' shape for inputs of a shape."""
        dims = TensorShape(input_shape).as_list()
        first = 2 if self.data_format == "channels_first" else 1
        for i in range(self.rank):
            n = dims[first + i]
            dims[first + i] = None if n is None else self._length(n, i)
        dims[self.channel_axis] = self.filters
        return TensorShape(dims)


class Conv2DTranspose(_ConvTranspose):
    """The gradient of a convolution as a layer: outputs are `strides` times as large.

    Args:
        filters: how many channels the outputs have.
        kernel_size, strides, padding, data_format, activation, use_bias, kernel_initializer, ...: as for `Conv2D`.
    """

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = (1, 1), padding: str = "valid",
        data_format: str = "channels_last", activation: Any = None, use_bias: bool = True,
        kernel_initializer: Any = None, bias_initializer: Any = Zeros, kernel_regularizer: Any = None,
        bias_regularizer: Any = None, activity_regularizer: Any = None, kernel_constraint: Any = None,
        bias_constraint: Any = None, trainable: bool = True, name: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            2, filters, kernel_size, strides, padding, data_format, 1, activation, use_bias, kernel_initializer,
            bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint,
            bias_constraint, trainable, name, **kwargs,
        )  # fmt: skip


class Conv3DTranspose(_ConvTranspose):
    """The gradient of a convolution over three axes as a layer; see `Conv2DTranspose`."""

    def __init__(
        self, filters: int, kernel_size: Any, strides: Any = (1, 1, 1), padding: str = "valid",
        data_format: str = "channels_last", activation: Any = None, use_bias: bool = True,
        kernel_initializer: Any = None, bias_initializer: Any = Zeros, kernel_regularizer: Any = None,
        bias_regularizer: Any = None, activity_regularizer: Any = None, kernel_constraint: Any = None,
        bias_constraint: Any = None, trainable: bool = True, name: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            3, filters, kernel_size, strides, padding, data_format, 1, activation, use_bias, kernel_initializer,
            bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint,
            bias_constraint, trainable, name, **kwargs,
        )  # fmt: skip


# --- as functions -----------------------------------------------------------------------------------------------
def _function(layer: Any, ones: tuple[int, ...]) -> Any:
    def convolution(
        inputs: Any, filters: int, kernel_size: Any, strides: Any = ones, padding: str = "valid",
        data_format: str = "channels_last", activation: Any = None, use_bias: bool = True,
        kernel_initializer: Any = None, bias_initializer: Any = Zeros, kernel_regularizer: Any = None,
        bias_regularizer: Any = None, activity_regularizer: Any = None, kernel_constraint: Any = None,
        bias_constraint: Any = None, trainable: bool = True, name: str | None = None, reuse: Any = None,
    ) -> Any:  # fmt: skip
        made = layer(
            filters, kernel_size, strides, padding, data_format, activation, use_bias, kernel_initializer,
            bias_initializer, kernel_regularizer, bias_regularizer, activity_regularizer, kernel_constraint,
            bias_constraint, trainable, name, _scope=name, _reuse=reuse,
        )  # fmt: skip
        return made.apply(inputs)

    convolution.__doc__ = f"Return the inputs spread over larger outputs; see `{layer.__name__}`."
    return convolution


conv2d_transpose, conv3d_transpose = _function(Conv2DTranspose, (1, 1)), _function(Conv3DTranspose, (1, 1, 1))
Convolution2DTranspose, Convolution3DTranspose = Conv2DTranspose, Conv3DTranspose
Deconvolution2D, Deconvolution3D = Conv2DTranspose, Conv3DTranspose
convolution2d_transpose, convolution3d_transpose = conv2d_transpose, conv3d_transpose
deconvolution2d, deconvolution3d = conv2d_transpose, conv3d_transpose

__all__ = [
    "Conv2DTranspose", "Conv3DTranspose", "Convolution2DTranspose", "Convolution3DTranspose", "Deconvolution2D",
    "Deconvolution3D", "conv2d_transpose", "conv3d_transpose", "convolution2d_transpose", "convolution3d_transpose",
    "deconvolution2d", "deconvolution3d",
]  # fmt: skip
