"""Writing SavedModels: a meta graph (or several) with the variables' values, assets and signatures.

::

    <export_dir>/variables/variables.{index,data-*}     written first
    <export_dir>/assets/*
    <export_dir>/saved_model.pb                         written last: without it the folder is no SavedModel
"""

from __future__ import annotations

import os
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from coldframe.formats import messages
from coldframe.formats.saved_model import write_saved_model
from coldframe.tf1.framework.convert import constant_value
from coldframe.tf1.framework.graph import get_default_graph
from coldframe.tf1.framework.tensor import Operation
from coldframe.tf1.meta_graph import export_meta_graph
from coldframe.tf1.saved_model import names as c
from coldframe.tf1.saved_model.signatures import build_tensor_info, predict_signature_def
from coldframe.tf1.train.saver import Saver


class SavedModelBuilder:
    """Puts a SavedModel together, and writes it with `save`.

    Args:
        export_dir: the folder, which must be empty or not exist.

    Raises:
        AssertionError: the folder is not empty.
    """

    def __init__(self, export_dir: Any) -> None:
        self._folder = Path(os.fspath(export_dir))
        if self._folder.exists() and (not self._folder.is_dir() or any(self._folder.iterdir())):
            raise AssertionError(
                f"Export directory {self._folder} already exists, and isn't empty. Please choose a different export "
                "directory, or delete all the contents of the specified directory."
            )
        self._meta_graphs: list[Any] = []
        self._assets: dict[str, bytes] = {}
        self._has_variables = False

    def add_meta_graph_and_variables(
        self,
        sess: Any,
        tags: Sequence[str],
        signature_def_map: Mapping[str, Any] | None = None,
        assets_collection: Any = None,
        legacy_init_op: Any = None,
        clear_devices: bool = False,
        main_op: Any = None,
        strip_default_attrs: bool = False,
        saver: Saver | None = None,
        assets_list: Any = None,
        init_op: Any = None,
        train_op: Any = None,
    ) -> None:
        """Add the session's graph, and write its variables.

        Args:
            sess: the session.
            tags: what tells this meta graph from others, such as ``[tag_constants.SERVING]``.
            signature_def_map: signatures by key.
            assets_collection, assets_list: tensors with the names of files that belong to the model.
            legacy_init_op, main_op, init_op: the operation to run once after loading; they mean the same.
            clear_devices, strip_default_attrs: as `tf.train.export_meta_graph`.
            saver: what writes the variables; a new Saver of all variables otherwise.
            train_op: the operation of a training step.

        Raises:
            AssertionError: variables have been written before; use `add_meta_graph`.
        """
        if self._has_variables:
            raise AssertionError(
                "Graph state including variables and assets has already been saved. Please invoke `add_meta_graph()` "
                "instead."
            )
        with sess.graph.as_default():
            chosen = self._saver(saver)
            self._folder.mkdir(parents=True, exist_ok=True)
            variables = self._folder / c.VARIABLES_DIRECTORY
            variables.mkdir(exist_ok=True)
            chosen.save(sess, os.fspath(variables / c.VARIABLES_FILENAME), write_meta_graph=False, write_state=False)
            self._has_variables = True
            self._add(tags, signature_def_map, assets_collection or assets_list, legacy_init_op or main_op or init_op,
                      train_op, clear_devices, strip_default_attrs, chosen)  # fmt: skip

    def add_meta_graph(
        self,
        tags: Sequence[str],
        signature_def_map: Mapping[str, Any] | None = None,
        assets_collection: Any = None,
        legacy_init_op: Any = None,
        clear_devices: bool = False,
        main_op: Any = None,
        strip_default_attrs: bool = False,
        saver: Saver | None = None,
        assets_list: Any = None,
        init_op: Any = None,
        train_op: Any = None,
    ) -> None:
        """Add the default graph, whose variables are those that were written already.

        Raises:
            AssertionError: none have been written; use `add_meta_graph_and_variables` first.
        """
        if not self._has_variables:
            raise AssertionError(
                "Graph state including variables and assets has not been saved yet. Please invoke "
                "`add_meta_graph_and_variables()` first."
            )
        self._add(tags, signature_def_map, assets_collection or assets_list, legacy_init_op or main_op or init_op,
                  train_op, clear_devices, strip_default_attrs, self._saver(saver))  # fmt: skip

    @staticmethod
    def _saver(saver: Saver | None) -> Saver:
        if saver is not None:
            return saver
        return Saver(sharded=True, allow_empty=True)

    def _add(
        self, tags: Sequence[str], signatures: Mapping[str, Any] | None, assets: Any, init_op: Any, train_op: Any,
        clear_devices: bool, strip_default_attrs: bool, saver: Saver,
    ) -> None:  # fmt: skip
        if init_op is not None and not isinstance(init_op, Operation):
            raise TypeError(f"init op needs to be an Operation: {init_op!r}")
        info = messages.MetaGraphDef.MetaInfoDef(tags=[tags] if isinstance(tags, str) else list(tags))
        meta = export_meta_graph(
            meta_info_def=info, saver_def=saver.as_saver_def(), clear_devices=clear_devices,
            strip_default_attrs=strip_default_attrs,
        )  # fmt: skip
        for key, signature in (signatures or {}).items():
            for named in (*signature.inputs.values(), *signature.outputs.values()):
                _require_tensor_info(named, key)
            meta.signature_def[key].MergeFromString(signature.SerializeToString())
        for key, op in ((c.MAIN_OP_KEY, init_op), (c.TRAIN_OP_KEY, train_op)):
            if op is not None:
                meta.collection_def[key].node_list.value[:] = [op.name]
        for tensor in assets or ():
            self._add_asset(meta, tensor)
        self._meta_graphs.append(meta)

    def _add_asset(self, meta: Any, tensor: Any) -> None:
        value = constant_value(tensor)
        if value is None:
            raise ValueError(f"the tensor of an asset must be a constant with the file's path: {tensor}")
        path = Path(os.fsdecode(value.item() if hasattr(value, "item") else value))
        name, number = path.name, 0
        data = path.read_bytes()
        while name in self._assets and self._assets[name] != data:
            number += 1
            name = f"{path.name}_{number}"
        self._assets[name] = data
        asset = messages.AssetFileDef(filename=name)
        asset.tensor_info.name = tensor.name
        meta.asset_file_def.append(asset)
        packed = messages.message_class("google.protobuf.Any")(
            type_url="type.googleapis.com/tensorflow.AssetFileDef", value=asset.SerializeToString()
        )
        meta.collection_def[c.ASSETS_KEY].any_list.value.append(packed)

    def save(self, as_text: bool = False) -> str:
        """Write the SavedModel, and return the path of its file."""
        write_saved_model(self._folder, self._meta_graphs, assets=self._assets, as_text=as_text)
        name = c.SAVED_MODEL_FILENAME_PBTXT if as_text else c.SAVED_MODEL_FILENAME_PB
        return os.fspath(self._folder / name)


def _require_tensor_info(info: Any, key: str) -> None:
    if not info.WhichOneof("encoding"):
        raise AssertionError(f"an input or output of signature `{key}` names no tensor: {info}")
    if not info.dtype:
        raise AssertionError(f"an input or output of signature `{key}` has no dtype: {info}")


def simple_save(
    session: Any,
    export_dir: Any,
    inputs: Mapping[str, Any],
    outputs: Mapping[str, Any],
    legacy_init_op: Any = None,
) -> None:
    """Write a session as a SavedModel for serving, with one signature.

    Args:
        session: the session.
        export_dir: the folder, which must be empty or not exist.
        inputs, outputs: tensors by key.
        legacy_init_op: an operation to run once after loading.
    """
    from coldframe.tf1.framework.keys import GraphKeys

    builder = SavedModelBuilder(export_dir)
    with session.graph.as_default():
        signature = predict_signature_def(inputs, outputs)
    builder.add_meta_graph_and_variables(
        session, [c.SERVING], {c.DEFAULT_SERVING_SIGNATURE_DEF_KEY: signature},
        assets_collection=session.graph.get_collection(GraphKeys.ASSET_FILEPATHS), main_op=legacy_init_op,
        clear_devices=True,
    )  # fmt: skip
    builder.save()


def main_op() -> Operation:
    """Return an operation that initializes variables and tables: what serving runs after loading."""
    from coldframe.tf1.dependencies import group
    from coldframe.tf1.framework.keys import GraphKeys
    from coldframe.tf1.variable_lists import global_variables_initializer, local_variables_initializer

    tables = get_default_graph().get_collection(GraphKeys.TABLE_INITIALIZERS)
    return group(global_variables_initializer(), local_variables_initializer(), group(*tables, name="init_all_tables"))


Builder = SavedModelBuilder
builder: Final = types.SimpleNamespace(SavedModelBuilder=SavedModelBuilder)

__all__ = ["Builder", "SavedModelBuilder", "build_tensor_info", "builder", "main_op", "simple_save"]
