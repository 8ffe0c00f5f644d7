"""Ops that compute nothing: constants, placeholders, identities, ordering, assertions, prints."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import UnsupportedError
from coldframe.graph.values import TensorValue
from coldframe.ops import inference_array, inference_state
from coldframe.ops.backward import array as back
from coldframe.ops.backward import passed
from coldframe.ops.table import alias, op
from coldframe.primitives.base import refuse
from coldframe.shapes import Shape


@op("Const", no_gradient=True, shape=inference_array.constant, const=True)
def const(xp: Any, *, value: TensorValue, dtype: DType) -> Any:
    """A tensor that is part of the graph."""
    return xp.asarray(value.array, dtype)


host_const = alias("HostConst", const)


@op("Placeholder", shape=inference_array.placeholder, placeholder=True)
def placeholder(xp: Any, *, dtype: DType, shape: Shape) -> Any:
    """A tensor that must be fed."""
    raise refuse("a placeholder was not fed")


placeholder_v2 = alias("PlaceholderV2", placeholder)


@op("_Arg", placeholder=True, ignores=("T", "index"))
def arg(xp: Any) -> Any:
    """An argument of a function whose body is the graph: it must be fed."""
    raise refuse("an argument was not fed")


@op("_Retval", effect=True, role="result", ignores=("index",))
def retval(xp: Any, input: Any) -> None:
    """A result of a function whose body is the graph: fetch its input."""


@op("PlaceholderWithDefault", gradient=passed, shape=inference_array.placeholder_with_default, role="default")
def placeholder_with_default(xp: Any, input: Any, *, shape: Shape) -> Any:
    """A tensor that may be fed; else its input."""
    return input


@op("Identity", gradient=passed, shape=inference_array.identity, role="identity")
def identity(xp: Any, input: Any) -> Any:
    """Its input."""
    return input


IDENTITIES = [
    alias("RefIdentity", identity, gradient=passed),
    alias("PreventGradient", identity, gradient=back.prevent_gradient, ignores=("message",)),
    alias("StopGradient", identity, no_gradient=True),
    alias("GuaranteeConst", identity),
    # What TensorFlow's debugger puts in: where it would send the tensor, nobody listens.
    *[alias(name, identity, ignores=("tensor_name", "debug_ops_spec")) for name in ("Copy", "CopyHost")],
    alias(
        "DebugIdentityV3", identity,
        ignores=(
            "device_name", "tensor_name", "io_of_node", "is_input", "io_index", "debug_urls", "gated_grpc",
        ),
    ),
    alias("DebugIdentity", identity, ignores=("device_name", "tensor_name", "debug_urls", "gated_grpc")),
    alias(
        "DebugIdentityV2", identity,
        ignores=(
            "tfdbg_context_id", "op_name", "output_slot", "tensor_debug_mode", "debug_urls", "circular_buffer_size",
            "tfdbg_run_id",
        ),
    ),
    alias("DebugGradientIdentity", identity),
    alias("DebugGradientRefIdentity", identity),
]  # fmt: skip


@op("IdentityN", gradient=back.identity_n, shape=inference_array.identities, role="identity_n")
def identity_n(xp: Any, input: list[Any]) -> list[Any]:
    """Its inputs."""
    return list(input)


LISTS = [
    alias("_ListToArray", identity_n, shape=None, no_gradient=True),
    alias("_ArrayToList", identity_n, shape=None, no_gradient=True),
]


@op("NoOp", role="noop")
def no_op(xp: Any) -> None:
    """Nothing; others wait for what it waits for."""


sync_device = alias("SyncDevice", no_op, role="", effect=True)  # a CPU is never behind
control_trigger = alias("ControlTrigger", no_op, control="trigger")


@op("DeviceIndex", no_gradient=True, shape="-> []")
def device_index(xp: Any, *, device_names: tuple[str, ...]) -> Any:
    """Where CPUs are among kinds of devices; their number where they are not: branches are chosen by it."""
    found = [i for i, name in enumerate(device_names) if name == "CPU"]
    return xp.asarray(found[0] if found else len(device_names), dtypes.int32)


@op("Assert", no_gradient=True, effect=True, host="it may refuse the run", role="assert")
def assert_(xp: Any, condition: Any, data: list[Any], *, summarize: int) -> None:
    """Refuse the run, with `data` in the message, unless `condition` holds."""
    if not np.all(condition):
        shown = "; ".join(_shown(d, summarize) for d in data)
        raise refuse("assertion failed", found=shown)


@assert_.rule("jax", "onnx")
def _(xp: Any, condition: Any, data: list[Any], *, summarize: int) -> None:
    """Where it does not hold, numpy runs again and says so."""
    xp.promise(condition)


@op(
    "Print",
    gradient=passed,
    shape=inference_array.printed,
    effect=True,
    host="it prints",
    role="print",
    ignores=("first_n",),
)
def print_(xp: Any, input: Any, data: list[Any], *, message: str, summarize: int) -> Any:
    """Its input; prints `message` and `data` to standard error."""
    sys.stderr.write(message + "".join(f"[{_shown(d, summarize)}]" for d in data) + "\n")
    return input


@op("PrintV2", effect=True, host="it prints", role="print")
def print_v2(xp: Any, input: Any, *, output_stream: str, end: str) -> None:
    """Print a string to standard error or standard output; other streams are refused."""
    streams = {"stderr": sys.stderr, "log(info)": sys.stderr, "log(warning)": sys.stderr, "log(error)": sys.stderr,
               "stdout": sys.stdout}  # fmt: skip
    if output_stream not in streams:
        raise UnsupportedError("printing to a file", found=output_stream, hint="coldframe lets no graph write files")
    text = input.item() if hasattr(input, "item") else input
    streams[output_stream].write(text.decode("utf-8", "replace") + end)


def _shown(value: Any, summarize: int) -> str:
    flat = np.asarray(value).ravel()
    some = flat if summarize < 0 else flat[: max(summarize, 3)]
    items = [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in some.tolist()]
    return " ".join(items) + ("..." if len(some) < len(flat) else "")


@op("Timestamp", shape="-> []", random=True, host="it reads the clock")
def timestamp(xp: Any) -> Any:
    """The seconds since 1970."""
    return np.float64(time.time())


@op("FakeParam", shape=inference_state.fake_param)
def fake_param(xp: Any, *, dtype: DType, shape: Shape) -> Any:
    """A tensor that stands for one that the other branch of a condition makes; nobody reads it."""
    return xp.asarray(np.zeros([d or 0 for d in shape.dims or ()], dtype.numpy), dtype)


@op("RefSelect", host="it chooses a variable")
def ref_select(xp: Any, index: Any, inputs: list[Any]) -> Any:
    """The reference numbered `index`."""
    if np.ndim(index):
        raise refuse("`index` is not a scalar", found=f"shape {list(np.shape(index))}")
    k = int(index)
    if not 0 <= k < len(inputs):
        raise refuse("no input has this number", expected=f"0 to {len(inputs) - 1}", found=k)
    return inputs[k]
