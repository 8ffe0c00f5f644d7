"""Further recurrent cells: with layer normalisation, coupled gates, attention, convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coldframe.tf1 import init_ops
from coldframe.tf1.contrib.layers.normalization import layer_norm
from coldframe.tf1.framework import nest
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.lazy import MissingSymbol
from coldframe.tf1.nn.cells import LSTMStateTuple, RNNCell, depth_of
from coldframe.tf1.shape_ops import concat, expand_dims, reshape, split
from coldframe.tf1.variable_scope import get_variable, variable_scope


def linear(args: Any, size: int, bias: bool, bias_start: float = 0.0, kernel_initializer: Any = None) -> Any:
    """Return ``concat(args) @ kernel + bias`` with variables of the current scope."""
    values = args if isinstance(args, (list, tuple)) else [args]
    depth = sum(depth_of(v.shape) for v in values)
    kernel = get_variable("kernel", [depth, size], values[0].dtype, initializer=kernel_initializer)
    made = raw.MatMul(values[0] if len(values) == 1 else concat(values, 1), kernel)
    if not bias:
        return made
    start = init_ops.constant_initializer(bias_start, dtype=values[0].dtype)
    return raw.BiasAdd(made, get_variable("bias", [size], values[0].dtype, initializer=start))


class LayerNormBasicLSTMCell(RNNCell):
    """An LSTM with layer normalisation, and dropout of what is new in its state.

    Args:
        num_units: of the cell.
        forget_bias: added to the forget gate.
        layer_norm: whether to normalise, with `norm_gain` and `norm_shift` to start from.
        dropout_keep_prob: how much of the candidate state stays.
    """

    def __init__(
        self, num_units: int, forget_bias: float = 1.0, input_size: Any = None, activation: Any = None,
        layer_norm: bool = True, norm_gain: float = 1.0, norm_shift: float = 0.0, dropout_keep_prob: Any = 1.0,
        dropout_prob_seed: int | None = None, reuse: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(_reuse=reuse)
        self._num_units, self._forget_bias, self._layer_norm = num_units, forget_bias, layer_norm
        self._activation = activation or raw.Tanh
        self._norm_gain, self._norm_shift = norm_gain, norm_shift
        self._keep_prob, self._seed = dropout_keep_prob, dropout_prob_seed

    @property
    def state_size(self) -> Any:
        return LSTMStateTuple(self._num_units, self._num_units)

    @property
    def output_size(self) -> int:
        return self._num_units

    def _norm(self, x: Any, scope: str) -> Any:
        if not self._layer_norm:
            return x
        with variable_scope(scope):
            for name, value in (("gamma", self._norm_gain), ("beta", self._norm_shift)):
                get_variable(name, shape=x.shape[-1:], initializer=init_ops.constant_initializer(value), dtype=x.dtype)
        return layer_norm(x, reuse=True, scope=scope)

    def call(self, inputs: Any, state: Any) -> Any:
        from coldframe.tf1 import nn

        c, h = state
        gates = linear(concat([inputs, h], 1), 4 * self._num_units, not self._layer_norm)
        i, j, f, o = split(value=gates, num_or_size_splits=4, axis=1)
        i, j, f, o = (
            self._norm(v, s) for v, s in ((i, "input"), (j, "transform"), (f, "forget"), (o, "output"))
        )  # fmt: skip
        g = self._activation(j)
        if not isinstance(self._keep_prob, float) or self._keep_prob < 1:
            g = nn.dropout(g, self._keep_prob, seed=self._seed)
        new_c = self._norm(c * raw.Sigmoid(f + self._forget_bias) + raw.Sigmoid(i) * g, "state")
        new_h = self._activation(new_c) * raw.Sigmoid(o)
        return new_h, LSTMStateTuple(new_c, new_h)


class CoupledInputForgetGateLSTMCell(RNNCell):
    """An LSTM whose input gate is 1 less the forget gate, with peepholes, clipping and a projection if asked for."""

    def __init__(
        self, num_units: int, use_peepholes: bool = False, initializer: Any = None, num_proj: int | None = None,
        proj_clip: float | None = None, num_unit_shards: int = 1, num_proj_shards: int = 1, forget_bias: float = 1.0,
        state_is_tuple: bool = True, activation: Any = None, reuse: Any = None, layer_norm: bool = False,
        norm_gain: float = 1.0, norm_shift: float = 0.0,
    ) -> None:  # fmt: skip
        super().__init__(_reuse=reuse)
        if layer_norm:
            raise MissingSymbol("coldframe has no CoupledInputForgetGateLSTMCell with layer_norm")
        self._num_units, self._use_peepholes, self._initializer = num_units, use_peepholes, initializer
        self._num_proj, self._proj_clip, self._forget_bias = num_proj, proj_clip, forget_bias
        self._state_is_tuple, self._activation = state_is_tuple, activation or raw.Tanh

    @property
    def state_size(self) -> Any:
        out = self.output_size
        return LSTMStateTuple(self._num_units, out) if self._state_is_tuple else self._num_units + out

    @property
    def output_size(self) -> int:
        return self._num_proj or self._num_units

    def call(self, inputs: Any, state: Any) -> Any:
        from coldframe.tf1.clip_ops import clip_by_value

        n = self._num_units
        c, m = state if self._state_is_tuple else (state[:, :n], state[:, n:])
        gates = linear([inputs, m], 3 * n, True, kernel_initializer=self._initializer)
        j, f, o = split(value=gates, num_or_size_splits=3, axis=1)
        diagonals = {
            gate: get_variable(f"w_{gate}_diag", shape=[n], dtype=inputs.dtype, initializer=self._initializer)
            for gate in ("fo" if self._use_peepholes else "")
        }  # fmt: skip
        f = f + self._forget_bias
        forget = raw.Sigmoid(f + diagonals["f"] * c if diagonals else f)
        new_c = forget * c + (1 - forget) * self._activation(j)
        m = raw.Sigmoid(o + diagonals["o"] * new_c if diagonals else o) * self._activation(new_c)
        if self._num_proj is not None:
            projection = get_variable("projection/kernel", [n, self._num_proj], initializer=self._initializer)
            m = raw.MatMul(m, projection)
            if self._proj_clip is not None:
                m = clip_by_value(m, -self._proj_clip, self._proj_clip)
        return m, LSTMStateTuple(new_c, m) if self._state_is_tuple else concat([new_c, m], 1)


class AttentionCellWrapper(RNNCell):
    """A cell that attends to its own last outputs.

    Args:
        cell: the cell inside.
        attn_length: how many outputs it attends to.
        attn_size, attn_vec_size: the sizes of attention and of what it is computed with; the cell's output size.
        input_size: the size of the cell's inputs; the given inputs' otherwise.
    """

    def __init__(
        self, cell: Any, attn_length: int, attn_size: int | None = None, attn_vec_size: int | None = None,
        input_size: int | None = None, state_is_tuple: bool = True, reuse: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(_reuse=reuse)
        if attn_length <= 0:
            raise ValueError(f"attn_length should be greater than zero, got {attn_length}")
        if not state_is_tuple:
            raise MissingSymbol("coldframe has no AttentionCellWrapper with states that are no tuples")
        self._cell, self._attn_length, self._input_size = cell, attn_length, input_size
        self._attn_size = cell.output_size if attn_size is None else attn_size
        self._attn_vec_size = self._attn_size if attn_vec_size is None else attn_vec_size

    @property
    def state_size(self) -> Any:
        return (self._cell.state_size, self._attn_size, self._attn_size * self._attn_length)

    @property
    def output_size(self) -> int:
        return self._attn_size

    def call(self, inputs: Any, state: Any) -> Any:
        state, attns, held = state
        held = reshape(held, [-1, self._attn_length, self._attn_size])
        size = inputs.shape.as_list()[1] if self._input_size is None else self._input_size
        output, new_state = self._cell(linear([inputs, attns], size, True), state)
        new_attns, rest = self._attention(concat(nest.flatten(new_state), 1), held)
        with variable_scope("attn_output_projection"):
            output = linear([output, new_attns], self._attn_size, True)
        held = concat([rest, expand_dims(output, 1)], 1)
        return output, (new_state, new_attns, reshape(held, [-1, self._attn_length * self._attn_size]))

    def _attention(self, query: Any, held: Any) -> tuple[Any, Any]:
        with variable_scope("attention"):
            w = get_variable("attn_w", [1, 1, self._attn_size, self._attn_vec_size])
            v = get_variable("attn_v", [self._attn_vec_size])
            hidden = reshape(held, [-1, self._attn_length, 1, self._attn_size])
            features = raw.Conv2D(hidden, w, strides=[1, 1, 1, 1], padding="SAME")
            y = reshape(linear(query, self._attn_vec_size, True), [-1, 1, 1, self._attn_vec_size])
            scores = raw.Softmax(raw.Sum(v * raw.Tanh(features + y), [2, 3]))
            read = raw.Sum(reshape(scores, [-1, self._attn_length, 1, 1]) * hidden, [1, 2])
            return reshape(read, [-1, self._attn_size]), raw.Slice(held, [0, 1, 0], [-1, -1, -1])


class ConvLSTMCell(RNNCell):
    """An LSTM whose products with weights are convolutions.

    Args:
        conv_ndims: 1, 2 or 3 spatial axes.
        input_shape: of an input, without the batch.
        output_channels, kernel_shape: of the convolution.
        skip_connection: join the inputs to the outputs.
    """

    def __init__(
        self, conv_ndims: int, input_shape: Sequence[int], output_channels: int, kernel_shape: Sequence[int],
        use_bias: bool = True, skip_connection: bool = False, forget_bias: float = 1.0, initializers: Any = None,
        name: str | None = "conv_lstm_cell",
    ) -> None:  # fmt: skip
        super().__init__(name=name)
        if conv_ndims != len(input_shape) - 1:
            raise ValueError(f"Invalid input_shape {input_shape} for conv_ndims={conv_ndims}.")
        self._ndims, self._kernel_shape, self._channels = conv_ndims, list(kernel_shape), output_channels
        self._use_bias, self._skip, self._forget_bias = use_bias, skip_connection, forget_bias
        out = output_channels + (input_shape[-1] if skip_connection else 0)
        self._output_size = TensorShape([*input_shape[:-1], out])
        state = TensorShape([*input_shape[:-1], output_channels])
        self._state_size = LSTMStateTuple(state, state)

    @property
    def state_size(self) -> Any:
        return self._state_size

    @property
    def output_size(self) -> Any:
        return self._output_size

    def _conv(self, x: Any, filters: int) -> Any:
        from coldframe.tf1 import nn

        kernel = get_variable("kernel", [*self._kernel_shape, depth_of(x.shape), filters], dtype=x.dtype)
        made = nn.convolution(x, kernel, "SAME")
        if not self._use_bias:
            return made
        return made + get_variable("biases", [filters], dtype=x.dtype, initializer=init_ops.zeros_initializer())

    def call(self, inputs: Any, state: Any) -> Any:
        cell, hidden = state
        axis = self._ndims + 1
        gates = split(
            value=self._conv(concat([inputs, hidden], axis), 4 * self._channels), num_or_size_splits=4, axis=axis
        )
        i, j, f, o = gates
        new_cell = raw.Sigmoid(f + self._forget_bias) * cell + raw.Sigmoid(i) * raw.Tanh(j)
        new_hidden = raw.Tanh(new_cell) * raw.Sigmoid(o)  # TensorFlow joins inputs to it too, and fails in step 2
        output = concat([new_hidden, inputs], axis) if self._skip else new_hidden
        return output, LSTMStateTuple(new_cell, new_hidden)


class Conv1DLSTMCell(ConvLSTMCell):
    """A `ConvLSTMCell` over one axis."""

    def __init__(self, name: str = "conv_1d_lstm_cell", **kwargs: Any) -> None:
        super().__init__(conv_ndims=1, name=name, **kwargs)


class Conv2DLSTMCell(ConvLSTMCell):
    """A `ConvLSTMCell` over two axes."""

    def __init__(self, name: str = "conv_2d_lstm_cell", **kwargs: Any) -> None:
        super().__init__(conv_ndims=2, name=name, **kwargs)


class Conv3DLSTMCell(ConvLSTMCell):
    """A `ConvLSTMCell` over three axes."""

    def __init__(self, name: str = "conv_3d_lstm_cell", **kwargs: Any) -> None:
        super().__init__(conv_ndims=3, name=name, **kwargs)


class EmbeddingWrapper(RNNCell):
    """A cell whose inputs are ids, looked up in a variable ``embedding``."""

    def __init__(
        self, cell: Any, embedding_classes: int, embedding_size: int, initializer: Any = None, reuse: Any = None
    ) -> None:
        super().__init__(_reuse=reuse)
        self._cell, self._classes, self._size, self._initializer = cell, embedding_classes, embedding_size, initializer

    @property
    def state_size(self) -> Any:
        return self._cell.state_size

    @property
    def output_size(self) -> Any:
        return self._cell.output_size

    def call(self, inputs: Any, state: Any) -> Any:
        from coldframe.tf1 import nn

        start = self._initializer or init_ops.RandomUniform(-(3**0.5), 3**0.5)
        first = nest.flatten(state)[0]
        embedding = get_variable("embedding", [self._classes, self._size], initializer=start, dtype=first.dtype)
        return self._cell(nn.embedding_lookup(embedding, reshape(inputs, [-1])), state)


__all__ = [
    "AttentionCellWrapper", "Conv1DLSTMCell", "Conv2DLSTMCell", "Conv3DLSTMCell", "ConvLSTMCell",
    "CoupledInputForgetGateLSTMCell", "EmbeddingWrapper", "LayerNormBasicLSTMCell",
]  # fmt: skip
