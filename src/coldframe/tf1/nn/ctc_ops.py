"""Connectionist temporal classification: its loss and its decoders."""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.tf1.array_ops import transpose
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import SparseTensor, convert_to_tensor
from coldframe.tf1.simple import either


def ctc_loss(
    labels: SparseTensor, inputs: Any = None, sequence_length: Any = None, preprocess_collapse_repeated: bool = False,
    ctc_merge_repeated: bool = True, ignore_longer_outputs_than_inputs: bool = False, time_major: bool = True,
    logits: Any = None,
) -> Any:  # fmt: skip
    """Return the negative log probability of each example's labels, ``[batch]``.

    Args:
        labels: int32 classes; the last class of `inputs` is the blank.
        inputs: logits ``[time, batch, classes]``, or ``[batch, time, classes]`` unless `time_major`.
        sequence_length: int32 ``[batch]``.
    """
    if not isinstance(labels, SparseTensor):
        raise TypeError("Expected argument `labels` to be a SparseTensor.")
    x = convert_to_tensor(either("logits", logits, "inputs", inputs), name="logits")
    if not time_major:
        x = transpose(x, [1, 0, 2])
    dtype = x.dtype
    if dtype in (dtypes.float16, dtypes.bfloat16):
        x = cast(x, dtypes.float32)
    loss, _ = raw.CTCLoss(
        x, labels.indices, labels.values, sequence_length, preprocess_collapse_repeated=preprocess_collapse_repeated,
        ctc_merge_repeated=ctc_merge_repeated, ignore_longer_outputs_than_inputs=ignore_longer_outputs_than_inputs,
    )  # fmt: skip
    return cast(loss, dtype)


def ctc_greedy_decoder(inputs: Any, sequence_length: Any, merge_repeated: bool = True) -> tuple[list[Any], Any]:
    """Return the most likely class at each step, without blanks, and its negative log probability ``[batch, 1]``."""
    indices, values, sizes, score = raw.CTCGreedyDecoder(inputs, sequence_length, merge_repeated=merge_repeated)
    return [SparseTensor(indices, values, sizes)], score


def ctc_beam_search_decoder(
    inputs: Any, sequence_length: Any, beam_width: int = 100, top_paths: int = 1, merge_repeated: bool = True
) -> tuple[list[Any], Any]:
    """Return the `top_paths` most likely label sequences and their log probabilities ``[batch, top_paths]``."""
    indices, values, sizes, scores = raw.CTCBeamSearchDecoder(
        inputs, sequence_length, beam_width=beam_width, top_paths=top_paths, merge_repeated=merge_repeated
    )
    return [SparseTensor(i, v, s) for i, v, s in zip(indices, values, sizes, strict=True)], scores


__all__ = ["ctc_beam_search_decoder", "ctc_greedy_decoder", "ctc_loss"]
