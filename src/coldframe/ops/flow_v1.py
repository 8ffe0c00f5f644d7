"""Control flow of the first generation: dataflow with dead tensors, and frames for loops.

::

    cond     Switch sends its input to one side, the other side is dead; Merge takes the one input that is alive
    while    Enter ─► Merge ─► Switch(LoopCond) ─┬► body ─► NextIteration ─► the Merge again
                                                 └► Exit

Which sides are dead and which iteration a tensor belongs to is the runtime's affair; the bodies pass tensors on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe.ops import inference_state
from coldframe.ops.table import alias, op

_FRAME = ("frame_name", "is_constant", "parallel_iterations")  # what the runtime reads off the node


@op("Switch", shape=inference_state.switch, control="switch")
def switch(xp: Any, data: Any, pred: Any) -> Any:
    """Its input, at output 0 where `pred` is false and at output 1 where it is true; the other one is dead."""
    return data, data


ref_switch = alias("RefSwitch", switch)


@op("_SwitchN", shape=inference_state.switch_n, control="switch")
def switch_n(xp: Any, data: Any, output_index: Any, *, num_outs: int) -> list[Any]:
    """Its input, at the output numbered `output_index`; out of range, at the last one. The others are dead."""
    return [data] * num_outs


@op("Merge", shape=inference_state.merge_branches, control="merge")
def merge(xp: Any, inputs: list[Any]) -> Any:
    """The one input that is alive, and its position."""
    return inputs[0], np.int32(0)


ref_merge = alias("RefMerge", merge)


@op("Enter", shape=inference_state.enter, control="enter", ignores=_FRAME)
def enter(xp: Any, data: Any) -> Any:
    """Its input, inside the loop's frame."""
    return data


ref_enter = alias("RefEnter", enter)


@op("Exit", shape=inference_state.leave, control="exit")
def exit_(xp: Any, data: Any) -> Any:
    """Its input, outside the loop's frame again."""
    return data


ref_exit = alias("RefExit", exit_)


@op("NextIteration", shape=inference_state.leave, control="next")
def next_iteration(xp: Any, data: Any) -> Any:
    """Its input, in the loop's next iteration."""
    return data


ref_next_iteration = alias("RefNextIteration", next_iteration)


@op("LoopCond", shape="-> []", control="loopcond")
def loop_cond(xp: Any, input: Any) -> Any:
    """Its input, which tells whether the loop goes on."""
    return input
