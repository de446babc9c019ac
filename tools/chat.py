"""Talk to the tuned model in the terminal: `make chat`, or `python -m tools.chat [--base | --both]`."""

import argparse
from collections.abc import Collection
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from stages.lib.base_model.pin import PIN
from stages.lib.chat_template import Said, TemplateMisfit, special_tokens, stop_token_ids, tokenize_prompt, what_is_said
from stages.lib.chat_template.tokenizer import load_tokenizer
from stages.lib.core.errors import ReprotuneError
from stages.lib.model.adapter import ADAPTER, load_adapter
from stages.lib.model.hardware import find_hardware
from stages.lib.model.weights import load_base_model
from stages.lib.records.conversation import Message
from tools.console import run_tool

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

HELP = "An empty line or Ctrl-D ends, /new starts a new conversation, /system TEXT does so with a system message."


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.chat", description=__doc__)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--base", action="store_true", help="talk to the base model")
    which.add_argument("--both", action="store_true", help="base and tuned side by side, each with its own conversation")
    parser.add_argument("--max-new-tokens", type=int, default=256, help="tokens a reply at most (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy, as in the evaluation (default: 0)")
    return parser.parse_args(arguments)


def load_models(options: argparse.Namespace) -> tuple[list[str], Any, "PreTrainedTokenizerBase"]:
    """Names to talk to, model, tokenizer. For --both one model serves as two, its adapter switched off and on."""
    for path in (PIN, *([] if options.base else [ADAPTER])):
        if not path.exists():
            raise ReprotuneError(f"{path}: not found; `make run` makes it, `dvc pull` fetches it")
    from transformers import GenerationConfig

    hardware = find_hardware("auto")
    model = load_base_model(hardware.precision, hardware.device)
    if not options.base:
        model = load_adapter(model)
        if options.both and not hasattr(model, "disable_adapter"):
            raise ReprotuneError(f"{ADAPTER}: trained in full, so that no adapter can be switched off; talk to one at a time")
    names = ["base"] if options.base else ["base", "tuned"] if options.both else ["tuned"]
    model.generation_config = GenerationConfig(do_sample=False)  # the model's own may hold penalties, as predictions.py says
    return names, model, load_tokenizer()


class Printer:
    """Prints thoughts and reply as they come: what transformers calls a streamer."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", prompt: int, stops: Collection[int]):
        self.tokenizer, self.prompt, self.stops = tokenizer, prompt, stops
        self.ids: list[int] = []
        self.printed = Said("", "")

    def put(self, ids: "Tensor") -> None:
        new = ids.flatten().tolist()[self.prompt :]
        self.prompt = 0  # it comes first, as a whole
        self.ids += [id for id in new if id not in self.stops]
        self.show(self.whole_characters(what_is_said(self.tokenizer, self.ids)))

    def end(self) -> None:
        self.show(what_is_said(self.tokenizer, self.ids))
        print()

    def whole_characters(self, said: Said) -> Said:
        """Without the sign that stands for a character of which some bytes are still to come."""
        return Said(*(text.rstrip("\ufffd") for text in said))

    def show(self, said: Said) -> None:
        if len(said.thoughts) > len(self.printed.thoughts):
            begin = "" if self.printed.thoughts else "(thinks: "
            print(begin + said.thoughts[len(self.printed.thoughts) :], end="", flush=True)
        if said.text and not self.printed.text and said.thoughts:
            print(")")
        print(said.text[len(self.printed.text) :], end="", flush=True)
        self.printed = said


def stream_reply(
    model: Any, tokenizer: "PreTrainedTokenizerBase", messages: list[Message], options: argparse.Namespace, name: str
) -> str:
    """Print the reply as it comes and return it, without the thoughts before it."""
    import torch

    ids = torch.tensor([tokenize_prompt(tokenizer, messages)], device=model.device)
    stops = sorted(stop_token_ids(tokenizer))
    printer = Printer(tokenizer, ids.shape[1], stops)
    sampling = {"do_sample": True, "temperature": options.temperature} if options.temperature else {}
    without_adapter = model.disable_adapter() if name == "base" and options.both else nullcontext()
    with torch.inference_mode(), without_adapter:
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            streamer=printer,
            max_new_tokens=options.max_new_tokens,
            eos_token_id=stops,
            pad_token_id=stops[0],
            **sampling,
        )
    return printer.printed.text


def read_line() -> str:
    """What the user types; empty at the end of the input."""
    try:
        return input("you> ").strip()
    except EOFError:
        print()
        return ""


def chat(options: argparse.Namespace) -> None:
    names, model, tokenizer = load_models(options)
    conversations: dict[str, list[Message]] = {name: [] for name in names}
    print(HELP)
    while line := read_line():
        if special := next((token for token in special_tokens(tokenizer) if token in line), None):
            print(f"Not sent: the model reads {special} as the end or the mark of a message, not as text. Write it otherwise.")
            continue
        if line == "/new" or line.startswith("/system "):
            system = line.removeprefix("/system ").strip()
            start: list[Message] = [{"role": "system", "content": system}] if line != "/new" else []
            conversations = {name: list(start) for name in names}
            continue
        for name, messages in conversations.items():
            messages.append({"role": "user", "content": line})
            print(f"{name}> ", end="", flush=True)
            reply = stream_reply(model, tokenizer, messages, options, name)
            messages.append({"role": "assistant", "content": reply})


def main() -> None:
    try:
        chat(parse_arguments())
    except KeyboardInterrupt:  # as good an end as an empty line
        print()
    except TemplateMisfit as misfit:
        raise ReprotuneError(str(misfit)) from None


if __name__ == "__main__":
    run_tool(main)
