"""Reply metrics as `evaluate.Metric`s that need no hub: chrF, BLEU, ROUGE-L, distinct-n."""

import re
import tempfile

import datasets
import evaluate
import sacrebleu
from rouge_score import rouge_scorer
from sacrebleu.metrics.base import Metric

from stages.lib.scripts import HANGUL, UNSPACED

# One token for each character of a script written without spaces, or a run of letters and digits of any other.
UNSPACED_CHARACTER = f"[{UNSPACED}{HANGUL}]"
WORDS = re.compile(rf"{UNSPACED_CHARACTER}|(?:(?!{UNSPACED_CHARACTER})[^\W_])+")
TOKENIZER_OF = {"zh": "zh", "yue": "zh", "ja": "char", "ko": "char", "th": "char", "lo": "char", "km": "char", "my": "char"}


def words(text: str) -> list[str]:
    """Lower-case words; characters where the script has no spaces.

    >>> words("Don't panic, 你好!")
    ['don', 't', 'panic', '你', '好']
    """
    return WORDS.findall(text.lower())


def bleu_tokenizer(language: str) -> str:
    """sacrebleu's tokenizer for a language: scores of two tokenizers must never be pooled or compared."""
    return TOKENIZER_OF.get(language.partition("-")[0], "13a")


def signatures(languages: list[str]) -> dict[str, str]:
    """sacrebleu's signature of each score: two scores are comparable only where these are equal."""
    one_reference = [["a"]]
    metrics: dict[str, Metric] = {"chrf": sacrebleu.CHRF(references=one_reference)}
    metrics |= {f"bleu_{one}": sacrebleu.BLEU(tokenize=bleu_tokenizer(one), references=one_reference) for one in languages}
    return {name: str(metric.get_signature()) for name, metric in metrics.items()}


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
    """Character n-gram F-score (Popovic 2015), 0 to 100, higher is better. Needs no tokenizer: languages can be pooled."""

    description = "chrF2 of sacrebleu"

    def _compute(self, predictions: list[str], references: list[str]) -> dict[str, float]:
        return {"chrf": sacrebleu.CHRF().corpus_score(predictions, [references]).score}


class Bleu(TextMetric):
    """Corpus BLEU (Papineni et al. 2002), 0 to 100, higher is better; for one language at a time."""

    description = "BLEU of sacrebleu"

    def _compute(self, predictions: list[str], references: list[str], language: str) -> dict[str, float]:
        return {"bleu": sacrebleu.BLEU(tokenize=bleu_tokenizer(language)).corpus_score(predictions, [references]).score}


class RougeL(TextMetric):
    """Mean ROUGE-L F1 (Lin 2004), 0 to 100, higher is better; on `words`, the first `max_words` of each text."""

    description = "ROUGE-L of rouge-score"

    def _compute(self, predictions: list[str], references: list[str], max_words: int) -> dict[str, float]:
        class Words:
            def tokenize(self, text: str) -> list[str]:
                return words(text)[:max_words]

        scorer = rouge_scorer.RougeScorer(["rougeL"], tokenizer=Words())
        scores = [
            scorer.score(reference, prediction)["rougeL"].fmeasure
            for prediction, reference in zip(predictions, references, strict=True)
        ]
        return {"rouge_l": 100 * sum(scores) / len(scores)}


def distinct_n(texts: list[str], n: int, sample: int) -> float | None:
    """Different n-grams among the first `sample` n-grams of the texts, 0 to 1 (Li et al. 2016); higher is more varied.

    It falls as the sample grows: compare only at equal `sample`. None where there is no n-gram.

    >>> distinct_n(["a b a b"], n=2, sample=3)
    0.6666666666666666
    """
    grams = [gram for text in texts for gram in _ngrams(words(text), n)][:sample]
    return len(set(grams)) / len(grams) if grams else None


def count_ngrams(texts: list[str], n: int) -> int:
    return sum(max(0, len(words(text)) - n + 1) for text in texts)


def _ngrams(tokens: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]
