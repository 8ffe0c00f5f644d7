"""What arguments of layers may be: sizes per axis, data formats, paddings, and names of functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from coldframe.errors import near_names
from coldframe.tf1 import init_ops
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant


def sizes(value: Any, count: int, name: str) -> tuple[int, ...]:
    """Return `value` as `count` positive ints: a number stands for all of them."""
    if isinstance(value, int):
        return (value,) * count
    try:
        made = tuple(int(v) for v in value)
    except (TypeError, ValueError):
        made = ()
    if len(made) != count:
        raise ValueError(f"The `{name}` argument must be a tuple of {count} integers. Received: {value!r}")
    return made


def data_format(value: str) -> str:
    """Return ``channels_last`` or ``channels_first``."""
    lower = value.lower()
    if lower not in ("channels_first", "channels_last"):
        raise ValueError(
            f"The `data_format` argument must be one of 'channels_first', 'channels_last'. Received: {value!r}"
        )
    return lower


def padding(value: str, *more: str) -> str:
    """Return ``valid`` or ``same``, or one of `more`."""
    lower = value.lower()
    if lower not in ("valid", "same", *more):
        raise ValueError(f"The `padding` argument must be one of 'valid', 'same'. Received: {value!r}")
    return lower


def layout(format: str, spatial: int) -> str:
    """Return a data format as ops take it: ``NHWC`` and the like."""
    axes = "DHW"[3 - spatial :] if spatial > 1 else "W"
    return f"NC{axes}" if format == "channels_first" else f"N{axes}C"


def per_axis(spatial: Sequence[int], format: str) -> list[int]:
    """Return sizes of the spatial axes with a 1 for the batch's axis and the channels'."""
    return [1, 1, *spatial] if format == "channels_first" else [1, *spatial, 1]


def output_length(length: int | None, kernel: int, pad: str, stride: int, dilation: int = 1) -> int | None:
    """Return how many positions a window has along an axis."""
    if length is None:
        return None
    span = (kernel - 1) * dilation + 1
    room = length if pad in ("same", "causal") else length - span + 1
    return -(-room // stride)


def _hard_sigmoid(x: Any) -> Any:
    low, high = constant(0.0, x.dtype), constant(1.0, x.dtype)
    return raw.Minimum(raw.Maximum(x * 0.2 + 0.5, low), high)


_ACTIVATIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "relu": lambda x: raw.Relu(x), "relu6": lambda x: raw.Relu6(x), "elu": lambda x: raw.Elu(x),
    "selu": lambda x: raw.Selu(x), "sigmoid": lambda x: raw.Sigmoid(x), "tanh": lambda x: raw.Tanh(x),
    "softmax": lambda x: raw.Softmax(x), "softplus": lambda x: raw.Softplus(x), "softsign": lambda x: raw.Softsign(x),
    "exponential": lambda x: raw.Exp(x), "hard_sigmoid": _hard_sigmoid, "linear": lambda x: x,
}  # fmt: skip
_INITIALIZERS: Final[dict[str, Callable[[], Any]]] = {
    "zeros": init_ops.Zeros, "ones": init_ops.Ones, "constant": init_ops.Constant, "identity": init_ops.Identity,
    "glorot_uniform": init_ops.GlorotUniform, "glorot_normal": init_ops.GlorotNormal,
    "he_normal": init_ops.he_normal, "he_uniform": init_ops.he_uniform, "lecun_normal": init_ops.lecun_normal,
    "lecun_uniform": init_ops.lecun_uniform, "orthogonal": init_ops.Orthogonal,
    "random_normal": lambda: init_ops.RandomNormal(0.0, 0.05),
    "random_uniform": lambda: init_ops.RandomUniform(-0.05, 0.05),
    "truncated_normal": lambda: init_ops.TruncatedNormal(0.0, 0.05),
    "variance_scaling": init_ops.VarianceScaling,
}  # fmt: skip


def activation(given: Any) -> Any:
    """Return an activation function: `given`, or the one of that name; None for none."""
    if given is None or callable(given):
        return given
    return _named(given, _ACTIVATIONS, "activation function")


def initializer(given: Any) -> Any:
    """Return an initializer: `given` (made, where it is a class), or the one of that name; None for none."""
    if isinstance(given, str):
        return _named(given, _INITIALIZERS, "initializer")()
    return given() if isinstance(given, type) else given


def _named(name: Any, known: dict[str, Any], what: str) -> Any:
    if name not in known:
        hint = near_names(str(name), list(known))
        raise ValueError(f"Unknown {what}: {name!r}" + (f"\nhint: {hint}" if hint else ""))
    return known[name]
