"""Loading SavedModels of TensorFlow 1 into a session: graph, variables, assets, and what has to run once."""

from __future__ import annotations

import os
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from coldframe.errors import ColdframeError
from coldframe.formats.saved_model import read_saved_model
from coldframe.runtime.source import asset_files
from coldframe.tf1.meta_graph import _import_with_elements
from coldframe.tf1.saved_model import names as c


def load(sess: Any, tags: Sequence[str], export_dir: Any, import_scope: str | None = None, **saver_kwargs: Any) -> Any:
    """Load a SavedModel into a session, and return its ``MetaGraphDef``.

    Args:
        sess: the session; the graph is added to its graph.
        tags: which meta graph: exactly these tags.
        export_dir: the folder.
        import_scope: the prefix of all names.
        **saver_kwargs: as `tf.train.import_meta_graph`.

    Raises:
        OSError: there is no SavedModel.
        RuntimeError: it has no meta graph with these tags; it says which it has.
    """
    try:
        model = read_saved_model(os.fspath(export_dir))
    except ColdframeError as e:
        raise OSError(f"SavedModel file does not exist at: {export_dir}\n{e}") from e
    try:
        meta = model.meta_graph(tags)
    except ColdframeError as e:
        raise RuntimeError(f"MetaGraphDef associated with tags {tags} could not be found in SavedModel.\n{e}") from e
    with sess.graph.as_default():
        saver, _ = _import_with_elements(meta, import_scope=import_scope, **saver_kwargs)
        prefix = model.variables_prefix
        if saver is not None and prefix is not None:
            saver.restore(sess, os.fspath(prefix))
        _run_initializer(sess, meta, asset_files(model, meta), import_scope)
    return meta


def _run_initializer(sess: Any, meta: Any, assets: dict[str, Path], scope: str | None) -> None:
    def inside(name: str) -> str:
        return f"{scope}/{name}" if scope else name

    for key in (c.MAIN_OP_KEY, c.LEGACY_INIT_OP_KEY):
        if key in meta.collection_def:
            names = meta.collection_def[key].node_list.value
            if len(names) != 1:
                raise RuntimeError(f"Expected exactly one main op in : {list(names)}")
            feeds = {inside(tensor): os.fspath(path) for tensor, path in assets.items()}
            sess.run(sess.graph.get_operation_by_name(inside(names[0])), feeds)
            return


def maybe_saved_model_directory(export_dir: Any) -> bool:
    """Whether a folder holds a SavedModel's file."""
    folder = Path(os.fspath(export_dir))
    return any((folder / n).is_file() for n in (c.SAVED_MODEL_FILENAME_PB, c.SAVED_MODEL_FILENAME_PBTXT))


loader: Final = types.SimpleNamespace(load=load, maybe_saved_model_directory=maybe_saved_model_directory)

__all__ = ["load", "loader", "maybe_saved_model_directory"]
