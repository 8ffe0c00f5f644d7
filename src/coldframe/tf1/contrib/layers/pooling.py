"""Pools as functions."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.contrib.framework.arg_scope import add_arg_scope
from coldframe.tf1.contrib.layers import utils
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.layers import pooling


def _pool(layer: Any, title: str, function: str, stride: Any, *formats: str) -> Any:
    def pool(
        inputs: Any, kernel_size: Any, stride: Any = stride, padding: str = "VALID", data_format: str | None = None,
        outputs_collections: Any = None, scope: Any = None,
    ) -> Any:  # fmt: skip
        format = utils.channel_format(data_format, *formats)
        with name_scope(scope, title, [inputs]) as sc:
            made = layer(kernel_size, stride, padding, format, _scope=sc).apply(convert_to_tensor(inputs))
            return utils.collect_named_outputs(outputs_collections, sc, made)

    what = "greatest" if layer.op == "MaxPool" else "mean"
    pool.__name__, pool.__doc__ = (
        function,
        f"Return the {what} of the values in each window, {stride} apart by default.",
    )
    return add_arg_scope(pool)


max_pool2d = _pool(pooling.MaxPooling2D, "MaxPool2D", "max_pool2d", 2, "NHWC", "NCHW")
avg_pool2d = _pool(pooling.AveragePooling2D, "AvgPool2D", "avg_pool2d", 2, "NHWC", "NCHW")
max_pool3d = _pool(pooling.MaxPooling3D, "MaxPool3D", "max_pool3d", 2, "NDHWC", "NCDHW")
avg_pool3d = _pool(pooling.AveragePooling3D, "AvgPool3D", "avg_pool3d", 2, "NDHWC", "NCDHW")

__all__ = ["avg_pool2d", "avg_pool3d", "max_pool2d", "max_pool3d"]
