"""Images in another size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coldframe import dtypes
from coldframe.tf1.array_ops import expand_dims, shape, squeeze
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant_value_as_shape, convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.simple import simple

resize_bilinear = simple(
    "resize_bilinear(images, size, align_corners=False, name=None, half_pixel_centers=False) -> ResizeBilinear"
)
resize_nearest_neighbor = simple(
    "resize_nearest_neighbor(images, size, align_corners=False, name=None, half_pixel_centers=False) "
    "-> ResizeNearestNeighbor"
)
resize_bicubic = simple(
    "resize_bicubic(images, size, align_corners=False, name=None, half_pixel_centers=False) -> ResizeBicubic"
)
resize_area = simple("resize_area(images, size, align_corners=False) -> ResizeArea")


class ResizeMethod:
    """How pixels of the new size are made."""

    BILINEAR, NEAREST_NEIGHBOR, BICUBIC, AREA = range(4)


_METHODS: dict[Any, Callable[..., Any]] = {
    ResizeMethod.BILINEAR: resize_bilinear, "bilinear": resize_bilinear,
    ResizeMethod.NEAREST_NEIGHBOR: resize_nearest_neighbor, "nearest": resize_nearest_neighbor,
    ResizeMethod.BICUBIC: resize_bicubic, "bicubic": resize_bicubic,
    ResizeMethod.AREA: resize_area, "area": resize_area,
}  # fmt: skip


def resize_images(
    images: Any, size: Any, method: Any = ResizeMethod.BILINEAR, align_corners: bool = False,
    preserve_aspect_ratio: bool = False, name: str | None = None,
) -> Any:  # fmt: skip
    """Return images resized to ``[height, width]``; float32, except with the nearest neighbour.

    Args:
        images: ``[height, width, channels]``, or a batch of such.
        preserve_aspect_ratio: make them as large as fits into `size`.
    """
    with name_scope(name, "resize", [images, size]):
        images = convert_to_tensor(images, name="images")
        rank = images.get_shape().ndims
        if rank not in (3, 4):
            raise ValueError(f"'images' must have either 3 or 4 dimensions, not {rank}.")
        if rank == 3:
            images = expand_dims(images, 0)
        size = convert_to_tensor(size, dtypes.int32, name="size")
        if not size.get_shape().is_compatible_with([2]):
            raise ValueError("'size' must be a 1-D Tensor of 2 elements: new_height, new_width")
        if preserve_aspect_ratio:
            size = _within(images, size)
        known = constant_value_as_shape(size).as_list()
        if None not in known and images.get_shape().as_list()[1:3] == known:
            return squeeze(images, axis=[0]) if rank == 3 else images
        if method not in _METHODS:
            raise ValueError(f"Resize method is not implemented: {method}")
        images = _METHODS[method](images, size, align_corners=align_corners)
        images.set_shape([None, *known, None])
        return squeeze(images, axis=[0]) if rank == 3 else images


resize = resize_images


def _within(images: Any, size: Any) -> Any:
    dims = images.get_shape().as_list()
    whole: Any = None if None not in dims[1:3] else shape(images)
    sides = [cast(dims[i] if dims[i] is not None else whole[i], dtypes.float32) for i in (1, 2)]
    scale = raw.Minimum(*(cast(size[i], dtypes.float32) / sides[i] for i in range(2)))
    return convert_to_tensor([cast(raw.Round(scale * side), dtypes.int32) for side in sides], dtypes.int32, name="size")


__all__ = [
    "ResizeMethod", "resize", "resize_area", "resize_bicubic", "resize_bilinear", "resize_images",
    "resize_nearest_neighbor",
]  # fmt: skip
