"""What a contender's replies and likelihoods are worth, each figure for itself."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pandas as pd

from stages.evaluate.behaviour import describe_reply
from stages.evaluate.embedding import Embedder
from stages.evaluate.figures import Figures, bits_per_byte_figure, perplexity_figure
from stages.evaluate.intervals import share_interval
from stages.evaluate.text_metrics import Bleu, ChrF, count_ngrams, distinct_n, rouge_l
from stages.lib.records.scores import LanguageRow, Why

FEWEST_OF_A_LANGUAGE = 100  # test conversations, from which on its BLEU and ROUGE-L are metrics; below, rows of a table
BEHAVIOURS = ["looping", "runaway", "empty", "wrong_language", "prompt_copy"]
DIRECTED = ("runaway", "broken")  # with their intervals
NO_EMBEDDING = Why.NO_EMBEDDING.said()
NO_REPLY = Why.NO_REPLY.said()


class Settings(NamedTuple):
    """`languages`: those with metrics of their own. `samples`: n -> n-grams of the references, for distinct-n."""

    confidence: float
    rouge_max_words: int
    languages: Sequence[str]
    samples: dict[int, int]
    embedder: Embedder | None


def samples_of(references: list[str]) -> dict[int, int]:
    """How many n-grams variety is measured on: no reply changes it, and references have them all."""
    return {n: count_ngrams(references, n) for n in (1, 2)}


def languages_with_metrics(conversations: pd.DataFrame) -> list[str]:
    """Of the test set alone: what a model could not score takes no metric away."""
    counts = conversations["language"].value_counts()
    return sorted(str(language) for language in counts.index[counts >= FEWEST_OF_A_LANGUAGE])


def score_each(replies: pd.DataFrame, texts: list[str], stopped: list[bool], max_words: int) -> pd.DataFrame:
    """One row a reply: chrf, rouge_l, the behaviours, and `broken`, whether any of them is there."""
    references = list(replies["reference"])
    rows = pd.DataFrame(
        [
            describe_reply(text, ended, prompt, reference, language)
            for text, ended, prompt, reference, language in zip(
                texts, stopped, replies["prompt"], references, replies["language"], strict=True
            )
        ],
        columns=BEHAVIOURS,
        dtype=bool,
    )
    rows["broken"] = rows.any(axis=1)
    rows["chrf"] = ChrF().compute(predictions=texts, references=references)["each"] if texts else []
    rows["rouge_l"] = rouge_l(texts, references, max_words)
    return rows


def variety(texts: list[str], samples: dict[int, int]) -> Figures:
    figures: Figures = {}
    for n, sample in samples.items():
        value = distinct_n(texts, n, sample)
        figures[f"distinct_{n}"] = (Why.NO_WORD if n == 1 else Why.NO_WORD_PAIR).said() if value is None else value
    return figures


def reply_figures(replies: pd.DataFrame, each: pd.DataFrame, texts: list[str], settings: Settings) -> Figures:
    """Means over all replies; BLEU and ROUGE-L of the languages that have enough of them."""
    if not texts:
        names = [
            "chrf",
            "embedding_similarity",
            "length_ratio",
            "reply_characters",
            "distinct_1",
            "distinct_2",
            "broken",
            *BEHAVIOURS,
        ]
        return dict.fromkeys(names, NO_REPLY)
    figures: Figures = {"replies": len(texts), "chrf": float(each["chrf"].mean())}
    figures["embedding_similarity"] = float(each["similarity"].mean()) if "similarity" in each else NO_EMBEDDING
    characters, expected = sum(map(len, texts)), sum(map(len, replies["reference"]))
    figures["reply_characters"] = characters / len(texts)
    figures["length_ratio"] = characters / expected if expected else Why.EMPTY_REFERENCES.said()
    figures |= {name: float(each[name].mean()) for name in ["broken", *BEHAVIOURS]}
    for name in DIRECTED:
        low, high = share_interval(each[name].to_numpy(), replies["group"].to_numpy(), settings.confidence)
        figures |= {f"{name}_low": low, f"{name}_high": high}
    for row in by_language("", replies, each, texts, settings.languages):
        figures |= {f"bleu_{row['language']}": row["bleu"], f"rouge_l_{row['language']}": row["rouge_l"]}
    absent = set(settings.languages) - set(replies["language"])
    figures |= {f"{name}_{language}": NO_REPLY for language in sorted(absent) for name in ("bleu", "rouge_l")}
    return figures | variety(texts, settings.samples)


@lru_cache(maxsize=64)
def corpus_bleu(replies: tuple[str, ...], references: tuple[str, ...], language: str) -> float:
    """Remembered: the same figure stands among a contender's metrics, in the table of languages and beside other models."""
    return Bleu().compute(predictions=list(replies), references=list(references), language=language)["bleu"]


def by_language(
    contender: str, replies: pd.DataFrame, each: pd.DataFrame, texts: list[str], languages: Sequence[str]
) -> list[LanguageRow]:
    """Each of these languages by itself, since each is tokenised its own way."""
    said = pd.Series(texts, dtype=object)
    rows: list[LanguageRow] = []
    kept = replies.reset_index(drop=True)
    for language, part in kept[kept["language"].isin(list(languages))].groupby("language", sort=True):
        said_in_it = tuple(said[part.index])
        rows.append(
            {
                "contender": contender,
                "language": str(language),
                "replies": len(part),
                "bleu": corpus_bleu(said_in_it, tuple(part["reference"]), str(language)),
                "rouge_l": float(each["rouge_l"][part.index].mean()),
                "chrf": float(each["chrf"][part.index].mean()),
            }
        )
    return rows


def likelihood_figures(nll: np.ndarray, labels: np.ndarray, text_bytes: np.ndarray) -> Figures:
    return {
        "labels": int(np.nansum(labels)),
        "perplexity": perplexity_figure(nll, labels),
        "bits_per_byte": bits_per_byte_figure(nll, text_bytes),
    }
