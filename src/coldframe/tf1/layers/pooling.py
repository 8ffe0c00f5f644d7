"""Pooling layers: the greatest or the mean of the values in each window."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.layers import arguments
from coldframe.tf1.layers.base import InputSpec, Layer
from coldframe.tf1.shape_ops import expand_dims, squeeze, transpose


class Pooling(Layer):
    """A pool over `rank` spatial axes.

    Args:
        pool_size: of the window: a number, or one per spatial axis.
        strides: from window to window; the window's size for None.
        padding: ``valid``, or ``same`` to pad so that each input counts.
        data_format: ``channels_last`` or ``channels_first``.
        name: as for all layers.
    """

    rank = 2
    op = "MaxPool"

    def __init__(
        self, pool_size: Any, strides: Any, padding: str = "valid", data_format: str = "channels_last",
        name: str | None = None, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(name=name, **kwargs)
        self.pool_size = arguments.sizes(pool_size, self.rank, "pool_size")
        self.strides = self.pool_size if strides is None else arguments.sizes(strides, self.rank, "strides")
        self.padding = arguments.padding(padding)
        self.data_format = arguments.data_format(data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)

    def call(self, inputs: Any) -> Any:
        return self._pool(inputs, self.op, self.data_format)

    def _pool(self, inputs: Any, op: str, format: str) -> Any:
        window = arguments.per_axis(self.pool_size, format)
        steps = arguments.per_axis(self.strides, format)
        layout = arguments.layout(format, self.rank)
        attrs = {"ksize": window, "strides": steps, "padding": self.padding.upper(), "data_format": layout}
        return raw_op(op, [inputs], attrs)

    def compute_output_shape(self, input_shape: Any) -> TensorShape:
        """Return the outputs' shape for inputs of a shape."""
        dims = TensorShape(input_shape).as_list()
        first = 2 if self.data_format == "channels_first" else 1
        for i, (size, stride) in enumerate(zip(self.pool_size, self.strides, strict=True)):
            dims[first + i] = arguments.output_length(dims[first + i], size, self.padding, stride)
        return TensorShape(dims)


class _Pooling1D(Pooling):
    rank = 1

    def call(self, inputs: Any) -> Any:
        axis = 3 if self.data_format == "channels_first" else 2
        window, steps = (*self.pool_size, 1), (*self.strides, 1)
        attrs = {
            "ksize": arguments.per_axis(window, self.data_format),
            "strides": arguments.per_axis(steps, self.data_format),
            "padding": self.padding.upper(), "data_format": arguments.layout(self.data_format, 2),
        }  # fmt: skip
        return squeeze(raw_op(self.op, [expand_dims(inputs, axis)], attrs), [axis])


class _Pooling3D(Pooling):
    rank = 3

    def call(self, inputs: Any) -> Any:
        if self.data_format != "channels_first":
            return self._pool(inputs, f"{self.op}3D", self.data_format)
        made = self._pool(transpose(inputs, (0, 2, 3, 4, 1)), f"{self.op}3D", "channels_last")
        return transpose(made, (0, 4, 1, 2, 3))


class MaxPooling1D(_Pooling1D):
    """The greatest of the values in windows over one axis; see `Pooling`."""


class MaxPooling2D(Pooling):
    """The greatest of the values in windows over two axes; see `Pooling`."""


class MaxPooling3D(_Pooling3D):
    """The greatest of the values in windows over three axes; see `Pooling`."""


class AveragePooling1D(_Pooling1D):
    """The mean of the values in windows over one axis; see `Pooling`."""

    op = "AvgPool"


class AveragePooling2D(Pooling):
    """The mean of the values in windows over two axes; see `Pooling`."""

    op = "AvgPool"


class AveragePooling3D(_Pooling3D):
    """The mean of the values in windows over three axes; see `Pooling`."""

    op = "AvgPool"


def _function(layer: type[Pooling]) -> Any:
    def pool(
        inputs: Any, pool_size: Any, strides: Any, padding: str = "valid", data_format: str = "channels_last",
        name: str | None = None,
    ) -> Any:  # fmt: skip
        return layer(pool_size, strides, padding, data_format, name).apply(inputs)

    what = "greatest" if layer.op == "MaxPool" else "mean"
    pool.__doc__ = f"Return the {what} of the values in each window; see `{layer.__name__}`."
    return pool


max_pooling1d, max_pooling2d, max_pooling3d = (_function(c) for c in (MaxPooling1D, MaxPooling2D, MaxPooling3D))
average_pooling1d, average_pooling2d, average_pooling3d = (
    _function(c) for c in (AveragePooling1D, AveragePooling2D, AveragePooling3D)
)
MaxPool1D, MaxPool2D, MaxPool3D = MaxPooling1D, MaxPooling2D, MaxPooling3D
AvgPool1D, AvgPool2D, AvgPool3D = AveragePooling1D, AveragePooling2D, AveragePooling3D

__all__ = [
    "AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "AvgPool1D", "AvgPool2D", "AvgPool3D", "MaxPool1D",
    "MaxPool2D", "MaxPool3D", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "average_pooling1d", "average_pooling2d",
    "average_pooling3d", "max_pooling1d", "max_pooling2d", "max_pooling3d",
]  # fmt: skip
