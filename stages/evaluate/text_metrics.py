"""Reply metrics as `evaluate.Metric`s that need no hub: chrF, BLEU, ROUGE-L; and distinct-n."""

import tempfile

import datasets
import evaluate
import numpy as np
import sacrebleu
from sacrebleu.metrics.base import Metric

from stages.evaluate.words import words

TOKENIZER_OF = {"zh": "zh", "yue": "zh", "ja": "char", "ko": "char", "th": "char", "lo": "char", "km": "char", "my": "char"}
SCORED_BY_SENTENCE = "mean of sentences"


def bleu_tokenizer(language: str) -> str:
    """sacrebleu's tokenizer for a language: scores of two tokenizers must never be pooled or compared."""
    return TOKENIZER_OF.get(language.partition("-")[0], "13a")


def signatures(languages: list[str]) -> dict[str, str]:
    """sacrebleu's signature of each score: two scores are comparable only where these are equal."""
    one_reference = [["a"]]
    metrics: dict[str, Metric] = {"chrf": sacrebleu.CHRF(references=one_reference)}
    metrics |= {f"bleu_{one}": sacrebleu.BLEU(tokenize=bleu_tokenizer(one), references=one_reference) for one in languages}
    found = {name: str(metric.get_signature()) for name, metric in metrics.items()}
    return found | {"chrf": f"{SCORED_BY_SENTENCE}|{found['chrf']}"}


def sentence_chrf(replies: list[str], references: list[str]) -> np.ndarray:
    """sacrebleu's chrF2 of each reply, 0 to 100: (N,)."""
    metric = sacrebleu.CHRF()
    pairs = zip(replies, references, strict=True)
    return np.array([metric.sentence_score(reply, [reference]).score for reply, reference in pairs], float)


def rouge_l(replies: list[str], references: list[str], max_words: int) -> np.ndarray:
    """ROUGE-L F1 of each reply on `words`, the first `max_words` of each text, 0 to 100: (N,). The figures are rouge-score's."""
    pairs = zip(replies, references, strict=True)
    return 100 * np.array([overlap(words(reference)[:max_words], words(reply)[:max_words]) for reply, reference in pairs], float)


def overlap(reference: list[str], reply: list[str]) -> float:
    """F1 of the longest common subsequence: 0 to 1."""
    common = common_subsequence(reference, reply)
    if not common:
        return 0.0
    precision, recall = common / len(reply), common / len(reference)
    return 2 * precision * recall / (precision + recall)


def common_subsequence(one: list[str], other: list[str]) -> int:
    """Length of the longest one, a row of the usual table at once, as the bits of one integer (Crochemore et al. 2001).

    >>> common_subsequence("the cat sat on the mat".split(), "mat the on sat".split()), common_subsequence([], ["a"])
    (2, 0)
    """
    places: dict[str, int] = {}
    for at, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << at
    whole = (1 << len(one)) - 1
    row = whole  # a bit is 0 where the subsequence becomes longer
    for word in other:
        found = row & places.get(word, 0)
        row = (row + found | row - found) & whole
    return len(one) - row.bit_count()


class TextMetric(evaluate.Metric):
    """Base of the metrics here: predictions and references are lists of texts, nothing is kept on disk."""

    description = ""

    def __init__(self, **kwargs: object) -> None:
        with tempfile.TemporaryDirectory() as folder:  # evaluate makes its folder even when it keeps all in memory
            super().__init__(keep_in_memory=True, cache_dir=folder, seed=0, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=self.description,
            citation="",
            features=datasets.Features({"predictions": text, "references": text}),
        )


class ChrF(TextMetric):
    """Character n-gram F-score (Popovic 2015), mean over replies, 0 to 100, higher is better.

    Each conversation counts alike, however long. Needs no tokenizer: languages can be pooled. `each`: of each reply.
    """

    description = "chrF2 of sacrebleu, mean of sentences"

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, float | np.ndarray]:
        each = sentence_chrf(predictions, references)
        return {"chrf": float(each.mean()), "each": each}


class Bleu(TextMetric):
    """Corpus BLEU (Papineni et al. 2002), 0 to 100, higher is better; for one language at a time."""

    description = "BLEU of sacrebleu"

    def _compute(self, predictions: list[str], references: list[str], language: str) -> dict[str, float]:
        return {"bleu": sacrebleu.BLEU(tokenize=bleu_tokenizer(language)).corpus_score(predictions, [references]).score}


class RougeL(TextMetric):
    """Mean ROUGE-L F1 (Lin 2004), 0 to 100, higher is better; on `words`, the first `max_words` of each text."""

    description = "ROUGE-L, as rouge-score has it"

    def _compute(self, predictions: list[str], references: list[str], max_words: int) -> dict[str, float]:
        return {"rouge_l": float(rouge_l(predictions, references, max_words).mean())}


def distinct_n(texts: list[str], n: int, sample: int) -> float | None:
    """Different n-grams among the first `sample` of the texts, over `sample`: 0 to 1 (Li et al. 2016); higher is more varied.

    It falls as the sample grows, so compare only at an equal one. Texts too short to fill it vary less, not more. None where
    the sample is 0.

    >>> distinct_n(["a b a b"], n=2, sample=3), distinct_n(["a b"], n=2, sample=4)
    (0.6666666666666666, 0.25)
    """
    grams = [gram for text in texts for gram in _ngrams(words(text), n)][:sample]
    return len(set(grams)) / sample if sample else None


def count_ngrams(texts: list[str], n: int) -> int:
    return sum(max(0, len(words(text)) - n + 1) for text in texts)


def _ngrams(tokens: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
