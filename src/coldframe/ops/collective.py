"""What the members of a group compute together, in a group of one: its own tensor. Other processes are not reached."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from coldframe.errors import UnsupportedError
from coldframe.ops.known import Attrs, Dims, Known
from coldframe.ops.table import Op, alias, op
from coldframe.primitives.base import refuse

_HOW: Final = (
    "group_key", "instance_key", "merge_op", "final_op", "subdiv_offsets", "wait_for", "communication_hint",
    "timeout_seconds", "is_stateless", "Nordering_token", "max_subdivs_per_device", "shape",
)  # fmt: skip


def _alone(size: int) -> None:
    if size < 1:
        raise refuse("`group_size`", expected="1 or more", found=size)
    if size > 1:
        raise UnsupportedError(
            "a group of several devices", expected="a group of 1: coldframe runs a graph in one process", found=size,
            hint="run the graph of a single device, or feed what the group computes",
        )  # fmt: skip


def _same(a: Attrs, x: Known, *others: Any) -> Dims:
    """The shape of the tensor."""
    return x.dims


@op("CollectiveReduce", shape=_same, ignores=_HOW, host="a group may have several members")
def collective_reduce(xp: Any, input: Any, *, group_size: int) -> Any:
    """The sum, mean, ... of the tensors of a group of one: its own."""
    _alone(group_size)
    return input


@op("CollectiveReduceV2", shape=_same, ignores=_HOW, host="a group may have several members")
def collective_reduce_v2(
    xp: Any, input: Any, group_size: Any, group_key: Any, instance_key: Any, ordering_token: list[Any]
) -> Any:
    """The sum, mean, ... of the tensors of a group of one: its own."""
    _alone(int(group_size))
    return input


@op("CollectiveBcastSendV2", shape=_same, ignores=_HOW, host="a group may have several members")
def collective_bcast_send_v2(xp: Any, input: Any, group_size: Any, group_key: Any, instance_key: Any) -> Any:
    """The tensor, which nobody else in a group of one gets."""
    _alone(int(group_size))
    return input


def _gathered(a: Attrs, x: Known, *others: Any) -> Dims:
    """The shape of the tensor, of which the group gathers rows."""
    return None if x.dims is None else (None, *x.dims[1:]) if x.dims else x.dims


def _rows(x: Any) -> Any:
    if not np.ndim(x):
        raise refuse("a tensor to gather", expected="rank 1 or more", found="a scalar")
    return x


@op("CollectiveGather", shape=_gathered, ignores=_HOW, host="a group may have several members")
def collective_gather(xp: Any, input: Any, *, group_size: int) -> Any:
    """The rows of all tensors of a group of one: its own."""
    _alone(group_size)
    return _rows(input)


@op("CollectiveGatherV2", shape=_gathered, ignores=_HOW, host="a group may have several members")
def collective_gather_v2(
    xp: Any, input: Any, group_size: Any, group_key: Any, instance_key: Any, ordering_token: list[Any]
) -> Any:
    """The rows of all tensors of a group of one: its own."""
    _alone(int(group_size))
    return _rows(input)


OTHERS: list[Op] = [alias("CollectiveBcastSend", collective_reduce)]
