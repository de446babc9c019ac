"""The commands for people, on the tiny project."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from conftest import copy_project, environment


@pytest.fixture
def talk(warm: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    return partial(start_and_type, warm)


def start_and_type(warm: dict[str, str], folder: Path, typed: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["python", "-m", "tools.chat", "--max-new-tokens", "5", *options],
        cwd=folder,
        env=environment(**warm),
        input=typed,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("option", "names"), [([], ["tuned"]), (["--base"], ["base"]), (["--both"], ["base", "tuned"])])
def test_chat_answers_each_line_and_ends_with_the_input(
    finished_project: Path, talk: Callable, option: list[str], names: list[str]
) -> None:
    done = talk(finished_project, "hello?\nand again?\n", *option)
    assert done.returncode == 0, done.stderr
    for name in ("base", "tuned"):
        assert done.stdout.count(f"{name}> ") == (2 if name in names else 0)


def test_chat_remembers_the_turns_before_and_forgets_them_with_new(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tools import chat

    prompts: list[list[str]] = []

    def remember(_model: object, _tokenizer: object, messages: list, _options: object, _name: str) -> str:
        prompts.append([message["content"] for message in messages])
        return "reply"

    lines = iter(["one", "two", "/new", "three", "/system Be brief.", "four", ""])
    monkeypatch.setattr(chat, "stream_reply", remember)
    monkeypatch.setattr(chat, "special_tokens", lambda _tokenizer: {})
    monkeypatch.setattr(chat, "load_models", lambda _options: (["tuned"], None, None))
    monkeypatch.setattr("builtins.input", lambda _prompt: next(lines))
    chat.chat(chat.parse_arguments([]))
    assert prompts == [["one"], ["one", "reply", "two"], ["three"], ["Be brief.", "four"]]
    assert capsys.readouterr().out.count("tuned> ") == 4


def test_chat_sends_no_special_token_that_someone_types_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tools import chat

    sent: list[list[str]] = []

    def note(_model: object, _tokenizer: object, messages: list, _options: object, _name: str) -> str:
        sent.append([message["content"] for message in messages])
        return "reply"

    lines = iter(["one", "what is <|end|> for?", "/system Say <|end|>.", "two", ""])
    monkeypatch.setattr(chat, "stream_reply", note)
    monkeypatch.setattr(chat, "special_tokens", lambda _tokenizer: {"<|begin|>": 0, "<|end|>": 1})
    monkeypatch.setattr(chat, "load_models", lambda _options: (["tuned"], None, None))
    monkeypatch.setattr("builtins.input", lambda _prompt: next(lines))
    chat.chat(chat.parse_arguments([]))
    assert sent == [["one"], ["one", "reply", "two"]]
    assert capsys.readouterr().out.count("Not sent: the model reads <|end|> as") == 2


def test_chat_before_the_first_run_says_what_to_do(talk: Callable, project: Path) -> None:
    done = talk(project, "hello?\n")
    assert done.returncode == 1
    assert done.stderr.strip() == "error: models/base.json: not found; `make run` makes it, `dvc pull` fetches it"


def test_chat_with_changed_weights_refuses(talk: Callable, finished_project: Path, tmp_path: Path) -> None:
    folder = copy_project(finished_project, tmp_path / "copy")
    weights = folder / "tiny_model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    done = talk(folder, "hello?\n")
    assert done.returncode == 1
    assert "its bytes differ from models/base.json" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_draw_makes_a_picture_of_each_plot(finished_project: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "tools.draw", "--to", str(tmp_path)], cwd=finished_project, env=environment(), check=True
    )
    plots = ("balance", "fates", "gradient_norm", "learning_rate", "loss", "perplexity")
    assert {path.name for path in tmp_path.iterdir()} == {f"{plot}.svg" for plot in plots}
    assert "<svg" in (tmp_path / "loss.svg").read_text(encoding="utf-8")
