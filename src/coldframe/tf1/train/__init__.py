"""`tf.train`: optimizers, schedules, saving, sessions that train."""
