"""Running recurrent cells over sequences: as a loop (`dynamic_rnn`), or unrolled (`static_rnn`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coldframe import dtypes
from coldframe.tf1.framework import nest
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.graph import control_dependencies, name_scope
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.tensor_array import TensorArray
from coldframe.tf1.variable_scope import variable_scope
from coldframe.tf1.while_loop import while_loop


def _swapped(x: Any) -> Any:
    """Return `x` with its first two axes exchanged."""
    rank = x.shape.ndims
    if rank is not None:
        return raw.Transpose(x, [1, 0, *range(2, rank)], name="transpose")
    rest = raw.Range(2, raw.Rank(x), 1)
    return raw.Transpose(x, raw.ConcatV2([[1, 0], rest], 0), name="transpose")


def dynamic_rnn(
    cell: Any, inputs: Any, sequence_length: Any = None, initial_state: Any = None, dtype: Any = None,
    parallel_iterations: int | None = None, swap_memory: bool = False, time_major: bool = False, scope: Any = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Return the outputs of `cell` at every step, and its last state.

    Args:
        cell: an `RNNCell`.
        inputs: ``[batch, time, ...]``, or ``[time, batch, ...]`` where `time_major`; or nested such tensors.
        sequence_length: int ``[batch]``: beyond it outputs are zero and the state stays.
        initial_state: the state to start from; zeros of `dtype` otherwise.

    Raises:
        ValueError: neither a state nor a dtype is given, or the inputs' depth is not known.
    """
    with variable_scope(scope or "rnn"):
        flat = [convert_to_tensor(t) for t in nest.flatten(inputs)]
        if not time_major:
            flat = [_swapped(t) for t in flat]
        length = None
        if sequence_length is not None:
            length = convert_to_tensor(sequence_length)
            length = raw.Cast(length, DstT=dtypes.int32) if length.dtype is not dtypes.int32 else length
            if length.shape.ndims not in (None, 1):
                raise ValueError(
                    f"sequence_length must be a vector of length batch_size, but saw shape: {length.shape}"
                )
            length = raw.Identity(length, name="sequence_length")
        batch = _batch_size(flat[0])
        if initial_state is not None:
            state = initial_state
        else:
            if dtype is None:
                raise ValueError("If there is no initial_state, you must give a dtype.")
            state = cell.zero_state(batch, dtype)
        structured = nest.pack_sequence_as(inputs, flat)
        outputs, last = _loop(cell, structured, state, length, parallel_iterations or 32, dtype)
        if not time_major:
            outputs = nest.map_structure(_swapped, outputs)
        return outputs, last


def _batch_size(x: Any) -> Any:
    dims = x.static_shape.dims
    return dims[1] if dims is not None and dims[1] is not None else raw.Shape(x)[1]


def _loop(cell: Any, inputs: Any, initial: Any, length: Any, parallel: int, dtype: Any) -> tuple[Any, Any]:
    flat = nest.flatten(inputs)
    for t in flat:
        if t.shape.ndims is not None and t.shape.ndims > 2 and None in t.shape.as_list()[2:]:
            raise ValueError(f"Input size (depth of inputs) must be accessible via shape inference, saw {t.shape}.")
    state = nest.map_structure(convert_to_tensor, initial)
    steps = flat[0].static_shape.dims
    static = steps[0] if steps else None
    with name_scope("dynamic_rnn", None):
        count = constant(static) if static is not None else raw.Shape(flat[0])[0]
        batch = _batch_size(flat[0])
        reads = [TensorArray(t.dtype, size=count).unstack(t) for t in flat]
        sizes = nest.flatten(cell.output_size)
        kinds = [dtype or nest.flatten(state)[0].dtype] * len(sizes)
        known = batch if isinstance(batch, int) else None
        writes = [
            TensorArray(d, size=count, element_shape=[known, *TensorShape(s).as_list()])
            for d, s in zip(kinds, sizes, strict=True)
        ]
        zeros = [_zeros([batch, *TensorShape(s).as_list()], d) for d, s in zip(kinds, sizes, strict=True)] \
            if length is not None else []  # fmt: skip
        longest = raw.Max(length, [0]) if length is not None else None

        def step(time: Any, written: Any, old: Any) -> Any:
            x = nest.pack_sequence_as(inputs, [a.read(time) for a in reads])
            output, new = cell(x, old)
            nest.assert_same_structure(old, new)
            out = nest.flatten(output)
            if length is not None:
                done = raw.GreaterEqual(time, length)
                out = [_kept(done, z, o) for z, o in zip(zeros, out, strict=True)]
                flat_new = [_kept(done, a, b) for a, b in zip(nest.flatten(old), nest.flatten(new), strict=True)]
                new = nest.pack_sequence_as(new, flat_new)
            return time + 1, [a.write(time, o) for a, o in zip(written, out, strict=True)], new

        limit = count if longest is None else raw.Minimum(count, raw.Maximum(1, longest))
        _, written, last = while_loop(
            lambda time, *_: raw.Less(time, limit), step, (constant(0, name="time"), writes, state),
            parallel_iterations=parallel, maximum_iterations=count,
        )  # fmt: skip
        stacked = []
        for a, size in zip(written, sizes, strict=True):
            value = a.stack()
            value.set_shape([static, known, *TensorShape(size).as_list()])
            stacked.append(value)
        return nest.pack_sequence_as(cell.output_size, stacked), last


def _zeros(dims: list[Any], dtype: Any) -> Any:
    from coldframe.tf1.array_ops import zeros

    return zeros(raw.Pack(dims) if any(hasattr(d, "op") for d in dims) else dims, dtype)


def _kept(done: Any, old: Any, new: Any) -> Any:
    """Return `old` in the rows whose sequence is over, `new` in the others."""
    if hasattr(new, "stack") or new.shape.ndims == 0:
        return new
    made = raw.Select(done, old, new)
    made.set_shape(new.shape)
    return made


def bidirectional_dynamic_rnn(
    cell_fw: Any, cell_bw: Any, inputs: Any, sequence_length: Any = None, initial_state_fw: Any = None,
    initial_state_bw: Any = None, dtype: Any = None, parallel_iterations: int | None = None,
    swap_memory: bool = False, time_major: bool = False, scope: Any = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Return the outputs and last states of a forward and a backward cell, as pairs."""
    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as fw:
            forward, last_forward = dynamic_rnn(
                cell_fw, inputs, sequence_length, initial_state_fw, dtype, parallel_iterations, swap_memory, time_major,
                scope=fw,
            )  # fmt: skip
        time, batch = (0, 1) if time_major else (1, 0)

        def turned(x: Any) -> Any:
            if sequence_length is not None:
                return raw.ReverseSequence(x, sequence_length, seq_dim=time, batch_dim=batch)
            return raw.ReverseV2(x, [time])

        with variable_scope("bw") as bw:
            backward, last_backward = dynamic_rnn(
                cell_bw, nest.map_structure(turned, inputs), sequence_length, initial_state_bw, dtype,
                parallel_iterations, swap_memory, time_major, scope=bw,
            )  # fmt: skip
        return (forward, nest.map_structure(turned, backward)), (last_forward, last_backward)


def static_rnn(
    cell: Any, inputs: Any, initial_state: Any = None, dtype: Any = None, sequence_length: Any = None, scope: Any = None
) -> tuple[list[Any], Any]:
    """Return the list of outputs of `cell` for the list `inputs` of ``[batch, n]``, and its last state."""
    if not isinstance(inputs, (list, tuple)):
        raise TypeError("inputs must be a sequence")
    if not inputs:
        raise ValueError("inputs must not be empty")
    with variable_scope(scope or "rnn") as opened:
        first = nest.flatten(inputs[0])[0]
        dims = first.static_shape.dims
        batch = dims[0] if dims is not None and dims[0] is not None else raw.Shape(first)[0]
        if initial_state is None and dtype is None:
            raise ValueError("If no initial_state is provided, dtype must be specified")
        state = cell.zero_state(batch, dtype) if initial_state is None else initial_state
        outputs = []
        length = None
        if sequence_length is not None:
            length = raw.Cast(sequence_length, DstT=dtypes.int32)
        for time, x in enumerate(inputs):
            if time > 0:
                opened.reuse_variables()
            output, new = cell(x, state)
            if length is not None:
                done = raw.GreaterEqual(constant(time), length)
                kept = [_kept(done, raw.ZerosLike(o), o) for o in nest.flatten(output)]
                output = nest.pack_sequence_as(output, kept)
                held = [_kept(done, a, b) for a, b in zip(nest.flatten(state), nest.flatten(new), strict=True)]
                new = nest.pack_sequence_as(new, held)
            outputs.append(output)
            state = new
        return outputs, state


def static_bidirectional_rnn(
    cell_fw: Any, cell_bw: Any, inputs: Any, initial_state_fw: Any = None, initial_state_bw: Any = None,
    dtype: Any = None, sequence_length: Any = None, scope: Any = None,
) -> tuple[list[Any], Any, Any]:  # fmt: skip
    """Return the joined outputs of a forward and a backward cell, and both last states."""
    with variable_scope(scope or "bidirectional_rnn"):
        with variable_scope("fw") as fw:
            forward, last_forward = static_rnn(cell_fw, inputs, initial_state_fw, dtype, sequence_length, scope=fw)
        with variable_scope("bw") as bw:
            turned = _turned(inputs, sequence_length)
            backward, last_backward = static_rnn(cell_bw, turned, initial_state_bw, dtype, sequence_length, scope=bw)
        backward = _turned(backward, sequence_length)
        joined = [raw.ConcatV2([f, b], 1, name="concat") for f, b in zip(forward, backward, strict=True)]
        return joined, last_forward, last_backward


def _turned(sequence: Any, lengths: Any) -> list[Any]:
    if lengths is None:
        return list(reversed(sequence))
    packed = raw.ReverseSequence(raw.Pack(list(sequence)), lengths, seq_dim=0, batch_dim=1)
    return list(raw.Unpack(packed, num=len(sequence)))


def static_state_saving_rnn(*args: Any, **kwargs: Any) -> Any:
    raise NotImplementedError("static_state_saving_rnn needs a state saver, which coldframe lacks; use dynamic_rnn")


def raw_rnn(
    cell: Any, loop_fn: Callable[..., Any], parallel_iterations: int | None = None, swap_memory: bool = False,
    scope: Any = None,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Return the emitted outputs as a TensorArray, the last state and loop state of a loop that `loop_fn` steers.

    Args:
        loop_fn: from (time, cell output, cell state, loop state) to (finished, next input, next state, what to emit,
            next loop state); at the first call all but time are None, and "what to emit" gives the emitted structure.
    """
    if not callable(loop_fn):
        raise TypeError("loop_fn must be a callable")
    with variable_scope(scope or "rnn"):
        time = constant(0, name="time")
        finished, x, state, emit, loop_state = loop_fn(time, None, None, None)
        state = nest.map_structure(convert_to_tensor, state)
        batch = raw.Shape(nest.flatten(x)[0])[0]
        structure = cell.output_size if emit is None else emit
        if emit is None:
            like = [_zeros([batch, *TensorShape(s).as_list()], nest.flatten(state)[0].dtype)
                    for s in nest.flatten(cell.output_size)]  # fmt: skip
        else:
            like = [_zeros_for(e, batch) for e in nest.flatten(emit)]
        arrays = [TensorArray(z.dtype, size=0, dynamic_size=True, element_shape=z.shape) for z in like]
        held = constant(0) if loop_state is None else loop_state

        def step(t: Any, done: Any, current: Any, written: Any, old: Any, carried: Any) -> Any:
            output, new = cell(current, old)
            following, next_x, next_state, emitted, next_loop = loop_fn(
                t + 1, output, new, None if loop_state is None else carried
            )
            values = [_kept(done, z, e) for z, e in zip(like, nest.flatten(emitted), strict=True)]
            kept = [_kept(done, a, b) for a, b in zip(nest.flatten(old), nest.flatten(next_state), strict=True)]
            arrays_now = [a.write(t, v) for a, v in zip(written, values, strict=True)]
            return (
                t + 1, raw.LogicalOr(following, done), next_x, arrays_now, nest.pack_sequence_as(old, kept),
                carried if next_loop is None else next_loop,
            )  # fmt: skip

        loop = while_loop(
            lambda t, done, *_: raw.LogicalNot(raw.All(done, raw.Range(0, raw.Rank(done), 1))), step,
            (time, finished, x, arrays, state, held), parallel_iterations=parallel_iterations or 32,
        )  # fmt: skip
        emitted = nest.pack_sequence_as(structure, loop[3])
        return emitted, loop[4], None if loop_state is None else loop[5]


def _zeros_for(emit: Any, batch: Any) -> Any:
    emit = convert_to_tensor(emit)
    dims = emit.static_shape.dims
    if dims is not None and None not in dims:
        return _zeros([batch, *dims], emit.dtype)
    with control_dependencies(None):
        return raw.ZerosLike(emit)


__all__ = [
    "bidirectional_dynamic_rnn", "dynamic_rnn", "raw_rnn", "static_bidirectional_rnn", "static_rnn",
    "static_state_saving_rnn",
]  # fmt: skip
