"""`tf.nn` (being built)."""
