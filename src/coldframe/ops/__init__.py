"""The op table: what each TensorFlow op computes, one module per family.

It is made of the explicit list of families below; there is no registry that imports fill. Which family an op is in says
``index.json``, made of the families by ``tools/op_docs.py`` (a test fails where it is stale): a graph loads only those
of its ops. All of them take longer to load than a small graph to run.
"""

from __future__ import annotations

import functools
import json
from importlib import import_module
from pathlib import Path
from types import ModuleType

from coldframe.ops.table import Op, OpTable

FAMILIES = (
    "shape",
    "layout",
    "slicing",
    "gather",
    "diagonal",
    "loss",
    "norm",
    "pool",
    "fractional",
    "conv",
    "fused",
    "activation",
    "math",
    "compare",
    "bitwise",
    "cast",
    "reduction",
    "special",
    "integrals",
    "segment",
    "counting",
    "ranking",
    "linear",
    "variables",
    "training",
    "truncated",
    "gradients",
    "summary",
    "summary_media",
    "summary_writers",
    "ngrams",
    "control",
    "flow",
    "files",
    "checkpoints",
    "queues",
    "staging",
    "session_tensors",
    "debugging",
    "accumulators",
    "boosted_trees",
    "barriers",
    "readers",
    "py_func",
    "dataset_sources",
    "datasets",
    "dataset_order",
    "dataset_shuffle",
    "dataset_files",
    "dataset_parsing",
    "dataset_groups",
    "dataset_windows",
    "dataset_sql",
    "iterators",
    "dataset_shares",
    "collective",
    "flow_v1",
    "tensor_array",
    "stacks",
    "tensor_list",
    "tensor_map",
    "lookup",
    "linalg",
    "matrix_functions",
    "einsum",
    "signal",
    "audio",
    "image",
    "image_gradients",
    "resampler",
    "resampling",
    "colors",
    "projective",
    "boxes",
    "box_samples",
    "glimpse",
    "pictures",
    "random",
    "trials",
    "candidates",
    "stateless",
    "binomial",
    "clusters",
    "quantize",
    "quantized",
    "quantized_fused",
    "requantize",
    "uniform_quantize",
    "uniform_convolution",
    "regex",
    "hashing",
    "strings",
    "unicode",
    "text",
    "parsing",
    "protos",
    "decode",
    "sparse",
    "sparse_math",
    "csr",
    "serialized",
    "sparse_maps",
    "sets",
    "crossing",
    "ragged",
    "rnn",
    "cudnn_rnn",
    "cudnn_rnn_gradients",
    "ctc",
    "xla_shape",
    "xla_products",
    "xla_functions",
)


@functools.cache
def table() -> OpTable:
    """Return the table of all ops coldframe runs."""
    index = json.loads(Path(__file__).with_name("index.json").read_bytes())
    return OpTable.of_families(index["ops"], index["roles"], family)


def family(name: str) -> ModuleType:
    """Return the module of a family."""
    return import_module(f"{__name__}.{name}")


__all__ = ["FAMILIES", "Op", "OpTable", "family", "table"]
