"""Summaries: what training graphs log, as serialized ``Summary`` messages.

A histogram's buckets grow by a tenth from 1e-12 to 1e20, mirrored for negative numbers; only runs of buckets that hold
something are written, each gap between them as one empty bucket.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.errors import ColdframeError
from coldframe.formats import messages
from coldframe.ops.decode import serialized_tensor
from coldframe.ops.state import State
from coldframe.ops.table import op
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
_HOST = "ONNX has no messages"
_SUMMARY = "tensorflow.Summary"


def _written(summary: Any) -> Array:
    return np.array(messages.serialize(summary, where="for a summary"), object)


def _tag(tag: Array) -> Any:
    if np.ndim(tag):
        raise refuse("the tag of a summary is a scalar", found=f"shape {list(np.shape(tag))}")
    return np.asarray(tag, object).item()


@op("ScalarSummary", shape="-> []", host=_HOST)
def scalar_summary(xp: Any, tags: Any, values: Any) -> Any:
    """A number for each tag."""
    if np.shape(tags) != np.shape(values):
        raise refuse("one value per tag", expected=list(np.shape(tags)), found=list(np.shape(values)))
    summary = messages.message_class(_SUMMARY)()
    with np.errstate(over="ignore"):
        numbers = np.ravel(values).astype(np.float32)
    for tag, number in zip(np.ravel(tags).tolist(), numbers.tolist(), strict=True):
        summary.value.add(tag=tag, simple_value=number)
    return _written(summary)


@op("TensorSummaryV2", shape="-> []", host=_HOST)
def tensor_summary_v2(xp: Any, tag: Any, tensor: Any, serialized_summary_metadata: Any) -> Any:
    """A tensor, with a tag and a serialized SummaryMetadata that says how to show it."""
    summary = messages.message_class(_SUMMARY)()
    value = summary.value.add(tag=_tag(tag))
    value.tensor.ParseFromString(serialized_tensor(np.asarray(tensor)))
    value.metadata.CopyFrom(_parsed("tensorflow.SummaryMetadata", _tag(serialized_summary_metadata)))
    return _written(summary)


@op("TensorSummary", shape="-> []", host=_HOST, stateful=True, ignores=("description", "labels", "display_name"))
def tensor_summary(xp: Any, state: State, tensor: Any) -> Any:
    """A tensor under the name of the node; the kernel writes no description of it."""
    summary = messages.message_class(_SUMMARY)()
    summary.value.add(node_name=state.node).tensor.ParseFromString(serialized_tensor(np.asarray(tensor)))
    return _written(summary)


@op("MergeSummary", shape="-> []", host=_HOST)
def merge_summary(xp: Any, inputs: list[Any]) -> Any:
    """All values of several summaries; no tag may occur twice."""
    merged, seen = messages.message_class(_SUMMARY)(), set()
    for data in itertools.chain.from_iterable(np.ravel(i).tolist() for i in inputs):
        for value in _parsed(_SUMMARY, data).value:
            if value.tag and value.tag in seen:
                raise refuse("a tag occurs twice in the summaries to merge", found=repr(value.tag))
            seen.add(value.tag)
            merged.value.append(value)
    return _written(merged)


def _parsed(kind: str, data: bytes) -> Any:
    try:
        return messages.parse(messages.message_class(kind), data, where="in a string")
    except ColdframeError as e:
        raise refuse("a string is not the message it should be", expected=kind, found=e.what) from e


# --- histograms -------------------------------------------------------------------------------------------------
@op("HistogramSummary", shape="-> []", host=_HOST)
def histogram_summary(xp: Any, tag: Any, values: Any) -> Any:
    """How many values fall into each bucket, with their extremes, sum and sum of squares."""
    x = np.ravel(values).astype(np.float64)
    for wrong, what in ((np.isnan(x), "NaN"), (np.isinf(x), "an infinity")):
        if wrong.any():
            raise refuse(f"{what} in a histogram", expected="finite values", found=f"element {int(wrong.argmax())}")
    summary = messages.message_class(_SUMMARY)()
    histogram = summary.value.add(tag=_tag(tag)).histo
    histogram.min = x.min(initial=sys.float_info.max)
    histogram.max = x.max(initial=-sys.float_info.max)
    histogram.num = x.size
    # one after the other, as TensorFlow adds them; numpy's sum goes in pairs
    histogram.sum, histogram.sum_squares = (float(np.cumsum(np.r_[0.0, v])[-1]) for v in (x, x * x))
    for limit, count in _buckets(x):
        histogram.bucket_limit.append(limit)
        histogram.bucket.append(count)
    return _written(summary)


@functools.cache
def _limits() -> Array:
    """The upper ends of all buckets; a value at an end belongs to the next bucket."""
    ends, end = [], 1e-12
    while end < 1e20:
        ends.append(end)
        end *= 1.1
    ends.append(sys.float_info.max)
    return np.array([*(-v for v in reversed(ends)), 0.0, *ends])


def _buckets(x: Array) -> Iterator[tuple[float, int]]:
    limits = _limits()
    at = np.minimum(np.searchsorted(limits, x, "right"), len(limits) - 1)
    counts = np.bincount(at, minlength=len(limits)).tolist()
    for empty, run in itertools.groupby(zip(limits.tolist(), counts, strict=True), lambda b: not b[1]):
        buckets = list(run)
        yield from buckets[-1:] if empty else buckets
