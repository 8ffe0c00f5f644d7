"""Summaries of tensors and collections, named after what they show."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.framework.graph import get_default_graph
from coldframe.tf1.framework.keys import GraphKeys


def summarize_activation(op: Any) -> Any:
    """Return a histogram of an activation, and a scalar of how much of it is zero where it is a ReLU's."""
    from coldframe.tf1 import nn, summary

    if op.op.type in ("Relu", "Softplus", "Relu6"):
        summary.scalar(f"{op.op.name}/zeros", nn.zero_fraction(op))
    return summary.histogram(f"{op.op.name}/activation", op)


def summarize_tensor(tensor: Any, tag: str | None = None) -> Any:
    """Return a scalar or histogram summary of a tensor, by its rank."""
    from coldframe.tf1 import summary

    kind = summary.scalar if tensor.shape.ndims == 0 else summary.histogram
    return kind(tag or f"{tensor.op.name}_summary", tensor)


def summarize_tensors(tensors: Any, summarizer: Any = summarize_tensor) -> list[Any]:
    """Return a summary of each tensor."""
    return [summarizer(t) for t in tensors]


def summarize_collection(collection: str, name_filter: Any = None, summarizer: Any = summarize_tensor) -> list[Any]:
    """Return a summary of each item of a collection; of those whose name matches `name_filter`."""
    return summarize_tensors(get_default_graph().get_collection(collection, name_filter), summarizer)


def summarize_activations(name_filter: Any = None, summarizer: Any = summarize_activation) -> list[Any]:
    """Return a summary of each item of the collection ``ACTIVATIONS``."""
    return summarize_collection(GraphKeys.ACTIVATIONS, name_filter, summarizer)


def summarize_variables(name_filter: Any = None, summarizer: Any = summarize_tensor) -> list[Any]:
    """Return a summary of each trainable variable."""
    return summarize_collection(GraphKeys.TRAINABLE_VARIABLES, name_filter, summarizer)


def summarize_weights(name_filter: Any = None, summarizer: Any = summarize_tensor) -> list[Any]:
    """Return a summary of each item of the collection ``WEIGHTS``."""
    return summarize_collection(GraphKeys.WEIGHTS, name_filter, summarizer)


def summarize_biases(name_filter: Any = None, summarizer: Any = summarize_tensor) -> list[Any]:
    """Return a summary of each item of the collection ``BIASES``."""
    return summarize_collection(GraphKeys.BIASES, name_filter, summarizer)


__all__ = [
    "summarize_activation", "summarize_activations", "summarize_biases", "summarize_collection", "summarize_tensor",
    "summarize_tensors", "summarize_variables", "summarize_weights",
]  # fmt: skip
