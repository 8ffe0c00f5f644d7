"""TensorFlow's checkpoints and .pb files, read, written, frozen and run without TensorFlow."""
