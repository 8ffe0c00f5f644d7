"""Writing graphs to files."""

from __future__ import annotations

import os
from typing import Any

from coldframe.formats import messages
from coldframe.formats.graph_def import write_message
from coldframe.tf1.framework.graph import Graph


def write_graph(graph_or_graph_def: Any, logdir: Any, name: str, as_text: bool = True) -> str:
    """Write a graph to a file in one step, and return its path.

    Args:
        graph_or_graph_def: a Graph or a GraphDef.
        logdir: the folder; it is made.
        name: the file's name.
        as_text: write protobuf's text format.
    """
    if isinstance(graph_or_graph_def, Graph):
        message = graph_or_graph_def.as_graph_def()
    else:
        message = messages.GraphDef()
        message.MergeFromString(graph_or_graph_def.SerializeToString())
    folder = os.fspath(logdir)
    os.makedirs(folder or ".", exist_ok=True)
    path: str = os.path.join(folder, name)
    write_message(path, message, as_text=as_text)
    return path


__all__ = ["write_graph"]
