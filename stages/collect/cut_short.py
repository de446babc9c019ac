"""What APIs and chat programs say beside a reply that ended before its end."""

from collections.abc import Container, Iterator, Mapping
from types import MappingProxyType

from stages.collect.switches import METADATA
from stages.lib.core.errors import ReprotuneError

# OpenAI's, Anthropic's, Bedrock's and Gemini's, Ollama's.
REASONS = ("finish_reason", "stop_reason", "stopReason", "finishReason", "done_reason")
CUT = frozenset([
    "length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded", "error_limit", "content_filter",
    "safety", "recitation", "blocklist", "prohibited_content", "spii", "error_toxic", "error", "interrupted", "incomplete",
    "abort", "aborted", "cancelled", "canceled", "timeout", "content_filtered", "contentfiltered", "malformed_function_call",
])  # fmt: skip
HOLDERS = (*METADATA, "response_metadata", "generation_info", "meta_info")  # of a row, in which one may stand
UNFINISHED = ("incomplete", "in_progress", "finished_partial_completion")  # a reply's status; elsewhere it may be a ticket's


def is_cut(message: Mapping[str, object], meanings: Mapping[str, str]) -> bool:
    """Whether a message of the assistant ended before its end.

    `meanings`: the source's `marks`; "ignore" tells that a key says something else.
    """
    is_item = message.get("type") == "message"  # of OpenAI's Responses API
    return (is_item and message.get("status") in UNFINISHED) or why_cut(message, meanings) is not None


def why_cut(beside: Mapping[str, object], meanings: Mapping[str, str] = MappingProxyType({})) -> tuple[str, str] | None:
    """(key, what it says) of a reply that was cut short, by what stands beside its text, or in an object there.

    >>> why_cut({"content": "Yes,", "finish_reason": "length"}), why_cut({"response_metadata": {"stop_reason": "MAX_TOKENS"}})
    (('finish_reason', 'length'), ('response_metadata.stop_reason', 'MAX_TOKENS'))
    >>> why_cut({"content": "Yes.", "finish_reason": "stop"}), why_cut({"stop_reason": "error"}, {"stop_reason": "ignore"})
    (None, None)
    """
    return next(
        ((place, reason) for place, key, reason in _reasons(beside) if _cuts(reason) and meanings.get(key) != "ignore"), None
    )


def _cuts(reason: str) -> bool:
    """As the APIs write it, or as programs print it.

    >>> _cuts("content-filter"), _cuts("FinishReason.MAX_TOKENS"), _cuts("tool-calls")
    (True, True, False)
    """
    return reason.lower().rpartition(".")[2].replace("-", "_") in CUT


def _reasons(beside: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """(where it stands, its key, what it says)."""
    inner = [(f"{key}.", value) for key, value in beside.items() if isinstance(value, dict) and key not in REASONS]
    for place, holder in (("", beside), *inner):
        for key in REASONS:
            reason = holder.get(key)
            if isinstance(reason, str):
                yield place + key, key, reason
            elif isinstance(reason, dict) and isinstance(kind := reason.get("type"), str):  # SGLang's
                yield f"{place}{key}.type", key, kind


def refuse_cut_row(values: Mapping[str, object], taken: Container[str], meanings: Mapping[str, str]) -> None:
    """Where a row says of its reply, beside it, that it was cut short. `taken`: the columns, which say something else.

    Raises:
        ReprotuneError: it does.
    """
    beside = {key: value for key, value in values.items() if key in REASONS or key in HOLDERS}
    if (found := why_cut(beside, meanings)) and found[0].partition(".")[0] not in taken:
        place, reason = found
        key = next(key for key in reversed(place.split(".")) if key in REASONS)
        raise ReprotuneError(
            f"the reply was cut short, its {place} is {reason}; take such rows out (`leave_out: {{{place}: {reason}}}` in the "
            f"source does that), or set `marks: {{{key}: ignore}}` if it says something else"
        )
