"""Methods of `Dataset` that were functions of `tf.data.experimental` first: each applies that function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from coldframe import dtypes

if TYPE_CHECKING:
    from coldframe.tf1.data.dataset import Dataset
    from coldframe.tf1.framework.tensor import Tensor


class Applied:
    """The methods; `Dataset` inherits them."""

    def cardinality(self) -> Tensor:
        """Return how many elements there are, an int64 scalar: -1 for no end, -2 where that is not known."""
        return _experimental().cardinality(self)  # type: ignore[no-any-return]

    def take_while(self, predicate: Callable[..., Any], name: str | None = None) -> Dataset:
        """Return the elements before the first one for which `predicate` does not hold."""
        return _experimental().take_while(predicate)(self)  # type: ignore[no-any-return]

    def scan(self, initial_state: Any, scan_func: Callable[..., Any], name: str | None = None) -> Dataset:
        """Return elements made by ``scan_func(state, element) -> (state, new element)``."""
        return _experimental().scan(initial_state, scan_func)(self)  # type: ignore[no-any-return]

    def group_by_window(
        self, key_func: Callable[..., Any], reduce_func: Callable[..., Any], window_size: Any = None,
        window_size_func: Callable[..., Any] | None = None, name: str | None = None,
    ) -> Dataset:  # fmt: skip
        """Return the elements of ``reduce_func(key, dataset of a group)``, groups by ``key_func``, an int64 scalar."""
        made = _experimental().group_by_window(key_func, reduce_func, window_size, window_size_func)
        return made(self)  # type: ignore[no-any-return]

    def bucket_by_sequence_length(
        self, element_length_func: Callable[..., Any], bucket_boundaries: Sequence[int],
        bucket_batch_sizes: Sequence[int], padded_shapes: Any = None, padding_values: Any = None,
        pad_to_bucket_boundary: bool = False, no_padding: bool = False, drop_remainder: bool = False,
        name: str | None = None,
    ) -> Dataset:  # fmt: skip
        """Return padded batches of elements of similar length; as the function of `tf.data.experimental`."""
        made = _experimental().bucket_by_sequence_length(
            element_length_func, bucket_boundaries, bucket_batch_sizes, padded_shapes, padding_values,
            pad_to_bucket_boundary, no_padding, drop_remainder,
        )  # fmt: skip
        return made(self)  # type: ignore[no-any-return]

    def ignore_errors(self, log_warning: bool = False, name: str | None = None) -> Dataset:
        """Return the elements that can be made."""
        return _experimental().ignore_errors(log_warning)(self)  # type: ignore[no-any-return]

    def get_single_element(self, name: str | None = None) -> Any:
        """Return the only element."""
        return _experimental().get_single_element(self)

    @staticmethod
    def choose_from_datasets(
        datasets: Sequence[Dataset], choice_dataset: Dataset, stop_on_empty_dataset: bool = False
    ) -> Dataset:
        """Return elements of `datasets`, each time of the one that `choice_dataset`, int64 scalars, tells."""
        make: Callable[..., Dataset] = _experimental().choose_from_datasets
        return make(datasets, choice_dataset, stop_on_empty_dataset)

    @staticmethod
    def sample_from_datasets(
        datasets: Sequence[Dataset], weights: Any = None, seed: Any = None, stop_on_empty_dataset: bool = False
    ) -> Dataset:
        """Return elements of `datasets`, each time of a random one, with these weights."""
        make: Callable[..., Dataset] = _experimental().sample_from_datasets
        return make(datasets, weights, seed, stop_on_empty_dataset)

    def unique(self, name: str | None = None) -> Dataset:
        """Return each element, of one component, once."""
        return _experimental().unique()(self)  # type: ignore[no-any-return]

    def sparse_batch(self, batch_size: Any, row_shape: Any, name: str | None = None) -> Dataset:
        """Return sparse tensors of `batch_size` dense ones of several sizes, at most `row_shape`."""
        return _experimental().dense_to_sparse_batch(batch_size, row_shape)(self)  # type: ignore[no-any-return]

    def map_with_legacy_function(
        self, map_func: Callable[..., Any], num_parallel_calls: Any = None, deterministic: bool | None = None
    ) -> Dataset:
        """Return the dataset that `map` returns."""
        return self.map(map_func, num_parallel_calls, deterministic)  # type: ignore[attr-defined,no-any-return]

    def filter_with_legacy_function(self, predicate: Callable[..., Any]) -> Dataset:
        """Return the dataset that `filter` returns."""
        return self.filter(predicate)  # type: ignore[attr-defined,no-any-return]

    @staticmethod
    def random(seed: Any = None, rerandomize_each_iteration: bool | None = None, name: str | None = None) -> Dataset:
        """Return random numbers of 32 bits, int64 scalars, without end."""
        return _experimental().RandomDataset(seed, rerandomize_each_iteration, name)  # type: ignore[no-any-return]

    @staticmethod
    def counter(start: Any = 0, step: Any = 1, dtype: Any = dtypes.int64, name: str | None = None) -> Dataset:
        """Return numbers from `start` on, without end."""
        return _experimental().Counter(start, step, dtype)  # type: ignore[no-any-return]

    def as_numpy_iterator(self, name: str | None = None) -> Any:
        """Refuse: elements are tensors of a graph; an iterator's `get_next` is run by a session."""
        raise RuntimeError("as_numpy_iterator() is not supported while tracing functions or building graphs: "
                           "run make_one_shot_iterator(dataset).get_next() in a session")  # fmt: skip


def _experimental() -> Any:
    from coldframe.tf1.data import experimental  # it is made of Dataset

    return experimental
