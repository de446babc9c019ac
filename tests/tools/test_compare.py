"""Two runs compared: the verdict, the figures behind it, and what may not be compared."""

import contextlib
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from compare_project import NUMBER, PIN, commit_runs, likely, make_repository, md5_of_out, object_of, reference
from conftest import run

from stages.evaluate.intervals import mean_difference
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.scores import EXAMPLES
from tools.compare.__main__ import compare_two
from tools.compare.comparison import Comparison
from tools.compare.page import render


def compare(folder: Path, *names: str) -> Comparison:
    with contextlib.chdir(folder):
        return compare_two(list(names), fetch=False)


def other(number: int) -> str:
    """A reply that is another one for each third conversation, and worse."""
    return "who knows" if number % 3 == 0 else reference(number)


LABELS = ("yes", "no", "maybe")
CLASSIFICATION = {
    "conditions": {"task": "classification", "labels": list(LABELS)},
    "references": lambda number: LABELS[number % 3],
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tags: start; better, worse (likelihoods), unclear (another seed), and runs that were measured otherwise."""
    folder = make_repository(tmp_path_factory.mktemp("compare") / "项 目" / "below")
    runs: dict[str, dict[str, Any]] = {
        "start": {"nll": likely(0)},
        "better": {"nll": likely(-1, 1), "params": {"train.learning_rate": 0.0002}, "validation_loss": 2.2},
        "worse": {"nll": likely(1, 2), "replies": other},
        "unclear": {"nll": likely(0.02, 3)},
        "cleaned": {
            "nll": likely(-1, 5), "dropped": {"pairs/0100": "refusal"}, "repaired": ("pairs/0101",),
            "params": {"clean.refusals": "drop"},
        },
        "other_ids": {"nll": likely(-1, 4), "source": "chats"},
        "other_test": {"nll": likely(-1, 4), "questions": "another question"},
        "other_precision": {"nll": likely(-1, 4), "conditions": {"environment": {"precision": "bfloat16", "device": "cpu"}}},
        "other_decoding": {"nll": likely(-1, 4), "conditions": {"decoding": "beam search"}},
        "other_limit": {"nll": likely(-1, 4), "conditions": {"max_new_tokens": 50, "batch_size": 8}},
        "other_tokenizer": {"nll": likely(-1, 4), "labels": 8, "pin": {**PIN, "tokenizer": {"tokenizer.json": {"sha256": "ef"}}}},
        "other_base_replies": {"nll": likely(-1, 4), "base_says": 7},
        "regrouped": {"nll": likely(-1, 1), "together": ("pairs/0003", "pairs/0004")},
        "labels": {"nll": likely(0), "replies": lambda number: LABELS[number % 3], **CLASSIFICATION},
        "wrong": {"nll": likely(-1, 1), "replies": lambda number: ("no", "no", "of course")[number % 3], **CLASSIFICATION},
    }  # fmt: skip
    commit_runs(folder, runs)
    return folder


def test_a_run_that_finds_the_references_likelier_is_better_and_the_other_way_round_worse(repository: Path) -> None:
    better, worse = compare(repository, "start", "better"), compare(repository, "better", "start")
    assert (better["verdict"], worse["verdict"]) == ("better", "worse")
    assert better["headline"].startswith("B is better than A: perplexity 0.9")
    assert better["claims"]["better"]["estimate"] == pytest.approx(1 / worse["claims"]["better"]["estimate"])
    assert better["comparability"]["comparable"] == "yes"


def test_the_interval_is_of_pairs_and_far_smaller_than_either_runs_own(repository: Path) -> None:
    claim = compare(repository, "start", "better")["claims"]["better"]
    difference, labels = likely(-1, 1) - likely(0), np.full(NUMBER, 10.0)
    expected = mean_difference(difference, labels, np.arange(NUMBER).astype(str), 0.95)
    assert claim["estimate"] == pytest.approx(math.exp(expected.value))
    assert (claim["low"], claim["high"]) == pytest.approx((math.exp(expected.low), math.exp(expected.high)))
    alone = mean_difference(likely(0), labels, np.arange(NUMBER).astype(str), 0.95)
    assert expected.error < alone.error / 2


def test_noise_decides_nothing_and_the_sentence_says_what_would(repository: Path) -> None:
    found = compare(repository, "start", "unclear")
    assert found["verdict"] == "can't tell"
    assert "more test conversations would decide" in found["headline"]
    assert found["claims"]["better"]["more_conversations"] > NUMBER


def test_the_same_predictions_are_the_same_whatever_else_changed(repository: Path) -> None:
    assert compare(repository, "start", "start")["verdict"] == "the same"


def test_the_figures_are_those_of_dvc_metrics_diff(repository: Path) -> None:
    told = json.loads(
        run(["dvc", "metrics", "diff", "start", "worse", "--targets", "metrics/tuned.json", "--json"], repository).stdout
    )
    found = compare(repository, "start", "worse")
    theirs = {key: (one["old"], one["new"], one["diff"]) for key, one in told["metrics/tuned.json"].items()}
    ours = {key: (one["a"], one["b"], one["change"]) for key, one in found["metrics"]["tuned"].items() if one["a"] != one["b"]}
    assert ours == theirs
    for claim, metric in (("better", "perplexity"), ("wording", "chrf"), ("broken", "broken"), ("length", "reply_characters")):
        values = found["metrics"]["tuned"][metric]
        assert (found["claims"][claim]["base"], found["claims"][claim]["tuned"]) == pytest.approx((values["a"], values["b"]))


def test_other_params_name_the_stages_that_ran_for_them(repository: Path) -> None:
    found = compare(repository, "start", "better")
    assert found["params"] == [{"name": "train.learning_rate", "a": 4e-4, "b": 2e-4}]
    stages = {one["name"]: one for one in found["stages"]}
    assert stages["train"]["params"] == ["train.learning_rate"]
    assert stages["evaluate"]["data"] == ["data/predictions/tuned.parquet"]
    assert "clean" not in stages
    assert "predict@base" not in stages


def test_conversations_that_left_or_were_cleaned_differently_are_named_with_the_reason(repository: Path) -> None:
    found = compare(repository, "start", "cleaned")
    changes = {(one["kind"], one["what"]): one["ids"] for one in found["data"]["changes"]}
    assert changes["left", "train, now dropped, refusal"] == ["pairs/0100"]
    assert changes["cleaned differently", "now fix_whitespace"] == ["pairs/0101"]
    assert changes["changed", "text"] == ["pairs/0101"]
    back = compare(repository, "cleaned", "start")["data"]["changes"]
    assert ("entered", "train, before dropped, refusal") in {(one["kind"], one["what"]) for one in back}
    assert found["claims"]["memorised"]["reason"] == "the two learned from different conversations"
    assert found["claims"]["better"]["verdict"] != "not_measured"


def test_another_test_set_is_not_comparable_and_no_number(repository: Path) -> None:
    for name in ("other_test", "other_ids"):  # other messages under the same ids, and other ids
        found = compare(repository, "start", name)
        assert found["verdict"] == "not comparable"
        assert "tuned" not in found["metrics"]
        assert {claim for claim, made in found["claims"].items() if made["estimate"] is not None} == {"forgot"}
        assert (found["replies"], found["notes"]) == (None, [])


def test_another_precision_or_decoding_leaves_the_claims_about_likelihoods(repository: Path) -> None:
    for name in ("other_precision", "other_decoding"):
        found = compare(repository, "start", name)
        assert found["comparability"]["comparable"] == "partly"
        assert set(found["comparability"]["withheld"]) == {"broken", "length", "wording"}
        assert found["verdict"] == "better"
        assert "perplexity" in found["metrics"]["tuned"]
        assert "chrf" not in found["metrics"]["tuned"]


def test_a_longer_limit_that_no_reply_reached_changes_nothing(repository: Path) -> None:
    assert compare(repository, "start", "other_limit")["comparability"]["withheld"] == {}


def test_across_tokenizers_likelihoods_are_compared_by_the_byte(repository: Path) -> None:
    found = compare(repository, "start", "other_tokenizer")
    claim = found["claims"]["better"]
    assert (claim["measure"], found["verdict"]) == ("bits_per_byte_difference", "better")
    values = found["metrics"]["tuned"]["bits_per_byte"]
    assert (claim["base"], claim["tuned"], claim["estimate"]) == pytest.approx((values["a"], values["b"], values["change"]))
    assert "perplexity" not in found["metrics"]["tuned"]
    assert "forgot" in found["comparability"]["withheld"]


def test_what_was_forgotten_is_compared_only_of_the_same_replies(repository: Path) -> None:
    claims = compare(repository, "start", "other_base_replies")["claims"]
    assert claims["forgot"]["reason"] == "the base models' replies to the general prompts differ"
    assert claims["better"]["verdict"] == "less"


def test_replies_that_changed_stand_side_by_side_where_both_revisions_show_them(repository: Path) -> None:
    found = compare(repository, "start", "worse")
    assert (found["replies"]["changed"], found["replies"]["best"]) == (NUMBER // 3, [])
    worst = found["replies"]["worst"][0]
    assert worst["texts"]["b"] == "who knows"
    assert worst["texts"]["a"] == worst["texts"]["reference"]
    assert "who knows" in render(found)


def test_what_is_out_of_reach_is_named_and_git_alone_is_compared(repository: Path, tmp_path: Path) -> None:
    clone = tmp_path / "clone" / "below"
    run(["git", "clone", "-q", str(repository.parent), "clone"], tmp_path)
    found = compare(clone, "start", "better")
    assert found["verdict"] == "not measured"
    assert found["metrics"]["tuned"]["perplexity"]["change"] < 0
    assert "data/evaluation/examples.parquet" in {one["path"] for one in found["missing"]}
    assert [one["name"] for one in found["params"]] == ["train.learning_rate"]
    page = render(found)
    assert "Out of reach" in page
    assert "From git alone, perplexity went from 7.5" in page


def test_what_the_remote_has_is_fetched_and_hashed(repository: Path, tmp_path: Path) -> None:
    remote, clone = tmp_path / "remote", tmp_path / "clone" / "below"
    shutil.copytree(repository / ".dvc/cache", remote)
    run(["git", "clone", "-q", str(repository.parent), "clone"], tmp_path)
    (clone / ".dvc/config.local").write_text(f"[core]\n    remote = team\n['remote \"team\"']\n    url = {remote}\n")
    with contextlib.chdir(clone):
        assert compare_two(["start", "better"], fetch=True)["verdict"] == "better"


@pytest.mark.parametrize("what", ["file", "list"])
def test_an_altered_object_is_never_believed(repository: Path, tmp_path: Path, what: str) -> None:
    shutil.copytree(repository.parent, tmp_path / "copy", symlinks=True)
    copy = tmp_path / "copy" / "below"
    stored = object_of(copy, md5_of_out(run(["git", "show", "better:./dvc.lock"], repository).stdout, EXAMPLES.parent))
    if what == "file":
        listed = json.loads(stored.read_text(encoding="utf-8"))
        stored = object_of(copy, next(one["md5"] for one in listed if one["relpath"] == EXAMPLES.name))
    stored.write_bytes(stored.read_bytes()[:-1] + b"x")
    with pytest.raises(ReprotuneError, match="altered: other bytes than better"):
        compare(copy, "start", "better")


def test_the_files_of_the_work_tree_need_no_cache(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository.parent, tmp_path / "copy", symlinks=True)
    copy = tmp_path / "copy" / "below"
    shutil.rmtree(copy / ".dvc/cache")

    def lacking() -> list[str]:
        missing = compare(copy, "start", "workspace")["missing"]
        return [one["run"] for one in missing if one["path"] == EXAMPLES.as_posix()]

    assert lacking() == ["A"]
    (copy / EXAMPLES.parent / ".DS_Store").write_bytes(b"what DVC ignores")
    assert lacking() == ["A"]
    (copy / EXAMPLES).write_bytes(b"other")
    assert lacking() == ["A", "B"]


def test_a_run_whose_files_dvc_recorded_one_by_one_is_compared_with_one_of_today(repository: Path, tmp_path: Path) -> None:
    shutil.copytree(repository.parent, tmp_path / "copy", symlinks=True)
    copy = tmp_path / "copy" / "below"
    run(["git", "checkout", "-q", "start"], copy)
    lock = yaml.safe_load((copy / "dvc.lock").read_text(encoding="utf-8"))
    [folder] = lock["stages"]["evaluate"]["outs"]
    listed = json.loads(object_of(copy, folder["md5"]).read_text(encoding="utf-8"))
    lock["stages"]["evaluate"]["outs"] = [{"path": f"{folder['path']}/{one['relpath']}", "md5": one["md5"]} for one in listed]
    lock["stages"]["report"]["deps"] = []
    (copy / "dvc.lock").write_text(yaml.safe_dump(lock), encoding="utf-8")
    then, now = ({**compare(copy, name, "better"), "a": None, "stages": None} for name in ("workspace", "start"))
    assert then == now


def test_a_worktree_finds_the_cache_of_the_main_checkout(repository: Path, tmp_path: Path) -> None:
    run(["git", "worktree", "add", "-q", str(tmp_path / "tree"), "better"], repository)
    assert compare(tmp_path / "tree" / "below", "start", "workspace")["verdict"] == "better"
    run(["git", "worktree", "remove", "--force", str(tmp_path / "tree")], repository)


def test_conversations_of_train_that_tie_others_of_test_together_leave_the_test_set_the_same(repository: Path) -> None:
    found = compare(repository, "better", "regrouped")
    assert found["verdict"] == "the same"
    found = compare(repository, "start", "regrouped")
    assert (found["verdict"], found["claims"]["better"]["groups"]) == ("better", NUMBER - 1)
    assert compare(repository, "regrouped", "start")["claims"]["better"]["groups"] == NUMBER - 1


def test_a_classification_is_judged_by_right_replies_whatever_the_likelihoods(repository: Path) -> None:
    found = compare(repository, "labels", "wrong")
    claim = found["claims"]["better"]
    assert (found["verdict"], claim["measure"], claim["base"], claim["tuned"]) == ("worse", "accuracy_difference", 1, 1 / 3)
    values = found["metrics"]["tuned"]["accuracy"]
    assert (claim["base"], claim["tuned"], claim["estimate"]) == pytest.approx((values["a"], values["b"], values["change"]))
    assert found["claims"]["broken"]["tuned"] == pytest.approx(found["metrics"]["tuned"]["invalid_reply"]["b"])
    assert (found["replies"]["righted"], found["replies"]["wronged"]) == (0, 2 * NUMBER // 3)
    assert compare(repository, "wrong", "labels")["verdict"] == "better"


def test_a_classification_and_a_dialogue_are_not_compared_by_their_replies(repository: Path) -> None:
    found = compare(repository, "start", "labels")
    assert found["verdict"] == "not comparable"
