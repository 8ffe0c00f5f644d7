"""XLA, held to the conformance tests of all engines."""

from engines_conformance import EngineConformance


class TestXla(EngineConformance):
    engine = "xla"
