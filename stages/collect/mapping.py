"""How a source's rows are to be read, as its entry in params.yaml says it."""

from typing import NamedTuple

from stages.collect.layouts import names_in
from stages.collect.lists import Wanted
from stages.collect.marks import Meaning
from stages.collect.messages import ROLE_NAMES, MessageKeys
from stages.collect.order import Reading
from stages.collect.sources import Columns, MappedSource, Source
from stages.lib.records.conversation import Role


class SourceMapping(NamedTuple):
    """What a source says about its rows. `columns` None: the keys of each row tell.

    `required`: keys that each row is asked for, where no header told that all have them.
    """

    path: str
    columns: Columns | None
    roles: dict[str, Role]
    label: str | None
    language: str | None
    required: tuple[str, ...] = ()
    begins: Role | None = None
    leave_out: Wanted = {}
    order: Reading | None = None  # how the order of a list's messages is read
    marks: dict[str, Meaning] = {}

    def keys(self, columns: Columns) -> MessageKeys:
        return MessageKeys(columns.role or "role", columns.content or "content", self.roles, self.marks)


def mapping_of(source: Source) -> SourceMapping:
    if not isinstance(source, MappedSource):  # a packaged corpus
        return SourceMapping(source.path, None, ROLE_NAMES, None, None)
    required = tuple(name for name, required in names_in(source.columns) if required) if source.columns else ()
    roles = ROLE_NAMES | source.roles
    told = SourceMapping(source.path, source.columns, roles, source.label, source.language, required)
    return told._replace(begins=source.begins, leave_out=source.leave_out, marks=source.marks)
