"""Bits of integers: the names of `tf.bitwise`."""

from __future__ import annotations

from coldframe.tf1.simple import simple

bitwise_and = simple("bitwise_and(x, y) -> BitwiseAnd")
bitwise_or = simple("bitwise_or(x, y) -> BitwiseOr")
bitwise_xor = simple("bitwise_xor(x, y) -> BitwiseXor")
invert = simple("invert(x) -> Invert")
left_shift = simple("left_shift(x, y) -> LeftShift")
right_shift = simple("right_shift(x, y) -> RightShift")

__all__ = ["bitwise_and", "bitwise_or", "bitwise_xor", "invert", "left_shift", "right_shift"]
