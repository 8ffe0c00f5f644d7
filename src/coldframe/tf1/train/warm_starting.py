"""`tf.train.warm_start`: variables start from a checkpoint; rows of a changed vocabulary find their old places.

::

    new vocabulary          old vocabulary      w in the checkpoint           w starts as
    0 apple                 0 pear              0 [1, 2]                      0 backup_initializer
    1 pear           ─►     1 plum       ─►     1 [3, 4]               ─►     1 [1, 2]
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from coldframe.dtypes import int64
from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.graph import get_default_graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.init_ops import zeros_initializer
from coldframe.tf1.partitions import PartitionedVariable
from coldframe.tf1.train.checkpoint_utils import _as_operation, _existing_prefix, init_from_checkpoint
from coldframe.tf1.train.saveables import checkpoint_name, saveables_of
from coldframe.tf1.variables import Variable


class VocabInfo(NamedTuple):
    """The vocabulary that rows (or columns) of a variable belong to, now and in the checkpoint.

    Attributes:
        new_vocab, new_vocab_size, num_oov_buckets: the file, its lines, and how many rows follow for other words.
        old_vocab, old_vocab_size: the file of the checkpoint; -1 for all of its lines.
        backup_initializer: gives values for what is new; zeros otherwise.
        axis: 0 for rows, 1 for columns.
    """

    new_vocab: str
    new_vocab_size: int
    num_oov_buckets: int
    old_vocab: str
    old_vocab_size: int = -1
    backup_initializer: Any = None
    axis: int = 0


def warm_start(
    ckpt_to_initialize_from: Any,
    vars_to_warm_start: Any = ".*",
    var_name_to_vocab_info: Mapping[str, VocabInfo] | None = None,
    var_name_to_prev_var_name: Mapping[str, str] | None = None,
) -> None:
    """Let the initializers of variables read their values from a checkpoint.

    Args:
        ckpt_to_initialize_from: a checkpoint's path, or a folder for its latest.
        vars_to_warm_start: a regular expression for names of trainable variables; a list of those for any variables; a
            list of variables or their names; None for those with a vocabulary only.
        var_name_to_vocab_info: the vocabularies, by name of variable.
        var_name_to_prev_var_name: names in the checkpoint, where they differ, by name of variable.

    Raises:
        ValueError: a variable is not in the checkpoint, has another shape there, or a name in a mapping is not used.
    """
    vocabularies, previous = dict(var_name_to_vocab_info or {}), dict(var_name_to_prev_var_name or {})
    prefix = _existing_prefix(ckpt_to_initialize_from)
    used: set[str] = set()
    grouped = _grouped(vars_to_warm_start)
    for name in vocabularies:
        if name not in grouped:
            found = _by_name(GraphKeys.GLOBAL_VARIABLES, name)
            if found:
                grouped[name] = found
    plain: dict[str, Any] = {}
    for name, variables in grouped.items():
        source = previous.get(name, name)
        used.add(name)
        if name in vocabularies:
            _with_vocabulary(variables, prefix, source, vocabularies[name])
        else:
            whole = len(variables) == 1 and variables[0]._get_save_slice_info() is None
            plain[source] = variables[0] if whole else variables
    init_from_checkpoint(prefix, plain)
    for what, mapping in (("var_name_to_prev_var_name", previous), ("var_name_to_vocab_info", vocabularies)):
        unused = set(mapping) - used
        if unused:
            raise ValueError(
                f"You provided the following variables in {what} that were not used: {unused}.  Perhaps you misspelled "
                f"them?  Here is the list of viable variable names: {list(grouped)}"
            )


# --- which variables --------------------------------------------------------------------------------------------
def _grouped(wanted: Any) -> dict[str, list[Any]]:
    """Return the variables to start, by the name they are saved under; the parts of one together."""
    graph = get_default_graph()
    if wanted is None:
        chosen: list[Any] = []
    elif isinstance(wanted, str):
        chosen = graph.get_collection(GraphKeys.TRAINABLE_VARIABLES, wanted)
    elif isinstance(wanted, Sequence):
        chosen = [v for item in wanted for v in _chosen(item)]
    else:
        raise ValueError("If `vars_to_warm_start` is a list, it must be all `Variable` or all `str`.")
    grouped: dict[str, list[Any]] = {}
    for v in dict.fromkeys(chosen):
        grouped.setdefault(checkpoint_name(v), []).append(v)
    return grouped


def _chosen(item: Any) -> Iterable[Any]:
    if isinstance(item, str):
        return get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES, item)
    if isinstance(item, (PartitionedVariable, list, tuple)):
        return list(item)
    if isinstance(item, Variable):
        return [item]
    raise ValueError("If `vars_to_warm_start` is a list, it must be all `Variable` or all `str`.")


def _by_name(collection: str, name: str) -> list[Any]:
    return [v for v in get_default_graph().get_collection(collection) if checkpoint_name(v) == name]


# --- vocabularies -----------------------------------------------------------------------------------------------
def _with_vocabulary(variables: Sequence[Any], prefix: str, source: str, info: VocabInfo) -> None:
    for v in variables:
        shape = v.get_shape().as_list()
        part = v._get_save_slice_info()
        offset = part.var_offset[info.axis] if part is not None else 0
        value = _remapped(prefix, source, info, shape, offset, v.dtype)
        value.set_shape(TensorShape(shape))
        [saveable] = saveables_of({v.op.name: v})
        v._initializer = _as_operation(saveable.restore([value], None))
        v._initial_value = value


def _remapped(prefix: str, source: str, info: VocabInfo, shape: Sequence[int], offset: int, dtype: Any) -> Any:
    """Return a matrix: rows or columns of the checkpoint's in the order of the new vocabulary, the rest made anew."""
    initializer = info.backup_initializer or zeros_initializer()
    axis = info.axis
    known = max(0, min(shape[axis], info.new_vocab_size - offset))
    mapping, _ = raw_op(
        "GenerateVocabRemapping", [info.new_vocab, info.old_vocab],
        {"new_vocab_offset": offset, "num_new_vocab": known, "old_vocab_size": info.old_vocab_size}, None,
    )  # fmt: skip
    sizes = [known if i == axis else n for i, n in enumerate(shape)]
    nothing = constant(np.zeros(0, np.int64), int64)
    rows = mapping if axis == 0 else constant(np.arange(sizes[0], dtype=np.int64), int64)
    columns = mapping if axis == 1 else nothing
    is_new = raw_op("Cast", [raw_op("Less", [mapping, constant(0, int64)], {}, None)], {"DstT": int64}, None)
    absent = raw_op("Sum", [is_new, constant([0])], {}, None)
    count = raw_op("Mul", [absent, constant(sizes[1 - axis], int64)], {}, None)
    made = _initial(initializer, [int(np.prod(sizes)), 1], dtype)
    made = raw_op(
        "Slice", [made, constant([0, 0], int64), raw_op("Pack", [[count, constant(1, int64)]], {}, None)], {}, None
    )
    made = raw_op("Reshape", [made, constant([-1])], {}, None)
    loaded = raw_op(
        "LoadAndRemapMatrix", [prefix, source, rows, columns, made], {"num_rows": sizes[0], "num_cols": sizes[1]}, None
    )
    if known == shape[axis]:
        return loaded
    extra = _initial(initializer, [n - known if i == axis else n for i, n in enumerate(shape)], dtype)
    return raw_op("ConcatV2", [[loaded, extra], axis], {}, None)


def _initial(initializer: Any, shape: Sequence[int], dtype: Any) -> Any:
    return convert_to_tensor(initializer(list(shape), dtype=dtype))


__all__ = ["VocabInfo", "warm_start"]
