"""Names, places and what else a model tells, by Presidio: an optional step for what no pattern finds. Off unless params name it.

Presidio and the spaCy models that it runs are no requirement of the pipeline: params.yaml pins the version and names the
models, and a run with another version is refused, since both decide the result.
"""

import importlib
import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from typing import Protocol

from pydantic import Field

from stages.lib.core.errors import ReprotuneError
from stages.lib.core.params import Section
from stages.lib.core.requirements import installed_version
from stages.lib.scripts import HAN

PACKAGE = "presidio-analyzer"
CHINESE = re.compile(f"[{HAN}]")
PLACEHOLDER = re.compile(r"\[[A-Z_]+\]")


class PresidioParams(Section):
    version: str
    models: dict[str, str] = Field(min_length=1)  # language code -> spaCy model
    entities: list[str] = Field(min_length=1)
    score: float = Field(ge=0, le=1)


class Entity(Protocol):
    """What Presidio returns, as far as it is used."""

    entity_type: str
    start: int
    end: int


class Analyzer(Protocol):
    def analyze(self, text: str, language: str, entities: Sequence[str], score_threshold: float) -> list[Entity]: ...


def mask_named_entities(text: str, presidio: PresidioParams) -> str:
    """`[PERSON]`, `[LOCATION]`, ...: Presidio's name of the entity in the place of each; what is masked already stays."""
    if not text.strip():
        return text
    language = "zh" if "zh" in presidio.models and CHINESE.search(text) else next(iter(presidio.models))
    analyzer = load_analyzer(presidio.version, tuple(presidio.models.items()))
    found = analyzer.analyze(text=text, language=language, entities=presidio.entities, score_threshold=presidio.score)
    masked = [match.span() for match in PLACEHOLDER.finditer(text)]
    parts, position = [], 0
    for entity in sorted(found, key=lambda entity: (entity.start, -entity.end)):
        if entity.start >= position and not any(entity.start < end and start < entity.end for start, end in masked):
            parts += [text[position : entity.start], f"[{entity.entity_type}]"]
            position = entity.end
    return "".join([*parts, text[position:]])


@cache
def load_analyzer(version: str, models: tuple[tuple[str, str], ...]) -> Analyzer:
    """Presidio with these models, once a process.

    Raises:
        ReprotuneError: Presidio is absent or of another version, or a model is absent.
    """
    found = installed_version(PACKAGE)
    if found != version:
        raise ReprotuneError(
            f"params.yaml: clean.presidio.version is {version!r}; installed: {found}; `pip install {PACKAGE}=={version}`, "
            "or set presidio: null"
        )
    for language, model in models:
        if importlib.util.find_spec(model) is None:  # else Presidio would fetch it
            raise ReprotuneError(
                f"params.yaml: clean.presidio.models.{language} is {model!r}, a spaCy model that is not installed; "
                f"`python -m spacy download {model}`, or name one that is"
            )
    configuration = {
        "nlp_engine_name": "spacy",
        "models": [{"lang_code": language, "model_name": model} for language, model in models],
    }
    engine = (
        importlib.import_module("presidio_analyzer.nlp_engine").NlpEngineProvider(nlp_configuration=configuration).create_engine()
    )
    languages = [language for language, _ in models]
    analyzer: Analyzer = importlib.import_module("presidio_analyzer").AnalyzerEngine(
        nlp_engine=engine, supported_languages=languages
    )
    return analyzer
