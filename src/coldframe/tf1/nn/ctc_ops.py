"""Connectionist temporal classification: its loss and its decoders."""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.tf1.array_ops import concat, gather_nd, sequence_mask, shape, transpose
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import SparseTensor, convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
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


def ctc_loss_v2(
    labels: Any, logits: Any, label_length: Any, logit_length: Any, logits_time_major: bool = True, unique: Any = None,
    blank_index: int | None = None, name: str | None = None,
) -> Any:  # fmt: skip
    """Return the negative log probability of each example's labels, ``[batch]``.

    Args:
        labels: int32 classes: sparse, or ``[batch, labels]`` of which `label_length` count.
        logits: ``[time, batch, classes]``, or ``[batch, time, classes]`` unless `logits_time_major`.
        label_length, logit_length: int32 ``[batch]``; the first is not used for sparse labels.
        unique: not used.
        blank_index: which class is the blank; counted from the end where negative. 0 where left out; sparse labels
            need it.
    """
    with name_scope(name, "ctc_loss"):
        x = convert_to_tensor(logits, name="logits")
        classes = x.static_shape.dims[-1] if x.static_shape.dims is not None else None
        if classes is None:
            raise ValueError("the number of classes of `logits` must be known")
        if not isinstance(labels, SparseTensor):
            blank_index = blank_index or 0
            labels = _sparse(convert_to_tensor(labels, dtypes.int32), label_length)
        elif blank_index is None:
            raise ValueError("Argument `blank_index` must be provided when labels is a SparseTensor.")
        blank = blank_index % classes
        # The kernel's blank is the last class: the classes behind ours move one to the front.
        x = concat([x[..., :blank], x[..., blank + 1 :], x[..., blank : blank + 1]], 2)
        values = labels.values - cast(labels.values > blank, labels.values.dtype)
        moved = SparseTensor(labels.indices, values, labels.dense_shape)
        return ctc_loss(moved, x, logit_length, time_major=logits_time_major)


def _sparse(labels: Any, lengths: Any) -> SparseTensor:
    inside = raw.Where(sequence_mask(lengths, shape(labels)[1]))
    return SparseTensor(inside, gather_nd(labels, inside), shape(labels, out_type=dtypes.int64))


def ctc_beam_search_decoder_v2(
    inputs: Any, sequence_length: Any, beam_width: int = 100, top_paths: int = 1
) -> tuple[list[Any], Any]:
    """Return the `top_paths` most likely label sequences, repeated classes kept, and their log probabilities."""
    return ctc_beam_search_decoder(inputs, sequence_length, beam_width, top_paths, merge_repeated=False)


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


__all__ = [
    "ctc_beam_search_decoder", "ctc_beam_search_decoder_v2", "ctc_greedy_decoder", "ctc_loss", "ctc_loss_v2",
]  # fmt: skip
