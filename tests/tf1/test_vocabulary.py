"""`tf.contrib.learn.preprocessing`: words as numbers."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

import coldframe.tf1 as tf
from coldframe.errors import CorruptError

learn = tf.contrib.learn.preprocessing
TEXTS = ["the cat isn't in the NASAHat", "a well-known cat", "", "the the the end of it all"]


def test_texts_become_rows() -> None:
    processor = learn.VocabularyProcessor(5)
    rows = [r.tolist() for r in processor.fit_transform(TEXTS)]
    assert rows == [[1, 2, 3, 4, 1], [7, 8, 2, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 9, 10]]
    assert next(iter(processor.transform(["the unknown cat"]))).tolist() == [1, 0, 2, 0, 0]
    assert next(iter(processor.reverse([[1, 2, 0]]))) == "the cat <UNK>"


def test_words() -> None:
    assert list(learn.tokenizer(["the cat isn't in a well-known NASAHat, FooBar!"])) == [
        ["the", "cat", "isn't", "in", "a", "well-known", "NASA", "Hat", "Foo", "Bar"]
    ]


def test_rare_words_are_left_out() -> None:
    processor = learn.VocabularyProcessor(6, min_frequency=1)
    rows = [r.tolist() for r in processor.fit_transform(TEXTS)]
    assert len(processor.vocabulary_) == 3
    assert rows[3] == [1, 1, 1, 0, 0, 0]


def test_a_processor_is_saved_and_restored(tmp_path: Path) -> None:
    path = str(tmp_path / "vocab")
    processor = learn.VocabularyProcessor(4).fit(TEXTS)
    processor.save(path)
    again = learn.VocabularyProcessor.restore(path)
    assert [r.tolist() for r in again.transform(TEXTS)] == [r.tolist() for r in processor.transform(TEXTS)]
    (tmp_path / "vocab").write_bytes(pickle.dumps([1]))
    with pytest.raises(CorruptError, match="holds no vocabulary: found list"):
        learn.VocabularyProcessor.restore(path)


def test_reversing_may_be_left_out() -> None:
    with pytest.raises(ValueError, match="support_reverse"):
        learn.CategoricalVocabulary(support_reverse=False).reverse(0)


def test_data_sets() -> None:
    assert tf.contrib.learn.datasets.load_dataset("mnist", test_with_fake_data=True).train.num_examples == 10000
    with pytest.raises(ValueError, match="coldframe has `mnist`"):
        tf.contrib.learn.datasets.load_dataset("iris")
