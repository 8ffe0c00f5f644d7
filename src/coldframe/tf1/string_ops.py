"""Strings: joining, splitting, hashing, encoding and reading numbers, with TF1's Python arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import range
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import SparseTensor, constant, convert_to_tensor, is_tensor_like
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.shape_ops import expand_dims, rank
from coldframe.tf1.simple import either, simple

# --- one node each ------------------------------------------------------------------------------------------------
string_join = simple("string_join(inputs, separator='') -> StringJoin")
string_length = simple("string_length(input, name=None, unit='BYTE') -> StringLength")
string_lower = simple("string_lower(input, encoding='') -> StringLower")
string_upper = simple("string_upper(input, encoding='') -> StringUpper")
string_strip = simple("string_strip(input) -> StringStrip")
string_to_hash_bucket_fast = simple("string_to_hash_bucket_fast(input, num_buckets) -> StringToHashBucketFast")
string_to_hash_bucket_strong = simple(
    "string_to_hash_bucket_strong(input, num_buckets, key) -> StringToHashBucketStrong"
)
substr = simple("substr(input, pos, len, name=None, unit='BYTE') -> Substr")
as_string = simple("as_string(input, precision=-1, scientific=False, shortest=False, width=-1, fill='') -> AsString")
encode_base64 = simple("encode_base64(input, pad=False) -> EncodeBase64")
decode_base64 = simple("decode_base64(input) -> DecodeBase64")
decode_compressed = simple("decode_compressed(bytes, compression_type='') -> DecodeCompressed")
unicode_script = simple("unicode_script(input) -> UnicodeScript")
unicode_transcode = simple(
    "unicode_transcode(input, input_encoding, output_encoding, errors='replace', replacement_char=65533, "
    "replace_control_characters=False) -> UnicodeTranscode"
)
unsorted_segment_join = simple(
    "unsorted_segment_join(inputs, segment_ids, num_segments, separator='') -> UnsortedSegmentJoin"
)


# --- splitting and joining ----------------------------------------------------------------------------------------
def _ragged_as_sparse(parts: Any) -> SparseTensor:
    indices, values, dense_shape = parts
    indices.set_shape([None, 2])
    values.set_shape([None])
    dense_shape.set_shape([2])
    return SparseTensor(indices, values, dense_shape)


def _sparse_only(result_type: str) -> None:
    if result_type != "SparseTensor":
        raise ValueError(f"result_type must be 'SparseTensor' (there are no ragged tensors here), not {result_type!r}.")


def string_split(
    source: Any,
    sep: Any = None,
    skip_empty: bool = True,
    delimiter: Any = None,
    result_type: str = "SparseTensor",
    name: str | None = None,
) -> SparseTensor:
    """Return the parts of each string of a vector between delimiters, as a sparse ``[strings, most parts]``.

    Args:
        sep: every byte of it is a delimiter (the default is a space); ``""`` splits between all bytes.
        skip_empty: leave out empty parts.
    """
    _sparse_only(result_type)
    sep = either("sep", sep, "delimiter", delimiter)
    with name_scope(name, "StringSplit", [source]):
        delimiters = convert_to_tensor(" " if sep is None else sep, dtypes.string)
        source = convert_to_tensor(source, dtypes.string)
        return _ragged_as_sparse(raw.StringSplit(source, delimiters, skip_empty=skip_empty))


def string_split_v2(
    input: Any = None,
    sep: Any = None,
    maxsplit: int = -1,
    result_type: str = "SparseTensor",
    source: Any = None,
    name: str | None = None,
) -> SparseTensor:
    """Return the parts of each string of a vector as Python's ``str.split`` makes them, as a sparse tensor."""
    _sparse_only(result_type)
    input = either("input", input, "source", source)
    with name_scope(name, "StringSplit", [input]):
        x = convert_to_tensor(input, dtypes.string, name="input")
        if x.static_shape.rank == 0:
            x = expand_dims(x, 0)
        separator = convert_to_tensor("" if sep is None else sep, dtypes.string)
        return _ragged_as_sparse(raw.StringSplitV2(x, separator, maxsplit=maxsplit))


def reduce_join(
    inputs: Any,
    axis: Any = None,
    keep_dims: Any = None,
    separator: str = "",
    name: str | None = None,
    reduction_indices: Any = None,
    keepdims: Any = None,
) -> Any:
    """Return the strings along `axis` (None: all, the last axis fastest) joined."""
    keepdims = bool(either("keepdims", keepdims, "keep_dims", keep_dims))
    axis = either("axis", axis, "reduction_indices", reduction_indices)
    with name_scope(None, "ReduceJoin", [inputs, axis]):
        x = convert_to_tensor(inputs)
        if axis is None:
            n = x.static_shape.rank
            axis = range(rank(x) - 1, -1, -1) if n is None else constant(np.arange(n - 1, -1, -1), dtypes.int32)
        return raw.ReduceJoin(x, axis, keep_dims=keepdims, separator=separator, name=name)


def string_format(
    template: str, inputs: Any, placeholder: str = "{}", summarize: int = 3, name: str | None = None
) -> Any:
    """Return the template with each `placeholder` replaced by a tensor, shown by its first and last elements."""
    inputs = [inputs] if is_tensor_like(inputs) else list(inputs)
    if template.count(placeholder) != len(inputs):
        raise ValueError(
            f"The template expects {template.count(placeholder)} tensors, but the inputs only has {len(inputs)}."
        )
    text = raw.StringFormat(inputs, template=template, placeholder=placeholder, summarize=summarize, name=name)
    text.set_shape(())
    return text


# --- patterns -----------------------------------------------------------------------------------------------------
def regex_replace(input: Any, pattern: Any, rewrite: Any, replace_global: bool = True, name: str | None = None) -> Any:
    """Return the strings with matches of a regular expression (RE2) rewritten: all, or the first of each."""
    if isinstance(pattern, (str, bytes)) and isinstance(rewrite, (str, bytes)):
        return raw.StaticRegexReplace(input, pattern=pattern, rewrite=rewrite, replace_global=replace_global, name=name)
    return raw.RegexReplace(input, pattern, rewrite, replace_global=replace_global, name=name)


def regex_full_match(input: Any, pattern: Any, name: str | None = None) -> Any:
    """Return whether a regular expression (RE2) matches the whole of each string."""
    if isinstance(pattern, (str, bytes)):
        return raw.StaticRegexFullMatch(input, pattern=pattern, name=name)
    return raw.RegexFullMatch(input, pattern, name=name)


# --- numbers and hashes -------------------------------------------------------------------------------------------
def string_to_number(
    string_tensor: Any = None, out_type: Any = dtypes.float32, name: str | None = None, input: Any = None
) -> Any:
    """Return the numbers that strings spell."""
    return raw.StringToNumber(either("input", input, "string_tensor", string_tensor), out_type=out_type, name=name)


def string_to_hash_bucket(
    string_tensor: Any = None, num_buckets: Any = None, name: str | None = None, input: Any = None
) -> Any:
    """Return a hash of each string, below `num_buckets`."""
    strings = either("input", input, "string_tensor", string_tensor)
    return raw.StringToHashBucket(strings, num_buckets=num_buckets, name=name)


def decode_raw(
    input_bytes: Any = None,
    out_type: Any = None,
    little_endian: bool = True,
    name: str | None = None,
    bytes: Any = None,
) -> Any:
    """Return the numbers whose bytes the strings are, along a new last axis."""
    data = either("input_bytes", input_bytes, "bytes", bytes)
    return raw.DecodeRaw(data, out_type=out_type, little_endian=little_endian, name=name)


__all__ = [
    "as_string", "decode_base64", "decode_compressed", "decode_raw", "encode_base64", "reduce_join",
    "regex_full_match", "regex_replace", "string_format", "string_join", "string_length", "string_lower",
    "string_split", "string_split_v2", "string_strip", "string_to_hash_bucket", "string_to_hash_bucket_fast",
    "string_to_hash_bucket_strong", "string_to_number", "string_upper", "substr", "unicode_script",
    "unicode_transcode", "unsorted_segment_join",
]  # fmt: skip
