"""`tensorflow.python.tools`: what programs call of TensorFlow's own tools."""
