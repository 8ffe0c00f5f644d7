"""Strings: the names of `tf.strings`."""

from __future__ import annotations

from coldframe.tf1.string_ops import (
    as_string,
    reduce_join,
    regex_full_match,
    regex_replace,
    substr,
    unicode_script,
    unicode_transcode,
    unsorted_segment_join,
)
from coldframe.tf1.string_ops import (
    string_format as format,
)  # fmt: skip
from coldframe.tf1.string_ops import (
    string_join as join,
)
from coldframe.tf1.string_ops import (
    string_length as length,
)
from coldframe.tf1.string_ops import (
    string_lower as lower,
)
from coldframe.tf1.string_ops import (
    string_split_v2 as split,
)
from coldframe.tf1.string_ops import (
    string_strip as strip,
)
from coldframe.tf1.string_ops import (
    string_to_hash_bucket as to_hash_bucket,
)
from coldframe.tf1.string_ops import (
    string_to_hash_bucket_fast as to_hash_bucket_fast,
)
from coldframe.tf1.string_ops import (
    string_to_hash_bucket_strong as to_hash_bucket_strong,
)
from coldframe.tf1.string_ops import (
    string_to_number as to_number,
)
from coldframe.tf1.string_ops import (
    string_upper as upper,
)

__all__ = [
    "as_string", "format", "join", "length", "lower", "reduce_join", "regex_full_match", "regex_replace", "split",
    "strip", "substr", "to_hash_bucket", "to_hash_bucket_fast", "to_hash_bucket_strong", "to_number",
    "unicode_script", "unicode_transcode", "unsorted_segment_join", "upper",
]  # fmt: skip
