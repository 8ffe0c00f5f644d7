"""Batch, layer and unit normalisation as functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coldframe import dtypes
from coldframe.records import dataclass
from coldframe.tf1.cond import constant_bool, smart_cond
from coldframe.tf1.contrib.framework.arg_scope import add_arg_scope
from coldframe.tf1.contrib.framework.variables import model_variable
from coldframe.tf1.contrib.layers import utils
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.graph import control_dependencies, get_default_graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.init_ops import Ones, Zeros
from coldframe.tf1.layers.normalization import BatchNormalization
from coldframe.tf1.lazy import MissingSymbol
from coldframe.tf1.shape_ops import identity, reshape, shape
from coldframe.tf1.train.moving_averages import assign_moving_average
from coldframe.tf1.variable_scope import variable_scope

_FIRST = {"beta": Zeros, "gamma": Ones, "moving_mean": Zeros, "moving_variance": Ones}


@add_arg_scope
def batch_norm(
    inputs: Any, decay: Any = 0.999, center: bool = True, scale: bool = False, epsilon: float = 0.001,
    activation_fn: Any = None, param_initializers: Any = None, param_regularizers: Any = None,
    updates_collections: Any = GraphKeys.UPDATE_OPS, is_training: Any = True, reuse: Any = None,
    variables_collections: Any = None, outputs_collections: Any = None, trainable: bool = True,
    batch_weights: Any = None, fused: bool | None = None, data_format: str = "NHWC",
    zero_debias_moving_mean: bool = False, scope: Any = None, renorm: bool = False, renorm_clipping: Any = None,
    renorm_decay: float = 0.99, adjustment: Any = None,
) -> Any:  # fmt: skip
    """Return `inputs` with each channel scaled to mean 0 and variance 1, then by ``beta`` and ``gamma``.

    Args:
        decay: how much of the moving averages stays at an update.
        updates_collections: where updates of the moving averages are noted; None makes the outputs depend on them.
        is_training: use the batch's own mean and variance (a bool or a tensor).
        param_initializers, param_regularizers: by ``beta``, ``gamma``, ``moving_mean``, ``moving_variance``.

    Raises:
        MissingSymbol: `batch_weights`, `renorm` or `adjustment` is given.
    """
    for what, given in (("batch_weights", batch_weights is not None), ("renorm", renorm), ("adjustment", adjustment)):
        if given:
            raise MissingSymbol(f"coldframe has no batch normalization with `{what}`; leave the argument out")
    first = utils.channel_format(data_format, "NHWC", "NCHW") == "channels_first"
    inputs = convert_to_tensor(inputs)
    fused = True if fused is None else fused
    starts = {name: (param_initializers or {}).get(name, default()) for name, default in _FIRST.items()}
    losses = param_regularizers or {}
    own = zero_debias_moving_mean or updates_collections is not GraphKeys.UPDATE_OPS
    one_node = fused and inputs.shape.ndims in (2, 4) and (own or inputs.shape.ndims == 2)
    getter = utils.model_getter()
    with variable_scope(scope, "BatchNorm", [inputs], reuse=reuse, custom_getter=None if one_node else getter) as sc:
        if own or one_node:
            form = _Form(decay, center, scale, epsilon, first, zero_debias_moving_mean, updates_collections)
            params = _parameters(inputs, form, starts, losses, variables_collections, trainable)
            outputs = (_fused if one_node else _unfused)(inputs, form, params, is_training)
            outputs.set_shape(inputs.shape)
        else:
            layer = BatchNormalization(
                1 if first else -1, decay, epsilon, center, scale, starts["beta"], starts["gamma"],
                starts["moving_mean"], starts["moving_variance"], losses.get("beta"), losses.get("gamma"), fused=fused,
                trainable=trainable, name=sc.name, _scope=sc, _reuse=reuse,
            )  # fmt: skip
            outputs = layer.apply(inputs, training=is_training)
            for name in _FIRST:
                if getattr(layer, name) is not None:
                    utils.collect_variable(getattr(layer, name), variables_collections, name)
        if activation_fn is not None:
            outputs = activation_fn(outputs)
        return utils.collect_named_outputs(outputs_collections, sc.name, outputs)


@dataclass(frozen=True, slots=True)
class _Form:
    """What a batch normalisation does, besides its variables."""

    decay: Any
    center: bool
    scale: bool
    epsilon: float
    first: bool
    zero_debias: bool
    updates_collections: Any


def _parameters(
    inputs: Any, form: _Form, starts: dict[str, Any], losses: dict[str, Any], collections: Any, trainable: bool
) -> dict[str, Any]:
    size = inputs.shape.as_list()[1 if form.first else -1]
    if size is None:
        raise ValueError(f"Inputs {inputs.name} has undefined `C` dimension: {inputs.shape}")
    half = inputs.dtype in (dtypes.float16, dtypes.bfloat16)
    made: dict[str, Any] = {}
    for name, needed in (
        ("beta", form.center),
        ("gamma", form.scale),
        ("moving_mean", True),
        ("moving_variance", True),
    ):
        made[name] = model_variable(
            name, shape=[size], dtype=dtypes.float32 if half else inputs.dtype, initializer=starts[name],
            regularizer=losses.get(name), trainable=trainable and not name.startswith("moving"),
            collections=utils.get_variable_collections(collections, name),
        ) if needed else None  # fmt: skip
    return made


def _fused(inputs: Any, form: _Form, params: dict[str, Any], is_training: Any) -> Any:
    rank, size, original = inputs.shape.ndims, params["moving_mean"].shape.as_list(), inputs
    if rank == 2:
        inputs = reshape(inputs, [-1, *size, 1, 1] if form.first else [-1, 1, 1, *size])
    dtype = params["moving_mean"].dtype
    beta = params["beta"] if form.center else constant(0.0, dtype, size)
    gamma = params["gamma"] if form.scale else constant(1.0, dtype, size)
    layout = "NCHW" if form.first else "NHWC"

    def normalised(mean: Any, variance: Any, training: bool) -> Any:
        made = raw.FusedBatchNormV3(
            inputs, gamma, beta, mean, variance, epsilon=max(form.epsilon, 1.001e-5), is_training=training,
            data_format=layout,
        )  # fmt: skip
        return made[0], made[1], made[2]

    outputs, mean, variance = smart_cond(
        is_training, lambda: normalised(constant([], dtypes.float32), constant([], dtypes.float32), True),
        lambda: normalised(params["moving_mean"], params["moving_variance"], False),
    )  # fmt: skip
    if constant_bool(is_training) is not False:
        if form.updates_collections is None:
            outputs = smart_cond(
                is_training, lambda: _after(_moves(form, params, mean, variance), outputs)[0], lambda: outputs
            )
        else:
            _note_moves(form, params, mean, variance, is_training)
    return reshape(outputs, shape(original)) if rank == 2 else outputs


def _unfused(inputs: Any, form: _Form, params: dict[str, Any], is_training: Any) -> Any:
    from coldframe.tf1 import nn

    rank = inputs.shape.ndims
    averages = params["moving_mean"], params["moving_variance"]
    mean, variance = averages
    if constant_bool(is_training) is not False:
        axes = [0, *range(2, rank)] if form.first else list(range(rank - 1))
        mean, variance = batch = nn.moments(inputs, axes)

        def kept() -> Any:
            return tuple(convert_to_tensor(v) for v in averages)

        if form.updates_collections is None:
            mean, variance = smart_cond(is_training, lambda: _after(_moves(form, params, *batch), *batch), kept)
        else:
            _note_moves(form, params, mean, variance, is_training)
            mean, variance = smart_cond(is_training, lambda: batch, kept)
    beta, gamma = params["beta"], params["gamma"]
    if form.first:
        wide = [1, *params["moving_mean"].shape.as_list(), *[1] * (rank - 2)]
        mean, variance, beta, gamma = (None if v is None else reshape(v, wide) for v in (mean, variance, beta, gamma))
    return nn.batch_normalization(inputs, mean, variance, beta, gamma, form.epsilon)


def _moves(form: _Form, params: dict[str, Any], mean: Any, variance: Any) -> list[Any]:
    """Return updates of the moving averages."""
    return [
        assign_moving_average(params["moving_mean"], mean, form.decay, zero_debias=form.zero_debias),
        assign_moving_average(params["moving_variance"], variance, form.decay, zero_debias=False),
    ]


def _after(updates: list[Any], *values: Any) -> Any:
    with control_dependencies(updates):
        return tuple(identity(v) for v in values)


def _note_moves(form: _Form, params: dict[str, Any], mean: Any, variance: Any, is_training: Any) -> None:
    def kept() -> list[Any]:
        return [convert_to_tensor(params["moving_mean"]), convert_to_tensor(params["moving_variance"])]

    updates: Callable[[], list[Any]] = lambda: [  # noqa: E731
        convert_to_tensor(u) for u in _moves(form, params, mean, variance)
    ]
    for update in smart_cond(is_training, updates, kept):
        get_default_graph().add_to_collections(form.updates_collections, update)


@add_arg_scope
def layer_norm(
    inputs: Any, center: bool = True, scale: bool = True, activation_fn: Any = None, reuse: Any = None,
    variables_collections: Any = None, outputs_collections: Any = None, trainable: bool = True,
    begin_norm_axis: int = 1, begin_params_axis: int = -1, scope: Any = None,
) -> Any:  # fmt: skip
    """Return `inputs` with each example scaled to mean 0 and variance 1 over the axes from `begin_norm_axis` on.

    Raises:
        ValueError: the rank, or the sizes of the axes from `begin_params_axis` on, are not known.
    """
    from coldframe.tf1 import nn

    with variable_scope(scope, "LayerNorm", [inputs], reuse=reuse) as sc:
        inputs = convert_to_tensor(inputs)
        rank = inputs.shape.ndims
        if rank is None:
            raise ValueError(f"Inputs {inputs.name} has undefined rank.")
        begin_norm = begin_norm_axis + rank if begin_norm_axis < 0 else begin_norm_axis
        if begin_params_axis >= rank or begin_norm >= rank:
            raise ValueError(
                f"begin_params_axis ({begin_params_axis}) and begin_norm_axis ({begin_norm}) must be < rank(inputs) "
                f"({rank})"
            )
        params = inputs.shape[begin_params_axis:]
        if not params.is_fully_defined():
            raise ValueError(
                f"Inputs {inputs.name}: shape(inputs)[{begin_params_axis}:] is not fully defined: {inputs.shape}"
            )
        beta, gamma = (
            model_variable(
                name, shape=params, dtype=inputs.dtype, initializer=_FIRST[name](), trainable=trainable,
                collections=utils.get_variable_collections(variables_collections, name),
            ) if needed else None
            for name, needed in (("beta", center), ("gamma", scale))
        )  # fmt: skip
        mean, variance = nn.moments(inputs, list(range(begin_norm, rank)), keep_dims=True)
        epsilon = 1e-3 if inputs.dtype is dtypes.float16 else 1e-12
        outputs = nn.batch_normalization(inputs, mean, variance, offset=beta, scale=gamma, variance_epsilon=epsilon)
        outputs.set_shape(inputs.shape)
        if activation_fn is not None:
            outputs = activation_fn(outputs)
        return utils.collect_named_outputs(outputs_collections, sc.name, outputs)


@add_arg_scope
def instance_norm(
    inputs: Any, center: bool = True, scale: bool = True, epsilon: float = 1e-6, activation_fn: Any = None,
    param_initializers: Any = None, reuse: Any = None, variables_collections: Any = None,
    outputs_collections: Any = None, trainable: bool = True, data_format: str = "NHWC", scope: Any = None,
) -> Any:  # fmt: skip
    """Return `inputs` with each example's channels scaled to mean 0 and variance 1, then by ``beta`` and ``gamma``.

    Args:
        param_initializers: by ``beta`` and ``gamma``.
        data_format: ``NHWC`` or ``NCHW``, of any number of dimensions.

    Raises:
        ValueError: the rank, or the number of channels, is not known.
    """
    from coldframe.tf1 import nn

    first = utils.channel_format(data_format, "NHWC", "NCHW") == "channels_first"
    inputs = convert_to_tensor(inputs)
    rank = inputs.shape.ndims
    if rank is None:
        raise ValueError(f"Inputs {inputs.name} has undefined rank.")
    axis = 1 if first else rank - 1
    channels = inputs.shape.as_list()[axis]
    if channels is None:
        raise ValueError(f"Inputs {inputs.name} has undefined channels dimension {inputs.shape}.")
    spread = [channels if i == axis else 1 for i in range(rank)]
    with variable_scope(scope, "InstanceNorm", [inputs], reuse=reuse) as sc:
        beta, gamma = (
            reshape(
                model_variable(
                    name, shape=[channels], dtype=inputs.dtype, trainable=trainable,
                    initializer=(param_initializers or {}).get(name, _FIRST[name]()),
                    collections=utils.get_variable_collections(variables_collections, name),
                ),
                spread,
            ) if needed else None
            for name, needed in (("beta", center), ("gamma", scale))
        )  # fmt: skip
        mean, variance = nn.moments(inputs, [i for i in range(1, rank) if i != axis], keep_dims=True)
        outputs = nn.batch_normalization(inputs, mean, variance, beta, gamma, epsilon, name="instancenorm")
        outputs.set_shape(inputs.shape)
        if activation_fn is not None:
            outputs = activation_fn(outputs)
        return utils.collect_named_outputs(outputs_collections, sc.name, outputs)


@add_arg_scope
def unit_norm(inputs: Any, dim: int, epsilon: float = 1e-7, scope: Any = None) -> Any:
    """Return `inputs` divided by their length along an axis."""
    with variable_scope(scope, "UnitNorm", [inputs]):
        if not inputs.shape.ndims:
            raise ValueError("The input rank must be known.")
        if not 0 <= dim < inputs.shape.ndims:
            raise ValueError("dim must be positive but smaller than the input rank.")
        lengths = raw.Sqrt(epsilon + raw.Sum(raw.Square(inputs), [dim], keep_dims=True))
        return raw.RealDiv(inputs, lengths)


__all__ = ["batch_norm", "instance_norm", "layer_norm", "unit_norm"]
