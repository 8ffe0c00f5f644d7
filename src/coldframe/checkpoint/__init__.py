"""What users do with checkpoints: open, save, find the latest."""

from coldframe.checkpoint.reader import Checkpoint, open_checkpoint
from coldframe.checkpoint.state import latest_checkpoint
from coldframe.checkpoint.writer import save_checkpoint

__all__ = ["Checkpoint", "latest_checkpoint", "open_checkpoint", "save_checkpoint"]
