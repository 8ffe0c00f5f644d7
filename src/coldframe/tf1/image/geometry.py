"""Images cut, padded, flipped and turned. All take one image, or a batch of images."""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.tf1.array_ops import expand_dims, pad, reverse, shape, slice, squeeze, stack, transpose, where_v2
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.check_ops import Assert
from coldframe.tf1.control_flow import cond
from coldframe.tf1.dependencies import with_dependencies
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant_value, convert_to_tensor, is_tensor_like
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.tensor import Tensor
from coldframe.tf1.image.resize import ResizeMethod, resize_images
from coldframe.tf1.random_ops import random_uniform


def _batched(image: Any) -> tuple[Any, bool]:
    """Return the image as a batch, and whether it was one."""
    image = convert_to_tensor(image, name="image")
    rank = image.get_shape().ndims
    if rank == 4:
        return image, True
    if rank not in (3, None):
        raise ValueError(f"'image' (shape {image.get_shape()}) must have either 3 or 4 dimensions.")
    image = expand_dims(image, 0)
    if rank is None:
        image.set_shape([None] * 4)
    return image, False


def _sides(image: Any) -> list[Any]:
    """Return the four sizes of a batch: numbers where they are known, else tensors."""
    dims = image.get_shape().as_list()
    whole: Any = shape(image) if None in dims else None
    return [d if d is not None else whole[i] for i, d in enumerate(dims)]


def _known(values: list[Any]) -> list[int | None]:
    return [None if is_tensor_like(v) else int(v) for v in values]


def _require(conditions: list[tuple[Any, str]], image: Any) -> Any:
    """Check conditions: now where they are Python's, else when the image is used."""
    checks = []
    for holds, message in conditions:
        if isinstance(holds, Tensor):
            checks.append(Assert(holds, [message]))
        elif not holds:
            raise ValueError(message)
    return with_dependencies(checks, image) if checks else image


# --- cutting and padding ------------------------------------------------------------------------------------------
def crop_to_bounding_box(
    image: Any, offset_height: Any, offset_width: Any, target_height: Any, target_width: Any
) -> Any:
    """Return the part of an image that begins at the offsets, of the target's size."""
    with name_scope(None, "crop_to_bounding_box", [image]):
        image, batch = _batched(image)
        n, height, width, depth = _sides(image)
        image = _require(
            [
                (offset_width >= 0, "offset_width must be >= 0."), (offset_height >= 0, "offset_height must be >= 0."),
                (target_width > 0, "target_width must be > 0."), (target_height > 0, "target_height must be > 0."),
                (width >= target_width + offset_width, "width must be >= target + offset."),
                (height >= target_height + offset_height, "height must be >= target + offset."),
            ],
            image,
        )  # fmt: skip
        begin = stack([0, offset_height, offset_width, 0])
        part = slice(image, begin, stack([-1, target_height, target_width, -1]))
        part.set_shape(_known([n, target_height, target_width, depth]))
        return part if batch else squeeze(part, axis=[0])


def pad_to_bounding_box(
    image: Any, offset_height: Any, offset_width: Any, target_height: Any, target_width: Any
) -> Any:
    """Return an image of the target's size with `image` at the offsets, and zeros around it."""
    with name_scope(None, "pad_to_bounding_box", [image]):
        image, batch = _batched(image)
        n, height, width, depth = _sides(image)
        after_width = target_width - offset_width - width
        after_height = target_height - offset_height - height
        image = _require(
            [
                (offset_height >= 0, "offset_height must be >= 0"), (offset_width >= 0, "offset_width must be >= 0"),
                (after_width >= 0, "width must be <= target - offset"),
                (after_height >= 0, "height must be <= target - offset"),
            ],
            image,
        )  # fmt: skip
        around = stack([0, 0, offset_height, after_height, offset_width, after_width, 0, 0])
        padded = pad(image, raw.Reshape(around, [4, 2]))
        padded.set_shape(_known([n, target_height, target_width, depth]))
        return padded if batch else squeeze(padded, axis=[0])


def central_crop(image: Any, central_fraction: float) -> Any:
    """Return the middle of an image: `central_fraction` of its height and width."""
    with name_scope(None, "central_crop", [image]):
        if not 0.0 < central_fraction <= 1.0:
            raise ValueError("central_fraction must be within (0, 1]")
        image, batch = _batched(image)
        n, height, width, depth = _sides(image)
        if central_fraction == 1.0:
            return image if batch else squeeze(image, axis=[0])
        begins, sizes = [], []
        for side in (height, width):
            if is_tensor_like(side):
                wide = cast(side, dtypes.float64)
                begin = cast((wide - wide * central_fraction) / 2, dtypes.int32)
            else:
                begin = int((side - side * central_fraction) / 2)
            begins.append(begin)
            sizes.append(side - begin * 2)
        part = slice(image, stack([0, *begins, 0]), stack([-1, *sizes, -1]))
        part.set_shape(_known([n, *sizes, depth]))
        return part if batch else squeeze(part, axis=[0])


def resize_image_with_crop_or_pad(image: Any, target_height: Any, target_width: Any) -> Any:
    """Return an image of the target's size: its middle, or with zeros around it."""
    with name_scope(None, "resize_image_with_crop_or_pad", [image]):
        image, batch = _batched(image)
        n, height, width, depth = _sides(image)
        image = _require(
            [(target_width > 0, "target_width must be > 0."), (target_height > 0, "target_height must be > 0.")], image
        )
        spare_height, spare_width = target_height - height, target_width - width
        part = crop_to_bounding_box(
            image, _most(-spare_height // 2, 0), _most(-spare_width // 2, 0), _least(target_height, height),
            _least(target_width, width),
        )  # fmt: skip
        result = pad_to_bounding_box(
            part, _most(spare_height // 2, 0), _most(spare_width // 2, 0), target_height, target_width
        )
        result.set_shape(_known([n, target_height, target_width, depth]))
        return result if batch else squeeze(result, axis=[0])


resize_with_crop_or_pad = resize_image_with_crop_or_pad


def _most(x: Any, y: Any) -> Any:
    return raw.Maximum(x, y) if is_tensor_like(x) or is_tensor_like(y) else max(x, y)


def _least(x: Any, y: Any) -> Any:
    return raw.Minimum(x, y) if is_tensor_like(x) or is_tensor_like(y) else min(x, y)


def resize_image_with_pad(
    image: Any, target_height: Any, target_width: Any, method: Any = ResizeMethod.BILINEAR, align_corners: bool = False
) -> Any:
    """Return an image resized to fit into the target with its proportions, and zeros around it."""
    with name_scope(None, "resize_image_with_pad", [image]):
        image, batch = _batched(image)
        _, height, width, _ = _sides(image)
        image = _require(
            [(target_width > 0, "target_width must be > 0."), (target_height > 0, "target_height must be > 0.")], image
        )
        height, width, tall, wide = (cast(v, dtypes.float64) for v in (height, width, target_height, target_width))
        ratio = raw.Maximum(width / wide, height / tall)
        new_height, new_width = raw.Floor(height / ratio), raw.Floor(width / ratio)
        top = _most(0, cast((tall - new_height) / 2, dtypes.int32))
        left = _most(0, cast((wide - new_width) / 2, dtypes.int32))
        size = stack([cast(new_height, dtypes.int32), cast(new_width, dtypes.int32)])
        resized = resize_images(image, size, method, align_corners=align_corners)
        padded = pad_to_bounding_box(resized, top, left, target_height, target_width)
        return padded if batch else squeeze(padded, axis=[0])


# --- flipping and turning -----------------------------------------------------------------------------------------
def _flipped(axis: int, what: str) -> Any:
    def function(image: Any) -> Any:
        with name_scope(None, what, [image]):
            image = convert_to_tensor(image, name="image")
            if image.get_shape().ndims is None:
                last = raw.Rank(image)
                return reverse(image, raw.Pack([last - 3 + axis]))
            return reverse(image, [image.get_shape().ndims - 3 + axis])

    function.__doc__ = f"Return an image, or a batch of images, mirrored ({what})."
    return function


flip_left_right, flip_up_down = _flipped(1, "flip_left_right"), _flipped(0, "flip_up_down")


def _randomly(axis: int, what: str) -> Any:
    def function(image: Any, seed: int | None = None) -> Any:
        with name_scope(None, what, [image]) as scope:
            image = convert_to_tensor(image, name="image")
            rank = image.get_shape().ndims
            if rank == 4:
                drawn = random_uniform([shape(image)[0]], 0, 1.0, seed=seed)
                flips = cast(raw.Round(raw.Reshape(drawn, [-1, 1, 1, 1])), image.dtype)
                result = flips * reverse(image, [axis + 1]) + (1 - flips) * image
                result.set_shape(image.get_shape())
                return result
            if rank not in (3, None):
                raise ValueError("'image' must have either 3 or 4 dimensions.")
            mirrored = random_uniform([], 0, 1.0, seed=seed) < 0.5
            result = cond(mirrored, lambda: reverse(image, [axis]), lambda: image, name=scope)
            result.set_shape(image.get_shape())
            return result

    function.__doc__ = f"Return an image mirrored or not, at random ({what}); of a batch, each for itself."
    return function


random_flip_left_right = _randomly(1, "random_flip_left_right")
random_flip_up_down = _randomly(0, "random_flip_up_down")


def transpose_image(image: Any, name: str | None = None) -> Any:
    """Return an image with rows and columns swapped."""
    with name_scope(name, "transpose", [image]) as scope:
        image = convert_to_tensor(image, name="image")
        rank = image.get_shape().ndims
        return transpose(image, [1, 0, 2] if rank in (3, None) else [0, 2, 1, 3], name=scope)


def rot90(image: Any, k: Any = 1, name: str | None = None) -> Any:
    """Return an image turned counter-clockwise, `k` times by 90 degrees."""
    with name_scope(name, "rot90", [image, k]):
        image, batch = _batched(image)
        if is_tensor_like(k):
            k = k % 4
            quarter = _turned(image, 1)
            half = _turned(image, 2)
            result = cond(
                raw.Equal(k % 2, 0),
                lambda: where_v2(raw.Equal(k, 2), half, image),
                lambda: where_v2(raw.Equal(k, 1), quarter, _turned(image, 3)),
            )
        else:
            result = _turned(image, int(k) % 4)
        return result if batch else squeeze(result, axis=[0])


def _turned(image: Any, k: int) -> Any:
    if k == 1:
        return transpose(reverse(image, [2]), [0, 2, 1, 3])
    if k == 2:
        return reverse(image, [1, 2])
    return reverse(transpose(image, [0, 2, 1, 3]), [2]) if k == 3 else image


def extract_patches(images: Any, sizes: Any, strides: Any, rates: Any, padding: str, name: str | None = None) -> Any:
    """Return patches of images in the depth of the result, as `tf.extract_image_patches`."""
    return raw.ExtractImagePatches(images, ksizes=sizes, strides=strides, rates=rates, padding=padding, name=name)


def extract_glimpse(
    input: Any, size: Any, offsets: Any, centered: bool = True, normalized: bool = True, uniform_noise: bool = True,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return a window of each image.

    Args:
        input: ``[batch, height, width, channels]``, float32.
        size: height and width of the window.
        offsets: its centre for each image, ``[batch, 2]``, y before x.
        centered: whether offsets count from the centre.
        normalized: whether they are shares of the image's half size, from -1 to 1, and not pixels.
        uniform_noise: whether what lies outside is uniform noise, and not normal.
    """
    made = raw.ExtractGlimpse(
        input, size, offsets, centered=centered, normalized=normalized, uniform_noise=uniform_noise, name=name
    )
    images, window = convert_to_tensor(input).static_shape.dims or (None,) * 4, constant_value(convert_to_tensor(size))
    made.set_shape([images[0], *((None, None) if window is None else window.tolist()), images[3]])
    return made


__all__ = [
    "central_crop", "crop_to_bounding_box", "extract_glimpse", "extract_patches", "flip_left_right", "flip_up_down",
    "pad_to_bounding_box", "random_flip_left_right", "random_flip_up_down", "resize_image_with_crop_or_pad",
    "resize_image_with_pad", "resize_with_crop_or_pad", "rot90", "transpose_image",
]  # fmt: skip
