"""Reading checkpoints by name, and starting variables from them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Final

from coldframe.checkpoint.reader import Checkpoint, find_prefix, open_checkpoint
from coldframe.dtypes import DType
from coldframe.errors import ColdframeError, near_names
from coldframe.tf1 import errors
from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.graph import device
from coldframe.tf1.framework.tensor import Operation
from coldframe.tf1.partitions import PartitionedVariable
from coldframe.tf1.train.checkpoint_management import latest_checkpoint
from coldframe.tf1.train.saveables import saveables_of
from coldframe.tf1.variable_scope import get_variable_store
from coldframe.tf1.variables import Variable

_ENUM_NAMES: Final = {"float32": "float", "float64": "double", "float16": "half"}


class CheckpointReader:
    """A checkpoint that is open for reading, with TensorFlow's methods.

    Args:
        filepattern: the checkpoint's path.

    Raises:
        tf.errors.NotFoundError: there is no such checkpoint; near names are suggested.
        tf.errors.DataLossError: it is damaged, or no checkpoint.
    """

    def __init__(self, filepattern: Any) -> None:
        self._checkpoint = _opened(os.fspath(filepattern))

    def has_tensor(self, tensor_str: str) -> bool:
        """Whether it has a tensor of that name."""
        return tensor_str in self._checkpoint

    def get_tensor(self, tensor_str: str) -> Any:
        """Return a tensor's value.

        Raises:
            tf.errors.NotFoundError: there is none; near names are suggested.
        """
        if tensor_str not in self._checkpoint:
            near = near_names(tensor_str, self._checkpoint.specs)
            raise errors.NotFoundError(
                None, None, f"Key {tensor_str} not found in checkpoint{f': {near}' if near else ''}"
            )
        try:
            value = self._checkpoint.read(tensor_str)
        except ColdframeError as e:
            raise errors.from_coldframe(e) from e
        if value.ndim == 0:
            return value[()]
        return value.copy()

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """Return the shapes by name."""
        return {n: [int(d or 0) for d in s.shape] for n, s in self._checkpoint.specs.items()}

    def get_variable_to_dtype_map(self) -> dict[str, DType]:
        """Return the dtypes by name."""
        return {n: s.dtype for n, s in self._checkpoint.specs.items()}

    def debug_string(self) -> bytes:
        """Return a line per tensor: name, dtype, shape."""
        specs = self._checkpoint.specs.items()
        return "".join(f"{n} ({_enum_name(s.dtype)}) [{','.join(map(str, s.shape))}]\n" for n, s in specs).encode()


def _enum_name(dtype: DType) -> str:
    return "DT_" + _ENUM_NAMES.get(dtype.name, dtype.name).upper()


def NewCheckpointReader(filepattern: Any) -> CheckpointReader:
    """Open a checkpoint for reading, by its path."""
    return CheckpointReader(filepattern)


def load_checkpoint(ckpt_dir_or_file: Any) -> CheckpointReader:
    """Open a checkpoint for reading: by its path, or the latest one of a folder."""
    return CheckpointReader(_prefix(ckpt_dir_or_file))


def load_variable(ckpt_dir_or_file: Any, name: str) -> Any:
    """Return the value that a checkpoint has under `name`, with or without ``:0``."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name.removesuffix(":0"))


def list_variables(ckpt_dir_or_file: Any) -> list[tuple[str, list[int]]]:
    """Return names and shapes of what a checkpoint has, sorted by name."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def _prefix(path: Any) -> str:
    text = str(os.fspath(path))
    if os.path.isdir(text):
        latest = latest_checkpoint(text)
        if latest is None:
            raise ValueError(f"Couldn't find 'checkpoint' file or checkpoints in given directory {text}")
        return latest
    return text


def _opened(path: str) -> Checkpoint:
    try:
        return open_checkpoint(path)
    except ColdframeError as e:
        raise errors.from_coldframe(e) from e


# --- starting variables from a checkpoint -----------------------------------------------------------------------
def init_from_checkpoint(ckpt_dir_or_file: Any, assignment_map: Any) -> None:
    """Let the initializers of variables read their values from a checkpoint.

    Args:
        ckpt_dir_or_file: a checkpoint's path, or a folder for its latest.
        assignment_map: names in the checkpoint to: a variable, a list of the parts of one, a variable's name; or scopes
            to scopes, ``{"old/": "new/"}``, ``"/"`` being the root. A mapping, or a list of pairs.

    Raises:
        ValueError: a name is not in the checkpoint (near ones are suggested), a shape does not fit, or a scope is
            mapped to a tensor.
    """
    prefix = _existing_prefix(ckpt_dir_or_file)
    checkpoint = _opened(prefix)
    pairs = assignment_map.items() if isinstance(assignment_map, Mapping) else assignment_map
    for source, target in sorted(pairs, key=lambda p: str(p[0])):
        variable = _variable(target)
        if variable is not None:
            _start_from(variable, checkpoint, source)
        else:
            _start_scope(target, checkpoint, source)


def _existing_prefix(path: Any) -> str:
    prefix = _prefix(path)
    try:
        return find_prefix(prefix)
    except ColdframeError as e:
        raise errors.from_coldframe(e) from e


def _variable(target: Any) -> Any:
    """Return the variable, or parts of one, that an assignment names; None for a scope."""
    if isinstance(target, (Variable, PartitionedVariable)):
        return target
    if isinstance(target, (list, tuple)):
        if not all(isinstance(v, Variable) for v in target):
            raise TypeError(f"a list in the assignment map holds the parts of one variable, not {target!r}")
        return list(target)
    store = get_variable_store()
    found = store.variables.get(target)
    return store.partitioned.get(target) if found is None else found


def _start_scope(target: str, checkpoint: Checkpoint, source: str) -> None:
    scope = target[: target.rindex("/")] if "/" in target else ""
    if not source.endswith("/"):
        near = near_names(target, get_variable_store().variables)
        raise ValueError(
            f"Assignment map with scope only name {scope or target} should map to scope only {source}. "
            f"Should be 'scope/': 'other_scope/'.{f' Or, for a variable: {near}' if near else ''}"
        )
    store = get_variable_store()
    names = {n.partition("/part_")[0] for n in store.variables if not scope or n.startswith(f"{scope}/")}
    for name in sorted(names):
        rest = name[len(scope) :]
        if target != "/" and scope:
            rest = rest[1:]
        full = (rest if source == "/" else source + rest).rstrip("/")
        if full not in checkpoint:
            near = near_names(full, checkpoint.specs)
            raise ValueError(
                f"Tensor {full} ({rest} in {source}) is not found in {checkpoint.prefix} checkpoint"
                f"{f': {near}' if near else ''}"
            )
        variable = _variable(name)
        if variable is not None:
            _start_from(variable, checkpoint, full)


def _start_from(variable: Any, checkpoint: Checkpoint, name: str) -> None:
    if name not in checkpoint:
        near = near_names(name, checkpoint.specs)
        raise ValueError(
            f"Tensor {name} is not found in {checkpoint.prefix} checkpoint of {len(checkpoint)} tensors"
            f"{f': {near}' if near else ''}"
        )
    stored = [int(d or 0) for d in checkpoint.specs[name].shape]
    parts = [variable] if isinstance(variable, Variable) else list(variable)
    infos: list[Any] = [p._get_save_slice_info() for p in parts]
    wholes = {i.full_name for i in infos if i is not None}
    if len(wholes) > 1:
        raise ValueError(f"Slices must all be from the same tensor: {', '.join(sorted(wholes))}")
    for part in parts:
        info = part._get_save_slice_info() if not isinstance(variable, Variable) else None
        if not isinstance(variable, Variable) and info is None:
            raise ValueError(f"a list in the assignment map holds parts of one variable; {part.name} is a whole")
        shape = info.full_shape if info is not None else part.get_shape().as_list()
        if part.get_shape().is_fully_defined() and list(shape) != stored:
            raise ValueError(
                f"Shape of variable {part.name} ({tuple(shape)}) doesn't match with shape of tensor {name} ({stored}) "
                "from checkpoint reader."
            )
        set_initializer(part, checkpoint.prefix, name, info.spec if info is not None else "")


def set_initializer(variable: Variable, prefix: str, name: str, slice_spec: str = "") -> None:
    """Let the initializer of a variable read a tensor, or a slice of it, from a checkpoint."""
    with device(variable.device or None), device("/device:CPU:0"):
        attrs = {"dtypes": [variable.dtype]}
        [value] = raw_op("RestoreV2", [prefix, [name], [slice_spec]], attrs, "checkpoint_initializer")
    key = name if variable._get_save_slice_info() is None else variable.op.name
    [saveable] = saveables_of({key: variable})
    variable._initializer = _as_operation(saveable.restore([value], None))
    value.set_shape(variable.get_shape())
    variable._initial_value = value


def _as_operation(made: Any) -> Operation:
    op: Operation = made if isinstance(made, Operation) else made.op
    return op


__all__ = [
    "CheckpointReader", "NewCheckpointReader", "init_from_checkpoint", "list_variables", "load_checkpoint",
    "load_variable",
]  # fmt: skip
