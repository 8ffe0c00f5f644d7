"""Random crops of an image that keep enough of one of its objects, as classifiers' input pipelines take them.

A try draws an aspect ratio, then a height, then the corner; it fails where the crop has too little or too much area,
or shows too little of every object. When all tries have failed, the crop is the whole image. Positions are pixels,
arithmetic is float32, and the words of the sequence are used one after the other, as TensorFlow's kernel does.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.ops.candidates import Words
from coldframe.ops.philox import Stream
from coldframe.ops.random import reserve
from coldframe.ops.state import State
from coldframe.ops.stateless import of_seed
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass

Array = npt.NDArray[Any]
Box = tuple[int, int, int, int]  # left, top, right, bottom
_F32 = np.float32
_MOST_TRIES: Final = 1 << 20
_EDGE: Final = float(_F32(1e-7))
_WHY: Final = "random numbers"
_SHAPES: Final = "-> [3] [3] [1, 1, 4]"


@dataclass(frozen=True, slots=True)
class Wish:
    """What crops are asked for.

    Attributes:
        ratios: the least and the largest width per height.
        areas: the least and the largest part of the image.
        tries: how many.
        image_if_none: the image itself is the object where there are no boxes.
    """

    ratios: tuple[float, ...]
    areas: tuple[float, ...]
    tries: int
    image_if_none: bool

    def __post_init__(self) -> None:
        if len(self.ratios) != 2 or min(self.ratios) <= 0:
            raise refuse("`aspect_ratio_range`", expected="two positive numbers", found=list(self.ratios))
        if len(self.areas) != 2 or min(self.areas) <= 0 or max(self.areas) > 1:
            raise refuse("`area_range`", expected="two numbers above 0, not above 1", found=list(self.areas))
        if not 0 < self.tries <= _MOST_TRIES:
            raise refuse("`max_attempts`", expected=f"1 to {_MOST_TRIES}", found=self.tries)


def _whole(x: Any) -> int:
    return int(np.rint(x))


def _area(box: Box) -> np.float32:
    return _F32((box[2] - box[0]) * (box[3] - box[1]))


def _common(a: Box, b: Box) -> np.float32:
    left, top, right, bottom = max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])
    return _area((left, top, right, bottom)) if left <= right and top <= bottom else _F32(0)


def _shows_enough(crop: Box, covered: np.float32, objects: list[Box]) -> bool:
    if _area(crop) < 1:
        return False
    return any(_common(crop, o) / _area(o) >= covered for o in objects if _area(o) >= 1)


def _height(words: Words, width: int, height: int, ratio: np.float32, least: np.float32, most: np.float32) -> int:
    """Draw the height of a crop whose area lies in [least, most], if its rounding does not prevent that."""
    low, high = _whole(np.sqrt(least / ratio)), _whole(np.sqrt(most / ratio))
    if _whole(_F32(high) * ratio) > width:
        high = int((width + 0.5 - _EDGE) / float(ratio))
        high -= _whole(_F32(high) * ratio) > width
    high = min(high, height)
    low = min(low, high)
    return low + (words.below(high - low + 1) if low < high else 0)


def _crop(words: Words, width: int, height: int, areas: tuple[float, ...], ratio: np.float32) -> Box | None:
    """Draw a crop; None where there is none of this aspect ratio."""
    if width <= 0 or height <= 0 or areas[0] > areas[1]:
        return None
    least, most = (_F32(a) * _F32(width) * _F32(height) for a in areas)
    tall = _height(words, width, height, ratio, least, most)
    wide = _whole(_F32(tall) * ratio)
    for step in (1, -1):
        area = _F32(wide * tall)
        if area < least if step == 1 else area > most:  # by rounding, perhaps
            tall += step
            wide = _whole(_F32(tall) * ratio)
    if not least <= _F32(wide * tall) <= most or not 0 < wide <= width or not 0 < tall <= height:
        return None
    top = words.below(height - tall) if tall < height else 0
    left = words.below(width - wide) if wide < width else 0
    return left, top, left + wide, top + tall


def _objects(boxes: Array, width: int, height: int, image_if_none: bool) -> list[Box]:
    if boxes.ndim != 3 or boxes.shape[-1] != 4:
        raise refuse("`bounding_boxes`", expected="[batch, n, 4]", found=list(boxes.shape))
    flat = boxes.reshape(-1, 4).astype(_F32)
    if not np.all((flat >= 0) & (flat <= 1)):
        raise refuse("coordinates of boxes", expected="0 to 1", found=[float(flat.min()), float(flat.max())])
    if not len(flat):
        if not image_if_none:
            raise refuse("there are no bounding boxes", expected="some, or `use_image_if_no_bounding_boxes`")
        return [(0, 0, width, height)]
    pixels = (flat * np.array([height, width, height, width], _F32)).astype(np.int64).tolist()
    return [(left, top, right, bottom) for top, left, bottom, right in pixels]


def _sample(stream: Stream, image_size: Array, boxes: Array, covered: Any, wish: Wish) -> tuple[Array, Array, Array]:
    """Return begin and size of the crop, as a slice takes them, and the crop as a box of parts of the image."""
    if image_size.shape != (3,):
        raise refuse("`image_size`", expected="[3]", found=list(image_size.shape))
    height, width = (int(v) for v in image_size[:2])
    if not (0 <= height < 2**31 - 1 and 0 <= width < 2**31 - 1):
        raise refuse("the size of the image", expected=f"0 to {2**31 - 2}", found=[height, width])
    if np.ndim(covered) or not covered >= 0:
        raise refuse("`min_object_covered`", expected="a scalar, not negative", found=np.asarray(covered).tolist())
    objects = _objects(boxes, width, height, wish.image_if_none)
    words, (low, high) = Words(stream), (_F32(r) for r in wish.ratios)
    found: Box = (0, 0, width, height)
    for _ in range(wish.tries):
        ratio = _F32(words.float32()) * (high - low) + low
        crop = _crop(words, width, height, wish.areas, ratio)
        if crop is not None and _shows_enough(crop, _F32(covered), objects):
            found = crop
            break
    left, top, right, bottom = found
    kind = image_size.dtype
    with np.errstate(invalid="ignore", divide="ignore"):
        box = np.array([top, left, bottom, right], _F32) / np.array([height, width, height, width], _F32)
    begin, size = ([top, left, 0], [bottom - top, right - left, -1])
    return np.array(begin).astype(kind), np.array(size).astype(kind), box.reshape(1, 1, 4)


@op("SampleDistortedBoundingBoxV2", no_gradient=True, shape=_SHAPES, stateful=True, random=True, host=_WHY)
def sample_distorted_bounding_box_v2(
    xp: Any, state: State, image_size: Any, bounding_boxes: Any, min_object_covered: Any, *, seed: int, seed2: int,
    aspect_ratio_range: tuple[float, ...], area_range: tuple[float, ...], max_attempts: int,
    use_image_if_no_bounding_boxes: bool,
) -> Any:  # fmt: skip
    """A random crop that shows enough of an object: begin and size for a slice, and the box."""
    wish = Wish(aspect_ratio_range, area_range, max_attempts, use_image_if_no_bounding_boxes)
    return _sample(reserve(state, seed, seed2, max_attempts), image_size, bounding_boxes, min_object_covered, wish)


@op("SampleDistortedBoundingBox", no_gradient=True, shape=_SHAPES, stateful=True, random=True, host=_WHY)
def sample_distorted_bounding_box(
    xp: Any, state: State, image_size: Any, bounding_boxes: Any, *, seed: int, seed2: int, min_object_covered: float,
    aspect_ratio_range: tuple[float, ...], area_range: tuple[float, ...], max_attempts: int,
    use_image_if_no_bounding_boxes: bool,
) -> Any:  # fmt: skip
    """SampleDistortedBoundingBoxV2 with the part of an object that must be seen as an attribute."""
    wish = Wish(aspect_ratio_range, area_range, max_attempts, use_image_if_no_bounding_boxes)
    return _sample(reserve(state, seed, seed2, max_attempts), image_size, bounding_boxes, min_object_covered, wish)


@op("StatelessSampleDistortedBoundingBox", no_gradient=True, shape=_SHAPES, host=_WHY)
def stateless_sample_distorted_bounding_box(
    xp: Any, image_size: Any, bounding_boxes: Any, min_object_covered: Any, seed: Any,
    *, aspect_ratio_range: tuple[float, ...], area_range: tuple[float, ...], max_attempts: int,
    use_image_if_no_bounding_boxes: bool,
) -> Any:  # fmt: skip
    """SampleDistortedBoundingBoxV2 as a function of a seed."""
    wish = Wish(aspect_ratio_range, area_range, max_attempts, use_image_if_no_bounding_boxes)
    return _sample(of_seed(seed), image_size, bounding_boxes, min_object_covered, wish)
