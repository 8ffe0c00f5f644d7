"""Tables that programs change, as part of checkpoints: all keys and all values, under two names.

A `tf.train.Saver` saves them under ``NAME-keys`` and ``NAME-values``, a `tf.train.Checkpoint` under the table's key,
which ends with ``table`` in the place of ``VARIABLE_VALUE``. Restoring replaces all entries.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from coldframe.tf1.framework.build import raw, raw_op
from coldframe.tf1.framework.graph import Graph, colocate_with, control_dependencies, name_scope
from coldframe.tf1.lookup import MutableHashTable
from coldframe.tf1.train.saveables import SaveableObject, SaveSpec

TABLE: Final = "table"
"""What an object graph calls the value of a table."""
PARTS: Final = ("-keys", "-values")


class TableSaveable(SaveableObject):
    """What a Saver does with a table.

    Args:
        table: the table.
        name: under which it is saved.
    """

    def __init__(self, table: MutableHashTable, name: str) -> None:
        handle = table.resource_handle
        specs = [
            SaveSpec(tensor, "", name + part, tensor.dtype, handle.device)
            for tensor, part in zip(table.export(), PARTS, strict=True)
        ]
        super().__init__(table, specs, name)

    def restore(self, restored_tensors: Sequence[Any], restored_shapes: Sequence[Any] | None) -> Any:
        del restored_shapes
        handle = self.op.resource_handle
        with name_scope(f"{self.name}_table_restore", None), colocate_with(handle.op):
            return raw_op("LookupTableImportV2", [handle, *restored_tensors], {}, None)


def exported(table: MutableHashTable) -> Sequence[Any]:
    """Return the tensors of all its keys and values, made once."""
    if table._exported is None:
        with _outside(table):
            table._exported = table.export()
    found: Sequence[Any] = table._exported
    return found


def fill(session: Any, table: MutableHashTable, keys: Any, values: Any) -> None:
    """Replace the entries that a session's table has; the first time, this adds nodes to the graph.

    Raises:
        RuntimeError: they are to be added, and the graph is finalized.
    """
    if table._importing is None:
        with _outside(table), name_scope(f"{table.name}_table_restore", None):
            fed = [raw.Placeholder(dtype=d) for d in (table.key_dtype, table.value_dtype)]
            table._importing = fed, raw_op("LookupTableImportV2", [table.resource_handle, *fed], {}, None)
    fed, op = table._importing
    session.run(op, dict(zip(fed, (keys, values), strict=True)))


@contextlib.contextmanager
def _outside(table: MutableHashTable) -> Iterator[None]:
    graph: Graph = table.resource_handle.graph
    with graph.as_default(), graph.name_scope(None), control_dependencies(None):
        yield


__all__: list[str] = []
