"""`tf.contrib.learn.preprocessing`: documents as rows of numbers, one for each word."""

from __future__ import annotations

import pickle
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import numpy as np

from coldframe.errors import CorruptError
from coldframe.tf1.platform import gfile

_WORD: Final = re.compile(r"[A-Z]{2,}(?![a-z])|[A-Z][a-z]+(?=[A-Z])|['\w\-]+", re.UNICODE)
"""Words; capitals within a run of letters begin a new one, as in TensorFlow's tokenizer."""


def tokenizer(iterator: Iterable[str]) -> Iterator[list[str]]:
    """Yield the words of each text."""
    for text in iterator:
        yield _WORD.findall(text)


class CategoricalVocabulary:
    """Numbers of words, in the order in which they are first asked for; 0 is for those that are not known."""

    def __init__(self, unknown_token: str = "<UNK>", support_reverse: bool = True) -> None:
        self._unknown_token = unknown_token
        self._mapping = {unknown_token: 0}
        self._support_reverse = support_reverse
        self._reverse_mapping = [unknown_token] if support_reverse else []
        self._freq: Counter[str] = Counter()
        self._freeze = False

    def __len__(self) -> int:
        return len(self._mapping)

    def freeze(self, freeze: bool = True) -> None:
        """Give no new numbers: words that are not known get 0."""
        self._freeze = freeze

    def get(self, category: str) -> int:
        """Return the number of a word."""
        if category not in self._mapping:
            if self._freeze:
                return 0
            self._mapping[category] = len(self._mapping)
            if self._support_reverse:
                self._reverse_mapping.append(category)
        return self._mapping[category]

    def add(self, category: str, count: int = 1) -> None:
        """Count a word; the counts decide what `trim` keeps."""
        if self.get(category) > 0:
            self._freq[category] += count

    def trim(self, min_frequency: int, max_frequency: int = -1) -> None:
        """Keep words counted more than `min_frequency` times, the most frequent ones first."""
        kept = [w for w, n in sorted(sorted(self._freq.items()), key=lambda x: x[1], reverse=True)
                if n > min_frequency and (max_frequency <= 0 or n < max_frequency)]  # fmt: skip
        self._freq = Counter({w: self._freq[w] for w in kept})
        self._mapping = {self._unknown_token: 0, **{w: i for i, w in enumerate(kept, 1)}}
        if self._support_reverse:
            self._reverse_mapping = list(self._mapping)

    def reverse(self, class_id: int) -> str:
        """Return the word of a number.

        Raises:
            ValueError: the vocabulary was made without it.
        """
        if not self._support_reverse:
            raise ValueError("This vocabulary wasn't initialized with support_reverse to support reverse() function.")
        return self._reverse_mapping[class_id]


class VocabularyProcessor:
    """Makes rows of `max_document_length` numbers of texts.

    Args:
        max_document_length: longer texts are cut, shorter ones filled with 0.
        min_frequency: words that are not more frequent than this become 0.
        vocabulary: a `CategoricalVocabulary` to use as it is.
        tokenizer_fn: from texts to lists of words, in place of `tokenizer`.
    """

    def __init__(
        self, max_document_length: int, min_frequency: int = 0, vocabulary: CategoricalVocabulary | None = None,
        tokenizer_fn: Callable[[Iterable[str]], Iterable[list[str]]] | None = None,
    ) -> None:  # fmt: skip
        self.max_document_length, self.min_frequency = max_document_length, min_frequency
        self.vocabulary_ = vocabulary or CategoricalVocabulary()
        self._tokenizer = tokenizer_fn or tokenizer

    def fit(self, raw_documents: Iterable[str], unused_y: Any = None) -> VocabularyProcessor:
        """Learn the words of the texts."""
        for words in self._tokenizer(raw_documents):
            for word in words:
                self.vocabulary_.add(word)
        if self.min_frequency > 0:
            self.vocabulary_.trim(self.min_frequency)
        self.vocabulary_.freeze()
        return self

    def transform(self, raw_documents: Iterable[str]) -> Iterator[Any]:
        """Yield a row of int64 for each text."""
        for words in self._tokenizer(raw_documents):
            row = np.zeros(self.max_document_length, np.int64)
            for i, word in enumerate(words[: self.max_document_length]):
                row[i] = self.vocabulary_.get(word)
            yield row

    def fit_transform(self, raw_documents: Iterable[str], unused_y: Any = None) -> Iterator[Any]:
        """Learn the words of the texts, and return their rows."""
        self.fit(raw_documents)
        return self.transform(raw_documents)

    def reverse(self, documents: Iterable[Any]) -> Iterator[str]:
        """Yield the text of each row, words separated by spaces."""
        for row in documents:
            yield " ".join(self.vocabulary_.reverse(i) for i in row)

    def save(self, filename: str) -> None:
        """Write the vocabulary and the settings to a file, by `pickle`."""
        with gfile.Open(filename, "wb") as f:
            f.write(pickle.dumps(self))

    @classmethod
    def restore(cls, filename: str) -> VocabularyProcessor:
        """Return what `save` wrote. A pickle runs what it names: restore only files that you trust.

        Raises:
            CorruptError: the file holds something else.
        """
        with gfile.Open(filename, "rb") as f:
            found = pickle.loads(f.read())
        if not isinstance(found, cls):
            raise CorruptError(f"`{filename}` holds no vocabulary", found=type(found).__name__)
        return found


__all__ = ["CategoricalVocabulary", "VocabularyProcessor", "tokenizer"]
