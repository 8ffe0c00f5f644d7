"""The verbs (`xp`) that op bodies are written in, and their interpreters.

A verb takes and returns tensors of one interpreter: numpy arrays for `NumpyPrimitives`, symbolic values for
`OnnxPrimitives`. Verbs never promote dtypes (TensorFlow does not); Python scalars take the dtype of the tensor they
meet. Axes may be negative. Shapes and dims asked for by ``xp.shape`` and ``xp.dim`` may be symbolic under ONNX: a body
passes them on to verbs instead of computing with Python integers, or asks ``xp.static`` and so runs on numpy where
they are not known.
"""
