"""`tensorflow.python.tools.freeze_graph`: a graph file and a checkpoint become a graph of constants."""

from __future__ import annotations

import os
from typing import Any

from coldframe.checkpoint.reader import open_checkpoint
from coldframe.errors import ColdframeError
from coldframe.formats import messages
from coldframe.formats.graph_def import read_graph_def
from coldframe.ops import table
from coldframe.passes.variables import handle_name
from coldframe.tf1.framework.graph import Graph
from coldframe.tf1.graph_util import convert_variables_to_constants
from coldframe.tf1.importer import import_graph_def
from coldframe.tf1.meta_graph import import_meta_graph
from coldframe.tf1.platform.gfile import GFile
from coldframe.tf1.saved_model.loader import load
from coldframe.tf1.session import Session
from coldframe.tf1.train.checkpoint_management import checkpoint_exists


def freeze_graph(
    input_graph: Any, input_saver: Any, input_binary: bool, input_checkpoint: Any, output_node_names: str,
    restore_op_name: Any, filename_tensor_name: Any, output_graph: Any, clear_devices: bool, initializer_nodes: str,
    variable_names_whitelist: str = "", variable_names_denylist: str = "", input_meta_graph: Any = None,
    input_saved_model_dir: Any = None, saved_model_tags: str = "serve", checkpoint_version: int = 2,
    variable_names_blacklist: str = "",
) -> Any:  # fmt: skip
    """Write a graph in which variables are constants, and return its GraphDef.

    Args:
        input_graph: the path of a GraphDef; or of none, where there is a meta graph or a SavedModel.
        input_saver, restore_op_name, filename_tensor_name, checkpoint_version: accepted; they are not needed.
        input_binary: whether the graph is a binary file, rather than text.
        input_checkpoint: the checkpoint's prefix.
        output_node_names: names of nodes, with commas between.
        output_graph: the path to write to; nothing is written where it is empty.
        clear_devices: leave out where nodes are placed.
        initializer_nodes: names of nodes to run before, with commas between.
        variable_names_whitelist: replace only these variables; names with commas between.
        variable_names_denylist, variable_names_blacklist: replace all but these.
        input_meta_graph: the path of a meta graph, in place of `input_graph`.
        input_saved_model_dir: a SavedModel, in place of graph and checkpoint.
        saved_model_tags: which meta graph of it, tags with commas between.

    Raises:
        ValueError: an argument is missing, or there is no such checkpoint.
        OSError: there is no such graph file.
        AssertionError: an output does not exist; near names and likely outputs are listed.
        tf.errors.OpError: variables have no values, or files are damaged.
    """
    del input_saver, restore_op_name, filename_tensor_name, checkpoint_version
    if not input_saved_model_dir and not (input_checkpoint and checkpoint_exists(input_checkpoint)):
        raise ValueError(f"Input checkpoint '{input_checkpoint}' doesn't exist!")
    if not output_node_names:
        raise ValueError("You must supply the name of a node to --output_node_names.")
    with Graph().as_default() as graph, Session() as sess:
        if input_saved_model_dir:
            load(sess, _listed(saved_model_tags), input_saved_model_dir)
        elif input_meta_graph:
            import_meta_graph(input_meta_graph, clear_devices=True).restore(sess, input_checkpoint)
        else:
            _restored(sess, _graph_def(input_graph, input_binary), input_checkpoint, clear_devices)
        if initializer_nodes:
            sess.run(_listed(initializer_nodes))
        frozen = convert_variables_to_constants(
            sess, graph.as_graph_def(), _listed(output_node_names), _listed(variable_names_whitelist) or None,
            _listed(variable_names_denylist or variable_names_blacklist) or None,
        )  # fmt: skip
    if clear_devices:
        for node in frozen.node:
            node.device = ""
    if output_graph:
        with GFile(output_graph, "wb") as file:
            file.write(frozen.SerializeToString())
    return frozen


def _listed(names: str) -> list[str]:
    return [n for n in names.replace(" ", "").split(",") if n]


def _graph_def(path: Any, binary: bool) -> Any:
    if not path or not os.path.exists(path):
        raise OSError(f"Input graph file '{path}' does not exist!")
    if binary:
        with GFile(path, "rb") as file:
            return messages.parse("GraphDef", file.read(), where=f"in `{path}`")
    return read_graph_def(path)


def _restored(sess: Session, graph_def: Any, prefix: Any, clear_devices: bool) -> None:
    """Add a graph to the session's, and give those of its variables values that the checkpoint has."""
    if clear_devices:
        for node in graph_def.node:
            node.device = ""
    import_graph_def(graph_def, name="")
    ops = table()
    try:
        with open_checkpoint(prefix) as checkpoint:
            for op in sess.graph.get_operations():
                row = ops.get(op.type)
                if row is not None and row.variable and (name := handle_name(op.node)) in checkpoint:
                    sess.runtime.state.set(name, checkpoint[name])
    except ColdframeError as e:
        raise sess._as_tf_error(e) from e


__all__ = ["freeze_graph"]
