"""Bidirectional networks on top of each other."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.nn.rnn import bidirectional_dynamic_rnn, static_bidirectional_rnn
from coldframe.tf1.shape_ops import concat
from coldframe.tf1.variable_scope import variable_scope


def _check(cells_fw: Any, cells_bw: Any) -> None:
    for name, cells in (("cells_fw", cells_fw), ("cells_bw", cells_bw)):
        if not isinstance(cells, list) or not cells:
            raise ValueError(f"{name} must be a list of RNNCells (one per layer) and must not be empty.")
    if len(cells_fw) != len(cells_bw):
        raise ValueError("Forward and Backward cells must have the same depth.")


def stack_bidirectional_dynamic_rnn(
    cells_fw: list[Any], cells_bw: list[Any], inputs: Any, initial_states_fw: Any = None, initial_states_bw: Any = None,
    dtype: Any = None, sequence_length: Any = None, parallel_iterations: int | None = None, time_major: bool = False,
    scope: Any = None, swap_memory: bool = False,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Return the outputs of the last of several bidirectional layers, and the last states of all, both ways."""
    _check(cells_fw, cells_bw)
    last_fw, last_bw, previous = [], [], inputs
    with variable_scope(scope or "stack_bidirectional_rnn"):
        for i, (fw, bw) in enumerate(zip(cells_fw, cells_bw, strict=True)):
            with variable_scope(f"cell_{i}"):
                outputs, (state_fw, state_bw) = bidirectional_dynamic_rnn(
                    fw, bw, previous, initial_state_fw=initial_states_fw[i] if initial_states_fw else None,
                    initial_state_bw=initial_states_bw[i] if initial_states_bw else None,
                    sequence_length=sequence_length, parallel_iterations=parallel_iterations, dtype=dtype,
                    swap_memory=swap_memory, time_major=time_major,
                )  # fmt: skip
                previous = concat(outputs, 2)
            last_fw.append(state_fw)
            last_bw.append(state_bw)
    return previous, tuple(last_fw), tuple(last_bw)


def stack_bidirectional_rnn(
    cells_fw: list[Any], cells_bw: list[Any], inputs: Any, initial_states_fw: Any = None, initial_states_bw: Any = None,
    dtype: Any = None, sequence_length: Any = None, scope: Any = None,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Return the list of outputs of the last of several bidirectional layers, and the last states, both ways."""
    _check(cells_fw, cells_bw)
    last_fw, last_bw, previous = [], [], inputs
    with variable_scope(scope or "stack_bidirectional_rnn"):
        for i, (fw, bw) in enumerate(zip(cells_fw, cells_bw, strict=True)):
            with variable_scope(f"cell_{i}"):
                previous, state_fw, state_bw = static_bidirectional_rnn(
                    fw, bw, previous, initial_states_fw[i] if initial_states_fw else None,
                    initial_states_bw[i] if initial_states_bw else None, dtype=dtype, sequence_length=sequence_length,
                )  # fmt: skip
            last_fw.append(state_fw)
            last_bw.append(state_bw)
    return previous, tuple(last_fw), tuple(last_bw)


__all__ = ["stack_bidirectional_dynamic_rnn", "stack_bidirectional_rnn"]
