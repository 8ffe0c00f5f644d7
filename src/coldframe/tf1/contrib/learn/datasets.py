"""`tf.contrib.learn.datasets`: MNIST, from files of a folder."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.scripts import mnist


def load_dataset(name: str, size: str = "small", test_with_fake_data: bool = False) -> Any:
    """Return the data set `name`; coldframe knows ``mnist``, in the folder ``MNIST-data``.

    Raises:
        ValueError: it is another data set.
    """
    del size
    if name != "mnist":
        raise ValueError(f"Name of dataset is not found: {name} (coldframe has `mnist`)")
    return mnist.read_data_sets("MNIST-data", fake_data=test_with_fake_data)


__all__ = ["load_dataset", "mnist"]
