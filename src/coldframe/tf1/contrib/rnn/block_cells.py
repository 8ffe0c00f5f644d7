"""Cells whose step is one node: faster than those of several, with other variables."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant
from coldframe.tf1.init_ops import Constant
from coldframe.tf1.layers.base import InputSpec, Layer
from coldframe.tf1.nn.cells import LayerRNNCell, LSTMStateTuple, depth_of
from coldframe.tf1.shape_ops import zeros


class LSTMBlockCell(LayerRNNCell):
    """An LSTM with a step of one node (``LSTMBlockCell``); its variables fit `LSTMCell`'s checkpoints.

    Args:
        num_units: of the cell.
        forget_bias: added to the forget gate.
        cell_clip: the greatest absolute value of the cell's state.
        use_peephole: let gates see the cell's state.
    """

    def __init__(
        self, num_units: int, forget_bias: float = 1.0, cell_clip: float | None = None, use_peephole: bool = False,
        dtype: Any = None, reuse: Any = None, name: str | None = "lstm_cell",
    ) -> None:  # fmt: skip
        super().__init__(_reuse=reuse, dtype=dtype, name=name)
        self._num_units, self._forget_bias, self._use_peephole = num_units, forget_bias, use_peephole
        self._cell_clip = -1.0 if cell_clip is None else cell_clip
        self.input_spec = InputSpec(ndim=2)

    @property
    def state_size(self) -> Any:
        return LSTMStateTuple(self._num_units, self._num_units)

    @property
    def output_size(self) -> int:
        return self._num_units

    def build(self, input_shape: Any) -> None:
        n = self._num_units
        self._kernel = self.add_variable("kernel", shape=[depth_of(input_shape) + n, 4 * n])
        self._bias = self.add_variable("bias", shape=[4 * n], initializer=Constant(0.0))
        if self._use_peephole:
            self._peepholes = [self.add_variable(f"w_{gate}_diag", shape=[n]) for gate in "ifo"]
        self.built = True

    def call(self, inputs: Any, state: Any) -> Any:
        if len(state) != 2:
            raise ValueError("Expecting state to be a tuple with length 2.")
        diagonals = self._peepholes if self._use_peephole else [zeros([self._num_units], inputs.dtype)] * 3
        made = raw.LSTMBlockCell(
            inputs, state[0], state[1], self._kernel, *diagonals, self._bias, forget_bias=self._forget_bias,
            cell_clip=self._cell_clip, use_peephole=self._use_peephole,
        )  # fmt: skip
        return made[6], LSTMStateTuple(made[1], made[6])


class GRUBlockCell(LayerRNNCell):
    """A GRU with a step of one node (``GRUBlockCell``)."""

    _names = ("w_ru", "b_ru", "w_c", "b_c")

    def __init__(
        self, num_units: int | None = None, cell_size: int | None = None, reuse: Any = None, name: str = "gru_cell",
        dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(_reuse=reuse, dtype=dtype, name=name)
        units = num_units if cell_size is None else cell_size
        if units is None:
            raise ValueError("num_units must be specified")
        self._cell_size = units
        self.input_spec = InputSpec(ndim=2)

    @property
    def state_size(self) -> int:
        return self._cell_size

    @property
    def output_size(self) -> int:
        return self._cell_size

    def build(self, input_shape: Any) -> None:
        n = self._cell_size
        depth = depth_of(input_shape) + n
        w_ru, b_ru, w_c, b_c = self._names
        self._gate_kernel = self.add_variable(w_ru, shape=[depth, 2 * n])
        self._gate_bias = self.add_variable(b_ru, shape=[2 * n], initializer=Constant(1.0))
        self._candidate_kernel = self.add_variable(w_c, shape=[depth, n])
        self._candidate_bias = self.add_variable(b_c, shape=[n], initializer=Constant(0.0))
        self.built = True

    def call(self, inputs: Any, state: Any) -> Any:
        made = raw.GRUBlockCell(
            inputs, state, self._gate_kernel, self._candidate_kernel, self._gate_bias, self._candidate_bias
        )
        return made[3], made[3]


class GRUBlockCellV2(GRUBlockCell):
    """A GRU with a step of one node; its variables fit `GRUCell`'s checkpoints."""

    _names = ("gates/kernel", "gates/bias", "candidate/kernel", "candidate/bias")


class LSTMBlockFusedCell(Layer):
    """An LSTM that runs over all steps as one node (``BlockLSTM``).

    It is called with inputs ``[time, batch, n]`` and gives outputs ``[time, batch, units]`` and the last state.
    """

    def __init__(
        self, num_units: int, forget_bias: float = 1.0, cell_clip: float | None = None, use_peephole: bool = False,
        reuse: Any = None, dtype: Any = None, name: str | None = "lstm_fused_cell",
    ) -> None:  # fmt: skip
        super().__init__(_reuse=reuse, name=name, dtype=dtype)
        self._num_units, self._forget_bias, self._use_peephole = num_units, forget_bias, use_peephole
        self._cell_clip = -1.0 if cell_clip is None else cell_clip
        self.input_spec = InputSpec(ndim=3)

    @property
    def num_units(self) -> int:
        """The number of units."""
        return self._num_units

    def build(self, input_shape: Any) -> None:
        n = self._num_units
        self._kernel = self.add_variable("kernel", shape=[depth_of(input_shape) + n, 4 * n])
        self._bias = self.add_variable("bias", shape=[4 * n], initializer=Constant(0.0))
        if self._use_peephole:
            self._peepholes = [self.add_variable(f"w_{gate}_diag", shape=[n]) for gate in "ifo"]
        self.built = True

    def call(self, inputs: Any, initial_state: Any = None, dtype: Any = None, sequence_length: Any = None) -> Any:
        from coldframe.tf1.index_ops import gather_nd
        from coldframe.tf1.shape_ops import concat, expand_dims, stack

        steps, batch = raw.Shape(inputs)[0], raw.Shape(inputs)[1]
        if initial_state is None:
            start = zeros(stack([batch, self._num_units]), dtype or inputs.dtype)
            initial_state = (start, start)
        longest = raw.Cast(steps if sequence_length is None else raw.Max(sequence_length, [0]), DstT="int64")
        diagonals = self._peepholes if self._use_peephole else [zeros([self._num_units], inputs.dtype)] * 3
        made = raw.BlockLSTM(
            longest, inputs, initial_state[0], initial_state[1], self._kernel, *diagonals, self._bias,
            forget_bias=self._forget_bias, cell_clip=self._cell_clip, use_peephole=self._use_peephole,
        )  # fmt: skip
        cells, outputs = made[1], made[6]
        if sequence_length is None:
            return outputs, LSTMStateTuple(cells[-1], outputs[-1])
        length = raw.Cast(sequence_length, DstT="int32")
        inside = raw.Less(expand_dims(raw.Range(0, steps, 1), 1), expand_dims(length, 0))
        outputs = outputs * expand_dims(raw.Cast(inside, DstT=outputs.dtype), 2)
        at = stack([length, raw.Range(0, batch, 1)], axis=1)  # the state after step 0 is the initial one
        last = [
            gather_nd(concat([expand_dims(first, 0), values], 0), at)
            for first, values in zip(initial_state, (cells, outputs), strict=True)
        ]
        return outputs, LSTMStateTuple(*last)


class FusedRNNCellAdaptor:
    """A cell that is called like `LSTMBlockFusedCell`."""

    def __init__(self, cell: Any, use_dynamic_rnn: bool = False) -> None:
        self._cell, self._dynamic = cell, use_dynamic_rnn

    def __call__(
        self, inputs: Any, initial_state: Any = None, dtype: Any = None, sequence_length: Any = None, scope: Any = None
    ) -> Any:
        from coldframe.tf1.nn.rnn import dynamic_rnn

        return dynamic_rnn(self._cell, inputs, sequence_length, initial_state, dtype, time_major=True, scope=scope)


class TimeReversedFusedRNN:
    """A cell like `LSTMBlockFusedCell` that goes backwards in time."""

    def __init__(self, cell: Any) -> None:
        self._cell = cell

    def __call__(
        self, inputs: Any, initial_state: Any = None, dtype: Any = None, sequence_length: Any = None, scope: Any = None
    ) -> Any:
        def turned(x: Any) -> Any:
            if sequence_length is None:
                return raw.ReverseV2(x, constant([0]))
            return raw.ReverseSequence(x, sequence_length, seq_dim=0, batch_dim=1)

        outputs, state = self._cell(
            turned(inputs), initial_state=initial_state, dtype=dtype, sequence_length=sequence_length
        )
        return turned(outputs), state


__all__ = [
    "FusedRNNCellAdaptor", "GRUBlockCell", "GRUBlockCellV2", "LSTMBlockCell", "LSTMBlockFusedCell",
    "TimeReversedFusedRNN",
]  # fmt: skip
