"""Summary nodes: a serialized `Summary` for each run, of one tensor or of several summaries.

A node is named after its summary, `family/name`, within the scopes around it. Its tag, under which TensorBoard shows
it, is that full name behind the family: `loss`, `scope/loss`, and `family/scope/family/loss`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from coldframe import dtypes
from coldframe.formats import messages
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import get_default_graph, name_scope
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.framework.tensor import Tensor
from coldframe.tf1.platform import logging

_ILLEGAL: Final = re.compile(r"[^-/A-Za-z0-9_.]")


def _clean(name: str) -> str:
    """Return a name with the characters replaced that node names cannot have."""
    clean = _ILLEGAL.sub("_", name).lstrip("/")
    if clean != name:
        logging.info("Summary name %s is illegal; using %s instead.", name, clean)
    return clean


@contextlib.contextmanager
def _scope(name: str, family: str | None, values: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """Open the scope of a summary; yield its tag and the name for its node."""
    name = _clean(name)
    family = None if family is None else _clean(family)
    with name_scope(f"{family}/{name}" if family else name, values=values) as scope:
        full = scope.rstrip("/")
        yield (f"{family}/{full}" if family else full), scope


def _collect(summary: Tensor, collections: Sequence[Any] | None) -> Tensor:
    for key in [GraphKeys.SUMMARIES] if collections is None else collections:
        summary.graph.add_to_collection(key, summary)
    return summary


def scalar(name: str, tensor: Any, collections: Sequence[Any] | None = None, family: str | None = None) -> Tensor:
    """Make a summary of one number.

    Args:
        name: the name of the node, and of the curve.
        tensor: a number of any real dtype, shape [].
        collections: graph collections to add the summary to; by default `GraphKeys.SUMMARIES`.
        family: what summaries are shown together under.

    Returns:
        A serialized `Summary`: string, shape [].
    """
    with _scope(name, family, [tensor]) as (tag, node):
        made = raw.ScalarSummary(tag, tensor, name=node)
    return _collect(made, collections)


def histogram(name: str, values: Any, collections: Sequence[Any] | None = None, family: str | None = None) -> Tensor:
    """Make a summary of how numbers are distributed. Running it fails where one of them is not finite.

    Args:
        name: the name of the node, and of the histogram.
        values: numbers of any real dtype and shape.
        collections, family: as for `scalar`.
    """
    with _scope(name, family, [values]) as (tag, node):
        made = raw.HistogramSummary(tag, values, name=node)
    return _collect(made, collections)


def image(
    name: str, tensor: Any, max_outputs: int = 3, collections: Sequence[Any] | None = None, family: str | None = None
) -> Tensor:
    """Make a summary of images, tagged `<tag>/image/0` and so on; `<tag>/image` where only one can be shown.

    Args:
        name: the name of the node.
        tensor: [batch, height, width, channels] of uint8, or of floats that are scaled; 1, 3 or 4 channels.
        max_outputs: how many images of the batch to show.
        collections, family: as for `scalar`.
    """
    with _scope(name, family, [tensor]) as (tag, node):
        made = raw.ImageSummary(tag, tensor, max_images=max_outputs, name=node)
    return _collect(made, collections)


def audio(
    name: str,
    tensor: Any,
    sample_rate: Any,
    max_outputs: int = 3,
    collections: Sequence[Any] | None = None,
    family: str | None = None,
) -> Tensor:
    """Make a summary of sounds, tagged as images are.

    Args:
        name: the name of the node.
        tensor: float32 from -1 to 1, [batch, frames, channels] or [batch, frames].
        sample_rate: frames per second, float32, shape [].
        max_outputs: how many sounds of the batch to show.
        collections, family: as for `scalar`.
    """
    with _scope(name, family, [tensor]) as (tag, node):
        rate = convert_to_tensor(sample_rate, dtypes.float32, "sample_rate")
        made = raw.AudioSummaryV2(tag, tensor, rate, max_outputs=max_outputs, name=node)
    return _collect(made, collections)


def text(name: str, tensor: Any, collections: Sequence[Any] | None = None) -> Tensor:
    """Make a summary of text.

    Args:
        name: the name of the node.
        tensor: strings of any shape; TensorBoard shows them as Markdown.
        collections: as for `scalar`.

    Raises:
        ValueError: they are no strings.
    """
    if isinstance(tensor, Tensor) and tensor.dtype is not dtypes.string:
        raise ValueError(f"Expected tensor {tensor.name} to have dtype string, got {tensor.dtype}")
    metadata = messages.SummaryMetadata(plugin_data={"plugin_name": "text"})
    return tensor_summary(name, tensor, summary_metadata=metadata, collections=collections)


def tensor_summary(
    name: str,
    tensor: Any,
    summary_description: str | None = None,
    collections: Sequence[Any] | None = None,
    summary_metadata: Any = None,
    family: str | None = None,
    display_name: str | None = None,
) -> Tensor:
    """Make a summary of a whole tensor.

    Args:
        name: the name of the node.
        tensor: any tensor.
        summary_description: text about it, as Markdown.
        collections, family: as for `scalar`.
        summary_metadata: a `SummaryMetadata` that says which plugin of TensorBoard shows it.
        display_name: the name to show instead of the tag.
    """
    metadata = messages.SummaryMetadata()
    if summary_metadata is not None:
        metadata.MergeFromString(summary_metadata.SerializeToString())
    if display_name is not None:
        metadata.display_name = display_name
    if summary_description is not None:
        metadata.summary_description = summary_description
    serialized = messages.serialize(metadata, where=f"for summary `{name}`")
    with _scope(name, family, [tensor]) as (tag, node):
        made = raw.TensorSummaryV2(tag, tensor, serialized, name=node)
    return _collect(made, collections)


def merge(inputs: Sequence[Any], collections: Sequence[Any] | None = None, name: str | None = None) -> Tensor:
    """Make one summary of several; running it fails where two have the same tag.

    Args:
        inputs: summaries.
        collections: graph collections to add it to; none by default.
        name: the name of the node.
    """
    inputs = list(inputs)
    if not inputs:
        raise ValueError("List argument 'inputs' to 'MergeSummary' Op with length 0 shorter than minimum length 1.")
    name = _clean(name) if name else name
    with name_scope(name, "Merge", inputs):
        made = raw.MergeSummary(inputs, name=name)
    return _collect(made, collections or ())


def merge_all(key: Any = GraphKeys.SUMMARIES, scope: str | None = None, name: str | None = None) -> Tensor | None:
    """Make one summary of all in a collection of the default graph; None if there are none.

    Args:
        key: the collection.
        scope: only those whose name begins so; a regular expression.
        name: the name of the node.
    """
    found = get_default_graph().get_collection(key, scope)
    return merge(found, name=name) if found else None


def get_summary_description(node_def: Any) -> Any:
    """Return the `SummaryDescription` that a node of op `TensorSummary` carries as JSON.

    Raises:
        ValueError: the node is of another op.
    """
    if node_def.op != "TensorSummary":
        raise ValueError(f"Can't get_summary_description on {node_def.op}")
    from google.protobuf import json_format  # slow to import, rarely needed

    description: Any = messages.SummaryDescription()
    return json_format.Parse(node_def.attr["description"].s.decode() or "{}", description)


def all_v2_summary_ops() -> list[Any]:
    """Return the summary ops of TensorFlow 2's kind in the default graph: there are none."""
    return []
