"""Names and places by Presidio, with a stub in the place of its model: what the step does, and what it says when it can't run."""

import importlib.machinery
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

import pytest
from conftest import PINS, REPO
from pydantic import ValidationError

from stages.clean.named_entities import PresidioParams, load_analyzer, mask_named_entities
from stages.clean.steps import steps_switched_on
from stages.lib.core.errors import ReprotuneError
from tests.clean.test_clean import clean_messages, message, only

PRESIDIO = {"version": "2.2.366", "models": {"en": "stub_en", "zh": "stub_zh"}, "entities": ["PERSON", "LOCATION"], "score": 0.5}
KNOWN = {
    "en": {"Ann Lee": "PERSON", "Ann": "PERSON", "Paris": "LOCATION", "EMAIL": "PERSON", "Corp": "ORG"},
    "zh": {"李雷": "PERSON", "北京": "LOCATION"},
}


@dataclass
class Result:
    entity_type: str
    start: int
    end: int
    score: float


class Engine:
    """Finds the words that it knows, each as often as it stands there, in no order."""

    def __init__(self, nlp_engine: dict, supported_languages: list[str]) -> None:
        assert [model["lang_code"] for model in nlp_engine["models"]] == supported_languages

    def analyze(self, text: str, language: str, entities: list[str], score_threshold: float) -> list[Result]:
        found = []
        for word, kind in KNOWN[language].items():
            start = text.find(word)
            while start >= 0:
                found.append(Result(kind, start, start + len(word), 0.85))
                start = text.find(word, start + 1)
        return [one for one in found[::-1] if one.entity_type in entities and one.score >= score_threshold]


class Provider:
    def __init__(self, nlp_configuration: dict) -> None:
        self.configuration = nlp_configuration

    def create_engine(self) -> dict:
        return self.configuration


@pytest.fixture
def presidio(monkeypatch: pytest.MonkeyPatch) -> Iterator[PresidioParams]:
    modules = {"presidio_analyzer": {"AnalyzerEngine": Engine}, "presidio_analyzer.nlp_engine": {"NlpEngineProvider": Provider}}
    for name, values in (modules | {"stub_en": {}, "stub_zh": {}}).items():
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    installed = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "2.2.366" if name == "presidio-analyzer" else installed(name))
    load_analyzer.cache_clear()
    yield PresidioParams(**PRESIDIO)
    load_analyzer.cache_clear()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ann Lee lives in Paris, Ann said.", "[PERSON] lives in [LOCATION], [PERSON] said."),
        ("李雷住在北京。", "[PERSON]住在[LOCATION]。"),
        ("Write to [EMAIL], Ann", "Write to [EMAIL], [PERSON]"),
        ("Corp is no person", "Corp is no person"),
        ("nobody here", "nobody here"),
        ("", ""),
    ],
)
def test_what_the_model_finds_is_masked_under_its_name(presidio: PresidioParams, text: str, expected: str) -> None:
    assert mask_named_entities(text, presidio) == expected
    assert mask_named_entities(expected, presidio) == expected


@pytest.mark.usefixtures("presidio")
def test_it_is_off_unless_params_name_it_and_then_a_step_of_the_ledger() -> None:
    said = [message("user", "I am Ann Lee, ann@c-d.io"), message("assistant", "Hello Ann, how is Paris?")]
    assert "presidio" not in [step.name for step in steps_switched_on(only())]
    assert clean_messages(said, only()) == (said, [])
    params = only(personal_data=["email"], presidio=PRESIDIO)
    cleaned, steps = clean_messages(said, params)
    assert [one["content"] for one in cleaned] == ["I am [PERSON], [EMAIL]", "Hello [PERSON], how is [LOCATION]?"]
    assert steps == ["email", "presidio"]


def test_without_presidio_or_with_another_version_the_error_says_what_to_install(presidio: PresidioParams) -> None:
    with pytest.raises(
        ReprotuneError, match=r"clean\.presidio\.version is '9'; installed: 2\.2\.366; `pip install presidio-analyzer==9`"
    ):
        mask_named_entities("Ann", presidio.model_copy(update={"version": "9"}))


def test_an_absent_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    load_analyzer.cache_clear()
    with pytest.raises(ReprotuneError, match="installed: absent"):
        mask_named_entities("Ann", PresidioParams(**PRESIDIO))


def test_a_model_that_is_not_installed_is_named_and_not_fetched(presidio: PresidioParams) -> None:
    with pytest.raises(ReprotuneError, match=r"models\.en is 'no_such_model', a spaCy model that is not installed"):
        mask_named_entities("Ann", presidio.model_copy(update={"models": {"en": "no_such_model"}}))


@pytest.mark.parametrize("wrong", [{"models": {}}, {"entities": []}, {"score": 2}, {"words": 1}])
def test_a_wrong_value_is_refused(wrong: dict) -> None:
    with pytest.raises(ValidationError):
        PresidioParams(**PRESIDIO | wrong)


def test_the_pipeline_requires_neither_presidio_nor_its_models() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in PINS)
    assert "presidio" not in text
    assert "\n  presidio: null" in (REPO / "params.yaml").read_text(encoding="utf-8")
