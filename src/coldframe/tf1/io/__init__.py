"""`tf.io`: files, records and examples."""

from __future__ import annotations

from typing import Final

from coldframe.tf1.lazy import namespace

_HERE: Final = "coldframe.tf1"
_SOURCES: Final = [f"{_HERE}.{m}" for m in ("io_ops", "parsing_ops", "data_flow", "platform.python_io")]
_ALIASES: Final = {
    "gfile": f"{_HERE}.platform.file_io",
    "match_filenames_once": f"{_HERE}.train.input:match_filenames_once",
    "write_graph": f"{_HERE}.graph_io:write_graph",
    **{
        name: f"{_HERE}.image:{name}"
        for name in (
            "decode_and_crop_jpeg", "decode_bmp", "decode_gif", "decode_image", "decode_jpeg", "decode_png",
            "encode_jpeg", "encode_png", "extract_jpeg_shape", "is_jpeg",
        )
    },
    **{name: f"{_HERE}.string_ops:{name}" for name in ("decode_base64", "encode_base64")},
    **{
        name: f"{_HERE}.sparse_ops:{name}"
        for name in ("deserialize_many_sparse", "serialize_many_sparse", "serialize_sparse")
    },
}  # fmt: skip

__getattr__, __dir__ = namespace(__name__, "tf.io", _SOURCES, _ALIASES)
