"""Bytes to plain records and back: one module per layer, no meaning attached."""
