"""Pictures, sounds and films beside a text, of which nobody sees or hears anything in it: refused, or left out by the source."""

import re
from collections.abc import Mapping

from stages.collect.marks import Meaning
from stages.collect.values import NOTHING, from_json
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Message

SEEN_OR_HEARD = ("image", "img", "picture", "photo", "video", "audio")
OF_A_FILE = ("", "s", "_path", "_paths", "_url", "_urls", "_file", "_files", "_base64", "_b64", "_bytes", "_data")
ATTACHED = frozenset([
    *(name + ending for name in SEEN_OR_HEARD for ending in OF_A_FILE), "image_id", "img_id", "jpg", "jpeg", "png", "webp", "wav",
    "mp3", "mp4", "pixel_values", "attachment", "attachments", "附件", "图片", "图像", "图片路径", "音频", "视频",
])  # fmt: skip
MARKER = re.compile("<(?:image|video|audio)>")


def refuse_attached(values: Mapping[str, object], meanings: Mapping[str, Meaning], whose: str) -> None:
    """Where a key names a picture, sound or film: the reply is about what nobody sees in the text.

    `meanings`: the source's `marks`; "ignore" says that the replies do without it.
    """
    for key, value in values.items():
        if key in ATTACHED and value and value == value and from_json(value) not in NOTHING and meanings.get(key) != "ignore":  # noqa: PLR0124  NaN
            raise ReprotuneError(
                f'{whose} with {key!r}; only text can be read (in the source, `leave_out: {{{key}: "*"}}` leaves such ones out; '
                f"where no reply needs it, `marks: {{{key}: ignore}}`)"
            )


def refuse_pictures(values: Mapping[str, object], messages: list[Message], meanings: Mapping[str, Meaning]) -> None:
    """Where a row has what only the eye or the ear takes in, in a key of its own."""
    attached = next((key for key in values if key in ATTACHED and values[key] not in NOTHING), None)
    if attached and (found := next(filter(None, (MARKER.search(message["content"]) for message in messages)), None)):
        raise ReprotuneError(f"the text holds {found[0]}, the place of what {attached!r} names; only text can be read")
    if attached:
        refuse_attached(values, meanings, "a row")
