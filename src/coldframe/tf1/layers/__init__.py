"""`tf.layers`: layers of neural networks."""
