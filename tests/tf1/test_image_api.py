"""tf.image: values, dtypes and static shapes are TensorFlow's."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

import coldframe.tf1 as tf1
from tf1_graphs import Call, build, flat, oracle

RNG = np.random.default_rng(3)
BYTES = RNG.integers(0, 256, (7, 9, 3)).astype(np.uint8)
FLOATS = RNG.random((2, 6, 8, 3)).astype(np.float32)
SMOOTH = np.stack(np.meshgrid(np.arange(48), np.arange(40)), -1).sum(-1, keepdims=True).repeat(3, 2) * np.array(
    [1, 2, 3]
)


def one(tf: Any) -> Any:
    return tf.constant(BYTES)


def batch(tf: Any) -> Any:
    return tf.constant(FLOATS)


def fed(tf: Any, *dims: int | None) -> Any:
    return tf.placeholder_with_default(FLOATS[0] if len(dims) == 3 else FLOATS, dims)


ROWS: dict[str, Call] = {
    **{f"resize_{m}": lambda tf, m=m: tf.image.resize_images(one(tf), [5, 4], m) for m in range(4)},
    **{
        f"align_{m}": lambda tf, m=m: tf.image.resize_images(batch(tf), (11, 13), m, align_corners=True)
        for m in range(4)
    },
    "resize_same": lambda tf: tf.image.resize_images(batch(tf), (6, 8)),
    "resize_ratio": lambda tf: tf.image.resize_images(one(tf), [14, 14], preserve_aspect_ratio=True),
    "resize_ratio_open": lambda tf: tf.image.resize_images(
        fed(tf, 2, None, None, 3), [4, 4], preserve_aspect_ratio=True
    ),
    "resize_bilinear": lambda tf: tf.image.resize_bilinear(batch(tf), [3, 4], half_pixel_centers=True),
    "crop_or_pad_smaller": lambda tf: tf.image.resize_image_with_crop_or_pad(one(tf), 4, 6),
    "crop_or_pad_mixed": lambda tf: tf.image.resize_image_with_crop_or_pad(batch(tf), 9, 5),
    "crop_or_pad_open": lambda tf: tf.image.resize_image_with_crop_or_pad(fed(tf, None, None, 3), 9, 5),
    "with_pad": lambda tf: tf.image.resize_image_with_pad(one(tf), 12, 20),
    "crop_box": lambda tf: tf.image.crop_to_bounding_box(one(tf), 1, 2, 3, 4),
    "crop_box_open": lambda tf: tf.image.crop_to_bounding_box(fed(tf, None, None, None, 3), 1, 2, 3, 4),
    "pad_box": lambda tf: tf.image.pad_to_bounding_box(batch(tf), 1, 2, 9, 12),
    "central_crop": lambda tf: tf.image.central_crop(one(tf), 0.5),
    "central_crop_open": lambda tf: tf.image.central_crop(fed(tf, None, None, 3), 0.4),
    "flip_left_right": lambda tf: tf.image.flip_left_right(one(tf)),
    "flip_up_down": lambda tf: tf.image.flip_up_down(batch(tf)),
    "random_flip": lambda tf: tf.image.random_flip_left_right(one(tf), seed=5),
    "random_flip_up": lambda tf: tf.image.random_flip_up_down(one(tf), seed=6),
    "random_flip_batch": lambda tf: tf.image.random_flip_left_right(batch(tf), seed=5),
    **{f"rot90_{k}": lambda tf, k=k: tf.image.rot90(one(tf), k) for k in (0, 1, 2, 3, 5)},
    "transpose": lambda tf: tf.image.transpose_image(one(tf)),
    "random_crop": lambda tf: tf.image.random_crop(one(tf), [3, 4, 3], seed=3),
    "brightness": lambda tf: tf.image.adjust_brightness(one(tf), 0.2),
    "contrast": lambda tf: tf.image.adjust_contrast(one(tf), 1.7),
    "contrast_floats": lambda tf: tf.image.adjust_contrast(batch(tf), 0.3),
    "hue": lambda tf: tf.image.adjust_hue(one(tf), 0.3),
    "saturation": lambda tf: tf.image.adjust_saturation(batch(tf), 1.5),
    "gamma": lambda tf: tf.image.adjust_gamma(batch(tf), 1.5, 0.9),
    "random_brightness": lambda tf: tf.image.random_brightness(one(tf), 0.3, seed=2),
    "random_contrast": lambda tf: tf.image.random_contrast(one(tf), 0.3, 1.8, seed=2),
    "random_hue": lambda tf: tf.image.random_hue(one(tf), 0.3, seed=2),
    "random_saturation": lambda tf: tf.image.random_saturation(one(tf), 0.3, 1.8, seed=2),
    "standardized": lambda tf: tf.image.per_image_standardization(one(tf)),
    "standardized_batch": lambda tf: tf.image.per_image_standardization(batch(tf)),
    "gray": lambda tf: tf.image.rgb_to_grayscale(one(tf)),
    "from_gray": lambda tf: tf.image.grayscale_to_rgb(one(tf)[:, :, :1]),
    "hsv": lambda tf: tf.image.rgb_to_hsv(batch(tf)),
    "from_hsv": lambda tf: tf.image.hsv_to_rgb(batch(tf)),
    **{
        n: lambda tf, n=n: getattr(tf.image, n)(batch(tf))
        for n in ("rgb_to_yiq", "yiq_to_rgb", "rgb_to_yuv", "yuv_to_rgb")
    },
    **{
        f"dtype_{n}": lambda tf, n=n: tf.image.convert_image_dtype(one(tf), getattr(tf, n))
        for n in ("uint8", "uint16", "int32", "float32", "float64")
    },
    "dtype_narrow": lambda tf: tf.image.convert_image_dtype(tf.constant(BYTES.astype(np.uint16) * 200), tf.uint8),
    "dtype_from_float": lambda tf: tf.image.convert_image_dtype(batch(tf), tf.uint8),
    "dtype_saturate": lambda tf: tf.image.convert_image_dtype(batch(tf) * 2, tf.uint8, saturate=True),
    "suppression": lambda tf: tf.image.non_max_suppression(
        [[0.0, 0.0, 1.0, 1.0], [0.1, 0.0, 1.0, 1.0], [0.6, 0.6, 0.9, 0.9]], [0.5, 0.9, 0.3], 3
    ),
    "crop_and_resize": lambda tf: tf.image.crop_and_resize(batch(tf), [[0.1, 0.2, 0.8, 0.9]], [1], [4, 5]),
    "draw": lambda tf: tf.image.draw_bounding_boxes(batch(tf), [[[0.1, 0.2, 0.8, 0.9]], [[-0.5, 0.5, 0.4, 1.5]]]),
    "draw_gray": lambda tf: tf.image.draw_bounding_boxes(batch(tf)[..., :1], [[[0.1, 0.2, 0.8, 0.9]] * 2] * 2),
    "variation": lambda tf: tf.image.total_variation(batch(tf)),
    "variation_one": lambda tf: tf.image.total_variation(batch(tf)[0]),
    "psnr": lambda tf: tf.image.psnr(batch(tf), batch(tf) * 0.9, 1.0),
    "psnr_bytes": lambda tf: tf.image.psnr(one(tf), one(tf) // 2, 255),
    "ssim": lambda tf: tf.image.ssim(
        tf.constant(SMOOTH.astype(np.uint8)), tf.constant((SMOOTH // 2).astype(np.uint8)), 255
    ),
    "gradients": lambda tf: tf.image.image_gradients(batch(tf)),
    "sobel": lambda tf: tf.image.sobel_edges(batch(tf)),
}


def check(call: Call, tolerance: float = 1e-5) -> None:
    """Assert that values, dtypes and static shapes are TensorFlow's."""
    graph, results = build(call, tf1)
    oracle_graph, oracle_results = build(call, oracle)
    ours, theirs = flat(results), flat(oracle_results)
    assert [t.dtype.name for t in ours] == [t.dtype.name for t in theirs]
    for x, y in zip(ours, theirs, strict=True):
        known = None if y.shape.ndims is None else y.shape.as_list()
        if known is not None:
            assert x.shape.ndims == len(known)
            assert all(b is None or a == b for a, b in zip(x.shape.as_list(), known, strict=True))
    with tf1.Session(graph=graph) as session:
        got = session.run(ours)
    with oracle.Session(graph=oracle_graph) as session:
        want = session.run(theirs)
    for x, y in zip(got, want, strict=True):
        assert x.shape == y.shape
        if y.dtype == object:
            assert x.tolist() == y.tolist()
        else:
            np.testing.assert_allclose(x.astype(float), y.astype(float), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("call", [pytest.param(c, id=n) for n, c in ROWS.items()])
def test_values_are_tensorflows(call: Call) -> None:
    check(call)


# --- files --------------------------------------------------------------------------------------------------------
def file_of(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    image = Image.fromarray((SMOOTH % 256).astype(np.uint8)).convert(mode)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


DEEP = io.BytesIO()
Image.fromarray((np.arange(70).reshape(7, 10) * 900).astype(np.uint16)).save(DEEP, "PNG")
FILES = {
    **{f"png {m}": file_of("PNG", m) for m in ("RGB", "RGBA", "L", "LA", "P", "1")},
    "png deep": DEEP.getvalue(),
    "gif": file_of("GIF", "P", save_all=True, append_images=[Image.new("P", (48, 40), 3)]),
    **{f"bmp {m}": file_of("BMP", m) for m in ("RGB", "RGBA", "L", "P")},
}
CHANNELS = {"png": (0, 1, 3, 4), "gif": (0, 3), "bmp": (0, 3, 4)}  # TensorFlow makes no others


@pytest.mark.parametrize(("name", "channels"), [(n, c) for n in FILES for c in CHANNELS[n[:3]]])
def test_files_decode_as_in_tensorflow(name: str, channels: int) -> None:
    data = FILES[name]
    check(lambda tf: tf.image.decode_image(data, channels=channels))
    if name.startswith("png"):
        check(lambda tf: tf.image.decode_png(data, channels=channels, dtype=tf.uint8))


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
@pytest.mark.parametrize("name", ["png RGB", "png L", "png deep", "bmp RGB"])
def test_files_decode_to_wider_pixels(name: str, dtype: str) -> None:
    check(lambda tf: tf.image.decode_image(FILES[name], dtype=getattr(tf, dtype)))


@pytest.mark.parametrize("channels", [0, 1, 3])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpegs_decode_nearly_as_in_tensorflow(channels: int, mode: str) -> None:
    data = file_of("JPEG", mode, quality=90)
    check(lambda tf: tf.image.decode_jpeg(data, channels=channels), tolerance=2)
    check(lambda tf: tf.image.decode_jpeg(data, channels=channels, ratio=2), tolerance=4)
    check(lambda tf: tf.image.extract_jpeg_shape(data))
    check(lambda tf: tf.image.is_jpeg(data))


def test_pngs_that_we_write_are_read_by_tensorflow() -> None:
    with tf1.Session(graph=tf1.Graph()) as session, session.graph.as_default():
        small, deep = session.run([tf1.image.encode_png(BYTES), tf1.image.encode_png(BYTES.astype(np.uint16) * 3)])
        jpeg = session.run(tf1.image.encode_jpeg(SMOOTH.astype(np.uint8), quality=95))
    with oracle.Graph().as_default(), oracle.Session() as session:
        np.testing.assert_array_equal(session.run(oracle.image.decode_png(small)), BYTES)
        read = session.run(oracle.image.decode_png(deep, dtype=oracle.uint16))
        np.testing.assert_array_equal(read, BYTES.astype(np.uint16) * 3)
        assert session.run(oracle.image.decode_jpeg(jpeg)).shape == SMOOTH.shape


def test_broken_files_are_refused() -> None:
    with tf1.Graph().as_default(), tf1.Session() as session:
        for data in (b"", b"no image", FILES["png RGB"][:60], FILES["png RGB"][:90], b"\xff\xd8\xff\xe0"):
            with pytest.raises(tf1.errors.InvalidArgumentError):
                session.run(tf1.image.decode_image(data))


def test_crops_that_do_not_fit_are_refused() -> None:
    with tf1.Graph().as_default():
        with pytest.raises(ValueError, match=r"width must be >= target \+ offset"):
            tf1.image.crop_to_bounding_box(BYTES, 0, 5, 3, 5)
        with pytest.raises(ValueError, match=r"central_fraction must be within \(0, 1\]"):
            tf1.image.central_crop(BYTES, 1.5)
