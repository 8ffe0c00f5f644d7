"""Boxes in images: ``[y_min, x_min, y_max, x_max]``, from 0 to 1."""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.simple import either


def crop_and_resize(
    image: Any, boxes: Any, box_ind: Any = None, crop_size: Any = None, method: str = "bilinear",
    extrapolation_value: float = 0, name: str | None = None, box_indices: Any = None,
) -> Any:  # fmt: skip
    """Return parts of images, resized to `crop_size`: box i of image ``box_ind[i]``."""
    index = either("box_indices", box_indices, "box_ind", box_ind)
    return raw.CropAndResize(
        image, boxes, index, crop_size, method=method, extrapolation_value=extrapolation_value, name=name
    )


def non_max_suppression(
    boxes: Any, scores: Any, max_output_size: Any, iou_threshold: Any = 0.5, score_threshold: Any = float("-inf"),
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return the indices of the highest scored boxes, without those that overlap one chosen already."""
    with name_scope(name, "non_max_suppression"):
        iou = convert_to_tensor(iou_threshold, name="iou_threshold")
        score = convert_to_tensor(score_threshold, name="score_threshold")
        return raw.NonMaxSuppressionV3(boxes, scores, max_output_size, iou, score)


def non_max_suppression_padded(
    boxes: Any, scores: Any, max_output_size: Any, iou_threshold: Any = 0.5, score_threshold: Any = float("-inf"),
    pad_to_max_output_size: bool = False, name: str | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Return indices as `non_max_suppression` does, filled up with 0, and how many count."""
    with name_scope(name, "non_max_suppression_padded"):
        iou = convert_to_tensor(iou_threshold, name="iou_threshold")
        score = convert_to_tensor(score_threshold, name="score_threshold")
        result: tuple[Any, Any] = raw.NonMaxSuppressionV4(
            boxes, scores, max_output_size, iou, score, pad_to_max_output_size=pad_to_max_output_size
        )
        return result


def combined_non_max_suppression(
    boxes: Any, scores: Any, max_output_size_per_class: Any, max_total_size: Any, iou_threshold: Any = 0.5,
    score_threshold: Any = float("-inf"), pad_per_class: bool = False, clip_boxes: bool = True,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return boxes, scores, classes and their number, for each image of a batch."""
    with name_scope(name, "combined_non_max_suppression"):
        iou = convert_to_tensor(iou_threshold, name="iou_threshold")
        score = convert_to_tensor(score_threshold, name="score_threshold")
        return raw.CombinedNonMaxSuppression(
            boxes, scores, max_output_size_per_class, max_total_size, iou, score, pad_per_class=pad_per_class,
            clip_boxes=clip_boxes,
        )  # fmt: skip


def draw_bounding_boxes(images: Any, boxes: Any, name: str | None = None, colors: Any = None) -> Any:
    """Return images with the edges of boxes drawn, in the usual ten colours or those given."""
    if colors is None:
        return raw.DrawBoundingBoxes(images, boxes, name=name)
    return raw.DrawBoundingBoxesV2(images, boxes, colors, name=name)


def non_max_suppression_with_scores(
    boxes: Any, scores: Any, max_output_size: Any, iou_threshold: Any = 0.5, score_threshold: Any = float("-inf"),
    soft_nms_sigma: Any = 0.0, name: str | None = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Return the indices of chosen boxes and their scores, which overlapping lowers where `soft_nms_sigma` is not 0."""
    with name_scope(name, "non_max_suppression_with_scores"):
        given = [
            convert_to_tensor(value, name=known)
            for value, known in ((iou_threshold, "iou_threshold"), (score_threshold, "score_threshold"),
                                 (soft_nms_sigma, "soft_nms_sigma"))
        ]  # fmt: skip
        indices, kept, _ = raw.NonMaxSuppressionV5(boxes, scores, max_output_size, *given, pad_to_max_output_size=False)
        return indices, kept


def sample_distorted_bounding_box(
    image_size: Any, bounding_boxes: Any, seed: int | None = None, seed2: int | None = None,
    min_object_covered: Any = 0.1, aspect_ratio_range: Any = None, area_range: Any = None,
    max_attempts: int | None = None, use_image_if_no_bounding_boxes: bool | None = None, name: str | None = None,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Draw a box of an image that covers enough of one of its objects.

    Args:
        image_size: height, width and channels.
        bounding_boxes: of the objects, ``[batch, objects, 4]``, from 0 to 1.
        seed, seed2: make the draws repeat.
        min_object_covered: the least share of an object.
        aspect_ratio_range, area_range: what the box may be like; (0.75, 1.33) and (0.05, 1) where left out.
        max_attempts: draws before the whole image is taken; 100 where left out.
        use_image_if_no_bounding_boxes: take the image for an object where there are none.

    Returns:
        begin and size of the box, for `tf.slice`, and the box, ``[1, 1, 4]``, for `tf.image.draw_bounding_boxes`.
    """
    with name_scope(name, "sample_distorted_bounding_box"):
        covered = convert_to_tensor(min_object_covered, dtypes.float32, name="min_object_covered")
        made: tuple[Any, Any, Any] = raw.SampleDistortedBoundingBoxV2(
            image_size, bounding_boxes, covered,
            seed=seed or 0, seed2=seed2 or 0, aspect_ratio_range=list(aspect_ratio_range or (0.75, 1.33)),
            area_range=list(area_range or (0.05, 1.0)), max_attempts=max_attempts or 100,
            use_image_if_no_bounding_boxes=bool(use_image_if_no_bounding_boxes),
        )  # fmt: skip
        return made


__all__ = [
    "combined_non_max_suppression", "crop_and_resize", "draw_bounding_boxes", "non_max_suppression",
    "non_max_suppression_padded", "non_max_suppression_with_scores", "sample_distorted_bounding_box",
]  # fmt: skip
