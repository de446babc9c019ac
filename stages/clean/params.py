"""The section `clean` of params.yaml."""

from typing import Literal

from pydantic import Field, model_validator

from stages.clean.named_entities import PresidioParams
from stages.lib.core.params import Section
from stages.lib.personal_data.kinds import Kind
from stages.lib.similarity.join import LOWEST_THRESHOLD

Treatment = Literal["keep", "tag", "drop"]


class CleanParams(Section):
    unicode: bool
    gbk_mojibake: bool
    html: bool
    control_characters: bool
    whitespace: bool
    traditional_to_simplified: bool
    segment_words: bool
    remove_stop_words: bool
    urls: Literal["keep", "mask"]
    personal_data: list[Kind]
    presidio: PresidioParams | None
    tool_messages: Literal["keep", "drop", "as_user"]
    thoughts: Literal["keep", "drop", "refuse"]
    roles: bool
    boilerplate: Treatment
    refusals: Treatment
    repetition: Treatment
    languages: list[str]
    length_quantiles: tuple[float, float] | None
    duplicates: bool
    near_duplicates: float | None = Field(ge=LOWEST_THRESHOLD, lt=1)

    @model_validator(mode="before")
    @classmethod
    def list_to_tuple(cls, data: object) -> object:  # whatever stands in params.yaml
        if isinstance(data, dict) and isinstance(quantiles := data.get("length_quantiles"), list):
            return {**data, "length_quantiles": tuple(quantiles)}
        return data

    @model_validator(mode="after")
    def quantiles_in_order(self) -> "CleanParams":
        low, high = self.length_quantiles or (0, 1)
        if not 0 <= low < high <= 1:
            raise ValueError(f"length_quantiles [{low}, {high}]; expected 0 <= low < high <= 1")
        return self
