"""Convolutions as functions."""

from __future__ import annotations

import functools
from typing import Any

from coldframe.tf1.contrib.framework.arg_scope import add_arg_scope
from coldframe.tf1.contrib.framework.variables import model_variable
from coldframe.tf1.contrib.layers import utils
from coldframe.tf1.contrib.layers.dense import _XAVIER, _ZEROS, _relu
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.layers import arguments, convolutional, separable, transposed
from coldframe.tf1.variable_scope import variable_scope

_LAYERS = {1: convolutional.Conv1D, 2: convolutional.Conv2D, 3: convolutional.Conv3D}
_FORMATS = ("NWC", "NCW", "NHWC", "NCHW", "NDHWC", "NCDHW")


def _finish(outputs: Any, layer: Any, sc: Any, options: dict[str, Any]) -> Any:
    """Return a layer's outputs normalised, activated, and added to collections."""
    collections = options["variables_collections"]
    if layer.kernel is not None:
        utils.collect_variable(layer.kernel, collections, "weights")
    if layer.bias is not None:
        utils.collect_variable(layer.bias, collections, "biases")
    if options["normalizer_fn"] is not None:
        outputs = options["normalizer_fn"](outputs, **(options["normalizer_params"] or {}))
    if options["activation_fn"] is not None:
        outputs = options["activation_fn"](outputs)
    return utils.collect_named_outputs(options["outputs_collections"], sc.name, outputs)


@add_arg_scope
def convolution(
    inputs: Any, num_outputs: int, kernel_size: Any, stride: Any = 1, padding: str = "SAME",
    data_format: str | None = None, rate: Any = 1, activation_fn: Any = _relu, normalizer_fn: Any = None,
    normalizer_params: Any = None, weights_initializer: Any = _XAVIER, weights_regularizer: Any = None,
    biases_initializer: Any = _ZEROS, biases_regularizer: Any = None, reuse: Any = None,
    variables_collections: Any = None, outputs_collections: Any = None, trainable: bool = True, scope: Any = None,
    conv_dims: int | None = None,
) -> Any:  # fmt: skip
    """Return the inputs convolved, with a bias (or normalised by `normalizer_fn`), with a ReLU unless told otherwise.

    Args:
        num_outputs: how many channels the outputs have.
        kernel_size, stride, rate: a number, or one per spatial axis.
        variables_collections: collections for the variables; a list, or a dict by ``weights``, ``biases``.
        outputs_collections: collections for the outputs.
    """
    format = utils.channel_format(data_format, *_FORMATS)
    getter = utils.model_getter(utils.KERNEL_NAMES)
    with variable_scope(scope, "Conv", [inputs], reuse=reuse, custom_getter=getter) as sc:
        inputs = convert_to_tensor(inputs)
        rank = inputs.shape.ndims
        if conv_dims is not None and conv_dims + 2 != rank:
            raise ValueError(f"Convolution expects input with rank {conv_dims + 2}, got {rank}")
        if rank not in (3, 4, 5):
            raise ValueError(f"Convolution not supported for input with rank {rank}")
        layer = _LAYERS[rank - 2](
            num_outputs, kernel_size, stride, padding, format, rate, None,
            not normalizer_fn and bool(biases_initializer), weights_initializer, biases_initializer,
            weights_regularizer, biases_regularizer, trainable=trainable,
            name=sc.name, dtype=inputs.dtype, _scope=sc, _reuse=reuse,
        )  # fmt: skip
        options = {
            "normalizer_fn": normalizer_fn, "normalizer_params": normalizer_params, "activation_fn": activation_fn,
            "variables_collections": variables_collections, "outputs_collections": outputs_collections,
        }  # fmt: skip
        return _finish(layer.apply(inputs), layer, sc, options)


@add_arg_scope
@functools.wraps(convolution.__wrapped__)  # type: ignore[attr-defined]
def convolution1d(*args: Any, **kwargs: Any) -> Any:
    return convolution(*args, conv_dims=1, **kwargs)


@add_arg_scope
@functools.wraps(convolution.__wrapped__)  # type: ignore[attr-defined]
def convolution2d(*args: Any, **kwargs: Any) -> Any:
    return convolution(*args, conv_dims=2, **kwargs)


@add_arg_scope
@functools.wraps(convolution.__wrapped__)  # type: ignore[attr-defined]
def convolution3d(*args: Any, **kwargs: Any) -> Any:
    return convolution(*args, conv_dims=3, **kwargs)


def _transpose(layer_type: Any, title: str) -> Any:
    def convolution_transpose(
        inputs: Any, num_outputs: int, kernel_size: Any, stride: Any = 1, padding: str = "SAME",
        data_format: str | None = None, activation_fn: Any = _relu, normalizer_fn: Any = None,
        normalizer_params: Any = None, weights_initializer: Any = _XAVIER, weights_regularizer: Any = None,
        biases_initializer: Any = _ZEROS, biases_regularizer: Any = None, reuse: Any = None,
        variables_collections: Any = None, outputs_collections: Any = None, trainable: bool = True, scope: Any = None,
    ) -> Any:  # fmt: skip
        """Return the inputs spread over larger outputs, with a bias and a ReLU unless told otherwise."""
        format = utils.channel_format(data_format, *_FORMATS)
        getter = utils.model_getter(utils.KERNEL_NAMES)
        with variable_scope(scope, title, [inputs], reuse=reuse, custom_getter=getter) as sc:
            inputs = convert_to_tensor(inputs)
            layer = layer_type(
                num_outputs, kernel_size, stride, padding, format, None, not normalizer_fn and bool(biases_initializer),
                weights_initializer, biases_initializer, weights_regularizer, biases_regularizer, trainable=trainable,
                name=sc.name, dtype=inputs.dtype, _scope=sc, _reuse=reuse,
            )  # fmt: skip
            options = {
                "normalizer_fn": normalizer_fn, "normalizer_params": normalizer_params, "activation_fn": activation_fn,
                "variables_collections": variables_collections, "outputs_collections": outputs_collections,
            }  # fmt: skip
            return _finish(layer.apply(inputs), layer, sc, options)

    convolution_transpose.__name__ = f"convolution{title[4:]}"
    return add_arg_scope(convolution_transpose)


convolution2d_transpose = _transpose(transposed.Conv2DTranspose, "Conv2d_transpose")
convolution3d_transpose = _transpose(transposed.Conv3DTranspose, "Conv3d_transpose")


@add_arg_scope
def separable_convolution2d(
    inputs: Any, num_outputs: int | None, kernel_size: Any, depth_multiplier: int = 1, stride: Any = 1,
    padding: str = "SAME", data_format: str = "NHWC", rate: Any = 1, activation_fn: Any = _relu,
    normalizer_fn: Any = None, normalizer_params: Any = None, weights_initializer: Any = _XAVIER,
    pointwise_initializer: Any = None, weights_regularizer: Any = None, biases_initializer: Any = _ZEROS,
    biases_regularizer: Any = None, reuse: Any = None, variables_collections: Any = None,
    outputs_collections: Any = None, trainable: bool = True, scope: Any = None,
) -> Any:  # fmt: skip
    """Return the inputs convolved per channel, then mixed to `num_outputs` channels (not mixed for None)."""
    format = utils.channel_format(data_format, "NHWC", "NCHW")
    renames = {
        "bias": "biases", "depthwise_kernel": "depthwise_weights", "pointwise_kernel": "pointwise_weights",
    }  # fmt: skip
    options = {
        "normalizer_fn": normalizer_fn, "normalizer_params": normalizer_params, "activation_fn": activation_fn,
        "variables_collections": variables_collections, "outputs_collections": outputs_collections,
    }  # fmt: skip
    getter = utils.model_getter(renames)
    with variable_scope(scope, "SeparableConv2d", [inputs], reuse=reuse, custom_getter=getter) as sc:
        inputs = convert_to_tensor(inputs)
        layer: Any
        if num_outputs is not None:
            layer = separable.SeparableConv2D(
                num_outputs, kernel_size, stride, padding, format, utils.two_element_tuple(rate), depth_multiplier,
                None, not normalizer_fn and bool(biases_initializer), weights_initializer,
                pointwise_initializer or weights_initializer, biases_initializer, weights_regularizer,
                weights_regularizer, biases_regularizer, trainable=trainable, name=sc.name, dtype=inputs.dtype,
                _scope=sc, _reuse=reuse,
            )  # fmt: skip
            outputs = layer.apply(inputs)
            utils.collect_variable(layer.depthwise_kernel, variables_collections, "weights")
            utils.collect_variable(layer.pointwise_kernel, variables_collections, "weights")
            return _finish(outputs, layer, sc, options)
        return _depthwise(
            inputs, kernel_size, depth_multiplier, stride, padding, format, rate, weights_initializer,
            weights_regularizer, biases_initializer, biases_regularizer, trainable, sc, options,
        )  # fmt: skip


def _depthwise(
    inputs: Any, kernel_size: Any, multiplier: int, stride: Any, padding: str, format: str, rate: Any,
    weights_initializer: Any, weights_regularizer: Any, biases_initializer: Any, biases_regularizer: Any,
    trainable: bool, sc: Any, options: dict[str, Any],
) -> Any:  # fmt: skip
    channels = inputs.shape.as_list()[1 if format == "channels_first" else 3]
    collections, layout = options["variables_collections"], "NCHW" if format == "channels_first" else "NHWC"
    weights = model_variable(
        "depthwise_weights", shape=[*utils.two_element_tuple(kernel_size), channels, multiplier], dtype=inputs.dtype,
        initializer=weights_initializer, regularizer=weights_regularizer, trainable=trainable,
        collections=utils.get_variable_collections(collections, "weights"),
    )  # fmt: skip
    outputs = raw.DepthwiseConv2dNative(
        inputs, weights, strides=arguments.per_axis(utils.two_element_tuple(stride), format), padding=padding.upper(),
        dilations=arguments.per_axis(utils.two_element_tuple(rate), format), data_format=layout, name="depthwise",
    )  # fmt: skip
    if options["normalizer_fn"] is not None:
        outputs = options["normalizer_fn"](outputs, **(options["normalizer_params"] or {}))
    elif biases_initializer is not None:
        biases = model_variable(
            "biases", shape=[channels * multiplier], dtype=inputs.dtype, initializer=biases_initializer,
            regularizer=biases_regularizer, trainable=trainable,
            collections=utils.get_variable_collections(collections, "biases"),
        )  # fmt: skip
        outputs = raw.BiasAdd(outputs, biases, data_format=layout)
    if options["activation_fn"] is not None:
        outputs = options["activation_fn"](outputs)
    return utils.collect_named_outputs(options["outputs_collections"], sc.name, outputs)


conv1d, conv2d, conv3d = convolution1d, convolution2d, convolution3d
conv2d_transpose, conv3d_transpose = convolution2d_transpose, convolution3d_transpose
separable_conv2d = separable_convolution2d

__all__ = [
    "conv1d", "conv2d", "conv2d_transpose", "conv3d", "conv3d_transpose", "convolution", "convolution1d",
    "convolution2d", "convolution2d_transpose", "convolution3d", "convolution3d_transpose", "separable_conv2d",
    "separable_convolution2d",
]  # fmt: skip
