"""`tf.summary`: what programs log while they train, written to event files that TensorBoard shows."""

from __future__ import annotations

from typing import Any, Final

from coldframe.formats import messages
from coldframe.tf1.summary.nodes import (
    all_v2_summary_ops,
    audio,
    get_summary_description,
    histogram,
    image,
    merge,
    merge_all,
    scalar,
    tensor_summary,
    text,
)
from coldframe.tf1.summary.writer import FileWriter, FileWriterCache, summary_iterator

Event: Final[Any] = messages.Event
SessionLog: Final[Any] = messages.SessionLog
Summary: Final[Any] = messages.Summary
SummaryDescription: Final[Any] = messages.SummaryDescription
TaggedRunMetadata: Final[Any] = messages.TaggedRunMetadata

__all__ = [
    "Event", "FileWriter", "FileWriterCache", "SessionLog", "Summary", "SummaryDescription", "TaggedRunMetadata",
    "all_v2_summary_ops", "audio", "get_summary_description", "histogram", "image", "merge", "merge_all", "scalar",
    "summary_iterator", "tensor_summary", "text",
]  # fmt: skip
