"""The model of `serving.py` behind MLServer: ``MODEL=model.onnx mlserver start FOLDER``, by its V2 protocol.

FOLDER has ``settings.json`` with the ports, and ``model-settings.json`` that names this class.
"""

import os

import numpy as np
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec
from mlserver.types import InferenceResponse
from serving_peers import IMAGE, Onnx


class Served(MLModel):
    """A model that answers arrays; images come as base64."""

    async def load(self):
        self.model = Onnx(os.environ["MODEL"])
        return True

    async def predict(self, payload):
        inputs = {}
        for given in payload.inputs:
            if given.datatype == "BYTES":
                (content,) = Base64Codec.decode_input(given)
                inputs[given.name] = np.frombuffer(content, np.float32).reshape(IMAGE)
            else:
                inputs[given.name] = NumpyCodec.decode_input(given)
        out = NumpyCodec.encode_output("out", self.model(inputs))
        return InferenceResponse(model_name=self.name, outputs=[out])
