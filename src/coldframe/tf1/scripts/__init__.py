"""Running programs written for TensorFlow 1 as they are: what `coldframe exec` is made of."""
