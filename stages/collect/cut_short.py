"""What APIs and chat programs say beside a reply that ended before its end."""

from collections.abc import Container, Iterator, Mapping

from stages.lib.core.errors import ReprotuneError

# OpenAI's, Anthropic's, Bedrock's and Gemini's, Ollama's.
REASONS = ("finish_reason", "stop_reason", "stopReason", "finishReason", "done_reason")
CUT = frozenset([
    "length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded", "error_limit", "content_filter",
    "safety", "recitation", "blocklist", "prohibited_content", "spii", "error_toxic", "error", "interrupted", "incomplete",
    "abort", "aborted", "cancelled", "canceled",
])  # fmt: skip
UNFINISHED = ("incomplete", "in_progress", "finished_partial_completion")  # a message's status; a row's may be a ticket's


def is_cut(message: Mapping[str, object]) -> bool:
    """Whether a message of the assistant ended before its end."""
    return message.get("status") in UNFINISHED or why_cut(message) is not None


def why_cut(beside: Mapping[str, object]) -> tuple[str, str] | None:
    """(key, what it says) of a reply that was cut short, by what stands beside its text, or in an object there.

    >>> why_cut({"content": "Yes,", "finish_reason": "length"}), why_cut({"response_metadata": {"stop_reason": "MAX_TOKENS"}})
    (('finish_reason', 'length'), ('response_metadata.stop_reason', 'MAX_TOKENS'))
    >>> why_cut({"content": "Yes.", "finish_reason": "stop"})
    """
    return next(((key, reason) for key, reason in _reasons(beside) if reason.lower() in CUT), None)


def _reasons(beside: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    inner = [(f"{key}.", value) for key, value in beside.items() if isinstance(value, dict)]
    for place, holder in (("", beside), *inner):
        for key in REASONS:
            if isinstance(reason := holder.get(key), str):
                yield place + key, reason


def refuse_cut_row(values: Mapping[str, object], taken: Container[str]) -> None:
    """Where a row says of its reply, beside it, that it was cut short. `taken`: the columns, which say something else.

    Raises:
        ReprotuneError: it does.
    """
    if (found := why_cut(values)) and found[0].partition(".")[0] not in taken:
        key, reason = found
        raise ReprotuneError(
            f"the reply was cut short, its {key} is {reason}; take such rows out (`leave_out: {{{key}: {reason}}}` in the source "
            "does that)"
        )
