"""`tensorflow.python.tools.inspect_checkpoint`: prints what is in a checkpoint."""

from __future__ import annotations

import re
import sys
from typing import Any

import numpy as np

from coldframe.errors import near_names
from coldframe.tf1.train.checkpoint_utils import NewCheckpointReader


def print_tensors_in_checkpoint_file(
    file_name: Any, tensor_name: str, all_tensors: bool, all_tensor_names: bool = False,
    count_exclude_pattern: str = "",
) -> None:  # fmt: skip
    """Print names, shapes or values of tensors, and the number of parameters.

    Args:
        file_name: the checkpoint's prefix.
        tensor_name: a tensor to print; where it is empty, and nothing else is asked for, all names and shapes.
        all_tensors, all_tensor_names: print all values, or all names.
        count_exclude_pattern: a regular expression of names that are not counted.
    """
    reader = NewCheckpointReader(file_name)
    shapes = reader.get_variable_to_shape_map()
    types = reader.get_variable_to_dtype_map()
    lines: list[Any] = []
    if all_tensors or all_tensor_names:
        for name in sorted(shapes):
            lines.append(f"tensor: {name} ({types[name].name}) {shapes[name]}")
            if all_tensors:
                lines.append(reader.get_tensor(name))
    elif not tensor_name:
        lines.append(reader.debug_string().decode("utf-8", "ignore"))
    elif tensor_name not in shapes:
        near = near_names(tensor_name, shapes)
        sys.stdout.write(f"Tensor {tensor_name} not found in checkpoint{f'; {near}' if near else ''}\n")
        return
    else:
        lines.append(f"tensor: {tensor_name} ({types[tensor_name].name}) {shapes[tensor_name]}")
        lines.append(reader.get_tensor(tensor_name))
    sizes = {n: int(np.prod(s)) for n, s in shapes.items()}
    left = [n for n in sizes if count_exclude_pattern and re.match(count_exclude_pattern, n)]
    if left:
        excluded = sum(sizes[n] for n in left)
        lines.append(
            f"# Excluding {len(left)} tensors ({excluded} params) that match {count_exclude_pattern} when counting."
        )
    lines.append(f"# Total number of params: {sum(n for name, n in sizes.items() if name not in left)}")
    sys.stdout.write("".join(f"{line}\n" for line in lines))


__all__ = ["print_tensors_in_checkpoint_file"]
