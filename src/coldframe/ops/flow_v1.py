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

from coldframe.errors import UnsupportedError
from coldframe.ops import inference_state
from coldframe.ops.table import alias, op

_FRAME = ("frame_name", "is_constant", "parallel_iterations")  # what the runtime reads off the node


@op("Switch", shape=inference_state.switch, control="switch")
def switch(xp: Any, data: Any, pred: Any) -> Any:
    """Its input, at output 0 where `pred` is false and at output 1 where it is true; the other one is dead."""
    return data, data


@switch.gradient
def _(g: Any, op: Any, dfalse: Any, dtrue: Any) -> Any:
    pred = op.inputs[1]
    if pred.op.type == loop_cond.name:
        _loop(g, op)
    if dfalse is None or dtrue is None:
        return None, None
    # The switches see to it that only one of both is alive: zeros may be constants, which always are.
    sides = [g.Switch(dfalse, pred)[0], g.Switch(dtrue, pred)[1]]
    return g.Merge(sides, name=None if op.context is None else "cond_grad")[0], None


ref_switch = alias("RefSwitch", switch)


@op("_SwitchN", shape=inference_state.switch_n, control="switch")
def switch_n(xp: Any, data: Any, output_index: Any, *, num_outs: int) -> list[Any]:
    """Its input, at the output numbered `output_index`; out of range, at the last one. The others are dead."""
    return [data] * num_outs


@op("Merge", shape=inference_state.merge_branches, control="merge")
def merge(xp: Any, inputs: list[Any]) -> Any:
    """The one input that is alive, and its position."""
    return inputs[0], np.int32(0)


@merge.gradient
def _(g: Any, op: Any, dy: Any, _: Any) -> Any:
    if any(t.op.type in (next_iteration.name, ref_next_iteration.name) for t in op.inputs):
        _loop(g, op)
    pred = getattr(op.inputs[0].op.context, "pred", None)
    if pred is not None:  # a `tf.cond` of this program: what is merged are the sides for false and for true
        return g.Switch(dy, pred, name="cond_grad")
    taken = op.outputs[1]
    return [g.Switch(dy, g.Equal(taken, i))[1] for i in range(len(op.inputs))]


def _loop(g: Any, op: Any, *dys: Any) -> Any:
    """The rule of what only loops have."""
    raise UnsupportedError(
        "gradients do not flow through the loops of V1 control flow",
        where=f"for `{op.name}` ({op.type})",
        hint="make the loop with `tf.while_loop`, which makes one that can be differentiated",
    )


ref_merge = alias("RefMerge", merge)


@op("Enter", shape=inference_state.enter, control="enter", ignores=_FRAME)
def enter(xp: Any, data: Any) -> Any:
    """Its input, inside the loop's frame."""
    return data


enter.gradient(_loop)


ref_enter = alias("RefEnter", enter)


@op("Exit", shape=inference_state.leave, control="exit")
def exit_(xp: Any, data: Any) -> Any:
    """Its input, outside the loop's frame again."""
    return data


exit_.gradient(_loop)


ref_exit = alias("RefExit", exit_)


@op("NextIteration", shape=inference_state.leave, control="next")
def next_iteration(xp: Any, data: Any) -> Any:
    """Its input, in the loop's next iteration."""
    return data


next_iteration.gradient(_loop)


ref_next_iteration = alias("RefNextIteration", next_iteration)


@op("LoopCond", no_gradient=True, shape="-> []", control="loopcond")
def loop_cond(xp: Any, input: Any) -> Any:
    """Its input, which tells whether the loop goes on."""
    return input
