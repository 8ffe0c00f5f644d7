"""Meta graphs: a graph with the collections and the Saver that a program needs to go on with it.

::

    MetaGraphDef { meta_info_def    the ops that are used, tags
                   graph_def        with what is known of shapes
                   saver_def        names of the nodes that save and restore
                   collection_def   variables (VariableDef), train_op (names), summaries, queue_runners, ... }

After tensorflow/core/protobuf/meta_graph.proto; `collections` turns collections into messages and back.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from coldframe.errors import NotFoundError
from coldframe.formats import messages
from coldframe.formats.meta_graph import read_meta_graph, write_meta_graph
from coldframe.graph.signatures import known, signature
from coldframe.ops import table
from coldframe.tf1.collection_defs import add_collection, restore_collections
from coldframe.tf1.framework.graph import Graph, get_default_graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.importer import import_graph_def
from coldframe.tf1.op_defs import as_ir, op_list
from coldframe.tf1.scoped_names import strip_scope

_UNBOUND: Final = "$unbound_inputs_"
_FRAME_ATTR: Final = "frame_name"


# --- out --------------------------------------------------------------------------------------------------------
def export_meta_graph(
    filename: str | os.PathLike[str] | None = None,
    meta_info_def: Any = None,
    graph_def: Any = None,
    saver_def: Any = None,
    collection_list: Iterable[str] | None = None,
    as_text: bool = False,
    graph: Graph | None = None,
    export_scope: str | None = None,
    clear_devices: bool = False,
    clear_extraneous_savers: bool = False,
    strip_default_attrs: bool = False,
    save_debug_info: bool = False,
    *,
    unbound_inputs_col_name: str = "unbound_inputs",
) -> Any:
    """Return a ``MetaGraphDef`` of a graph (the default one), and write it to `filename` if that is given.

    Args:
        filename: the file.
        meta_info_def: a ``MetaInfoDef`` to start from.
        graph_def: a ``GraphDef`` to use in place of the graph's own.
        saver_def: the ``SaverDef`` of the Saver that belongs to it.
        collection_list: names of the collections to include; all of them otherwise.
        as_text: write protobuf's text format.
        graph: the graph.
        export_scope: export only the nodes of this name scope, under names without it; what they read from outside is
            listed in the collection `unbound_inputs_col_name`.
        clear_devices: leave out where nodes are placed.
        clear_extraneous_savers: leave out the nodes of other Savers than that of `saver_def`.
        strip_default_attrs: leave out attributes that have their defaults, so that older TensorFlows read the graph.
        save_debug_info: accepted for compatibility; where nodes were made is not recorded.
        unbound_inputs_col_name: see `export_scope`.
    """
    del save_debug_info
    chosen = graph if graph is not None else get_default_graph()
    meta = messages.MetaGraphDef()
    if meta_info_def is not None:
        meta.meta_info_def.MergeFromString(meta_info_def.SerializeToString())
    nodes = _parsed(messages.GraphDef, graph_def) if graph_def is not None else chosen.as_graph_def(add_shapes=True)
    dropped = _other_savers(chosen, saver_def) if clear_extraneous_savers else ()
    unbound = _scoped(nodes, export_scope or "", dropped, clear_devices)
    if strip_default_attrs:
        _strip_defaults(nodes)
    meta.meta_info_def.stripped_default_attrs = strip_default_attrs
    meta.graph_def.CopyFrom(nodes)
    if not meta.meta_info_def.HasField("stripped_op_list"):
        meta.meta_info_def.stripped_op_list.CopyFrom(op_list(chosen.ir))
    if saver_def is not None:
        meta.saver_def.MergeFromString(saver_def.SerializeToString())
    keys = chosen.get_all_collection_keys() if collection_list is None else list(collection_list)
    for key in keys:
        items = chosen.get_collection(key)
        if key == GraphKeys.SAVERS and clear_extraneous_savers:
            items = [s for s in items if saver_def is not None and s.saver_def == meta.saver_def]
        add_collection(meta, key, items, export_scope or "", dropped)
    if unbound:
        meta.collection_def[unbound_inputs_col_name].bytes_list.value.extend(n.encode() for n in unbound)
    if filename is not None:
        write_meta_graph(filename, meta, as_text=as_text)
    return meta


def _parsed(kind: Any, message: Any) -> Any:
    made = kind()
    made.MergeFromString(message if isinstance(message, bytes) else message.SerializeToString())
    return made


def _scoped(graph_def: Any, scope: str, dropped: Iterable[str], clear_devices: bool) -> list[str]:
    """Keep the nodes of a scope, under names without it; return the names of inputs from outside."""
    unbound: dict[str, None] = {}
    gone = tuple(dropped)
    if scope or gone:
        kept = [n for n in graph_def.node if n.name.startswith(scope) and not n.name.startswith(gone or "\0")]
        nodes = [_parsed(messages.NodeDef, n) for n in kept]
        del graph_def.node[:]
        graph_def.node.extend(nodes)
    for node in graph_def.node if scope or clear_devices else ():
        if scope:
            _rename(node, scope, unbound)
        if clear_devices:
            node.device = ""
    return list(unbound)


def _rename(node: Any, scope: str, unbound: dict[str, None]) -> None:
    for i, text in enumerate(node.input):
        mark = "^" if text.startswith("^") else ""
        if text[len(mark) :].startswith(scope):
            node.input[i] = strip_scope(text, scope)
        else:
            node.input[i] = f"{mark}{_UNBOUND}{text[len(mark) :]}"
            unbound[node.input[i]] = None
    node.name = strip_scope(node.name, scope)
    if "_class" in node.attr:
        places = [s.decode() for s in node.attr["_class"].list.s]
        inside = [strip_scope(s, scope).encode() for s in places if s.partition("@")[2].startswith(scope)]
        del node.attr["_class"].list.s[:]
        node.attr["_class"].list.s.extend(inside)
    row = table().get(node.op)
    if row is not None and row.control == "enter":
        frame = node.attr[_FRAME_ATTR].s.decode()
        node.attr[_FRAME_ATTR].s = strip_scope(frame, scope).encode()


def _strip_defaults(graph_def: Any) -> None:
    from coldframe.graph.convert import from_attr

    for nodes in (graph_def.node, *(f.node_def for f in graph_def.library.function)):
        for node in nodes:
            if not known(node.op):
                continue
            for name, attr in signature(node.op).attrs.items():
                if attr.has_default and name in node.attr and _equal(from_attr(node.attr[name], name), as_ir(attr)):
                    del node.attr[name]


def _equal(a: Any, b: Any) -> bool:
    if hasattr(a, "array") and hasattr(b, "array"):
        return a.dtype is b.dtype and a.shape == b.shape and bool((a.array == b.array).all())
    return bool(a == b)


def _other_savers(graph: Graph, saver_def: Any) -> list[str]:
    """Return the scopes of the graph's Savers other than that of `saver_def`, each with a trailing slash."""
    ours = saver_def.restore_op_name.rpartition("/")[0] if saver_def is not None else None
    scopes: dict[str, None] = {}
    for op in graph.get_operations():
        row = table().get(op.type)
        if row is not None and row.role in ("save", "restore"):
            scope = op.name.rpartition("/")[0]
            if scope and scope != ours and f"{scope}/restore_all" in graph.ir:
                scopes[f"{scope}/"] = None
    return list(scopes)


# --- in ---------------------------------------------------------------------------------------------------------
def import_meta_graph(
    meta_graph_or_file: Any, clear_devices: bool = False, import_scope: str | None = None, **kwargs: Any
) -> Any:
    """Add a meta graph to the default graph, with its collections, and return its Saver.

    Args:
        meta_graph_or_file: a ``MetaGraphDef``, or the path of a ``.meta`` file.
        clear_devices: leave out where nodes are placed.
        import_scope: the prefix of all names.
        **kwargs: `input_map`, `return_elements` and others of `import_scoped_meta_graph`.

    Returns:
        A Saver, or None where the graph has no variables.

    Raises:
        OSError: there is no such file.
        ValueError, TypeError, tf.errors.OpError: as `tf.import_graph_def`.
    """
    return _import_with_elements(meta_graph_or_file, clear_devices, import_scope, **kwargs)[0]


def _import_with_elements(
    meta_graph_or_file: Any, clear_devices: bool = False, import_scope: str | None = None, **kwargs: Any
) -> tuple[Any, Any]:
    from coldframe.tf1.train.saver import Saver

    meta = _meta_graph(meta_graph_or_file)
    variables, elements, scope = _import(meta, clear_devices, import_scope, **kwargs)
    if meta.HasField("saver_def"):
        return Saver(saver_def=meta.saver_def, name=scope or None), elements
    graph = kwargs.get("graph") or get_default_graph()
    saveable = [
        item for key in (GraphKeys.GLOBAL_VARIABLES, GraphKeys.SAVEABLE_OBJECTS)
        for item in graph.get_collection(key, f"{re.escape(scope)}/" if scope else None)
    ]  # fmt: skip
    if not saveable and not variables:
        return None, elements
    with graph.as_default():
        return Saver(), elements


def import_scoped_meta_graph(
    meta_graph_or_file: Any,
    clear_devices: bool = False,
    graph: Graph | None = None,
    import_scope: str | None = None,
    input_map: Mapping[str, Any] | None = None,
    unbound_inputs_col_name: str | None = "unbound_inputs",
    restore_collections_predicate: Callable[[str], bool] = lambda key: True,
) -> dict[str, Any]:
    """Add a meta graph to a graph (the default one) and return its variables, by their names in it.

    Args:
        meta_graph_or_file, clear_devices, import_scope: as `import_meta_graph`.
        graph: the graph to add to.
        input_map: tensors to use in place of the meta graph's, by their names in it.
        unbound_inputs_col_name: the collection that lists what it needs `input_map` for.
        restore_collections_predicate: tells which collections to restore.
    """
    return _import(
        _meta_graph(meta_graph_or_file), clear_devices, import_scope, graph=graph, input_map=input_map,
        unbound_inputs_col_name=unbound_inputs_col_name, restore_collections_predicate=restore_collections_predicate,
    )[0]  # fmt: skip


def _import(
    meta: Any,
    clear_devices: bool,
    import_scope: str | None,
    graph: Graph | None = None,
    input_map: Mapping[str, Any] | None = None,
    unbound_inputs_col_name: str | None = "unbound_inputs",
    restore_collections_predicate: Callable[[str], bool] = lambda key: True,
    return_elements: Iterable[str] | None = None,
) -> tuple[dict[str, Any], Any, str]:
    """Return the variables by name, the elements asked for, and the scope that names were put under."""
    chosen = graph if graph is not None else get_default_graph()
    _check_bound(meta, input_map, unbound_inputs_col_name)
    graph_def = meta.graph_def
    if clear_devices:
        graph_def = _parsed(messages.GraphDef, graph_def)
        for node in graph_def.node:
            node.device = ""
    with chosen.as_default():
        scope = chosen.unique_name(import_scope, mark_as_used=False) if import_scope else ""
        elements = import_graph_def(
            graph_def, input_map, return_elements, name=import_scope or scope,
            producer_op_list=meta.meta_info_def.stripped_op_list,
        )  # fmt: skip
        variables = restore_collections(
            meta, scope, lambda key: key != unbound_inputs_col_name and restore_collections_predicate(key)
        )
    return variables, elements, scope


def _meta_graph(source: Any) -> Any:
    if isinstance(source, messages.MetaGraphDef):
        return source
    if getattr(getattr(source, "DESCRIPTOR", None), "full_name", "") == "tensorflow.MetaGraphDef":
        return _parsed(messages.MetaGraphDef, source)
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"a meta graph is a MetaGraphDef or the path of a file, not {type(source).__name__}")
    try:
        return read_meta_graph(source)
    except NotFoundError as e:
        raise OSError(f"File does not exist. Received: {os.fspath(source)}.\n{e}") from e


def _check_bound(meta: Any, input_map: Mapping[str, Any] | None, collection: str | None) -> None:
    if not collection or collection not in meta.collection_def:
        return
    open_ = [v.decode() for v in meta.collection_def[collection].bytes_list.value]
    if open_ and not input_map:
        raise ValueError(f"Graph contains unbound inputs: {open_}. Must provide these inputs through input_map.")
    absent = [n for n in open_ if n.removeprefix("^") not in {k.removeprefix("^") for k in input_map or ()}]
    if absent:
        raise ValueError(f"Graph contains unbound inputs: {absent}. Must provide these inputs through input_map.")


__all__ = ["export_meta_graph", "import_meta_graph", "import_scoped_meta_graph"]
