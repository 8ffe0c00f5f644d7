"""Sparse tensors: the names of `tf.sparse`."""

from __future__ import annotations

from coldframe.tf1.arithmetic_ops import cross
from coldframe.tf1.counting_ops import bincount
from coldframe.tf1.framework.convert import SparseTensor
from coldframe.tf1.reduce_ops import (
    sparse_segment_mean as segment_mean,
)  # fmt: skip
from coldframe.tf1.reduce_ops import (
    sparse_segment_sqrt_n as segment_sqrt_n,
)
from coldframe.tf1.reduce_ops import (
    sparse_segment_sum as segment_sum,
)
from coldframe.tf1.shape_ops import expand_dims, eye
from coldframe.tf1.shape_ops import sparse_placeholder as placeholder
from coldframe.tf1.sparse_ops import (
    from_dense,
)
from coldframe.tf1.sparse_ops import (
    sparse_add as add,
)  # fmt: skip
from coldframe.tf1.sparse_ops import (
    sparse_concat as concat,
)
from coldframe.tf1.sparse_ops import (
    sparse_fill_empty_rows as fill_empty_rows,
)
from coldframe.tf1.sparse_ops import (
    sparse_mask as mask,
)
from coldframe.tf1.sparse_ops import (
    sparse_maximum as maximum,
)
from coldframe.tf1.sparse_ops import (
    sparse_merge as merge,
)
from coldframe.tf1.sparse_ops import (
    sparse_minimum as minimum,
)
from coldframe.tf1.sparse_ops import (
    sparse_reduce_max as reduce_max,
)
from coldframe.tf1.sparse_ops import (
    sparse_reduce_max_sparse as reduce_max_sparse,
)
from coldframe.tf1.sparse_ops import (
    sparse_reduce_sum as reduce_sum,
)
from coldframe.tf1.sparse_ops import (
    sparse_reduce_sum_sparse as reduce_sum_sparse,
)
from coldframe.tf1.sparse_ops import (
    sparse_reorder as reorder,
)
from coldframe.tf1.sparse_ops import (
    sparse_reset_shape as reset_shape,
)
from coldframe.tf1.sparse_ops import (
    sparse_reshape as reshape,
)
from coldframe.tf1.sparse_ops import (
    sparse_retain as retain,
)
from coldframe.tf1.sparse_ops import (
    sparse_slice as slice,
)
from coldframe.tf1.sparse_ops import (
    sparse_softmax as softmax,
)
from coldframe.tf1.sparse_ops import (
    sparse_split as split,
)
from coldframe.tf1.sparse_ops import (
    sparse_tensor_dense_matmul as matmul,
)
from coldframe.tf1.sparse_ops import (
    sparse_tensor_dense_matmul as sparse_dense_matmul,
)
from coldframe.tf1.sparse_ops import (
    sparse_tensor_to_dense as to_dense,
)
from coldframe.tf1.sparse_ops import (
    sparse_to_indicator as to_indicator,
)
from coldframe.tf1.sparse_ops import (
    sparse_transpose as transpose,
)

__all__ = [
    "SparseTensor", "add", "bincount", "concat", "cross", "expand_dims", "eye", "fill_empty_rows", "from_dense",
    "mask", "matmul", "maximum", "merge", "minimum", "placeholder", "reduce_max", "reduce_max_sparse", "reduce_sum",
    "reduce_sum_sparse", "reorder", "reset_shape", "reshape", "retain", "segment_mean", "segment_sqrt_n",
    "segment_sum", "slice", "softmax", "sparse_dense_matmul", "split", "to_dense", "to_indicator", "transpose",
]  # fmt: skip
