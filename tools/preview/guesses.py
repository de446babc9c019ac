"""What is stated, or proposed, besides the columns: who is who, what is no part of a talk, and what is to be learned."""

from collections import Counter
from typing import NamedTuple

from stages.collect.sources import Columns
from stages.lib.records.conversation import Role
from tools.preview.feedback import find_feedback, propose_marks
from tools.preview.roles import (
    RoleProposal,
    event_names,
    propose_for_many,
    propose_roles,
    propose_switch,
    role_names,
    speakers_of,
)
from tools.preview.sample import Sample, without_last_conversation
from tools.preview.unwanted import LeaveOut, propose_all, without_unwanted


class Stated(NamedTuple):
    """What the command's options say."""

    roles: dict[str, str]
    begins: Role | None
    leave_out: LeaveOut
    marks: dict[str, str]


class Guesses(NamedTuple):
    """`names`: of roles, with their number of messages; `speakers`: who writes in each conversation; `feedback`: on replies."""

    stated: Stated
    begins: Role | None
    leave_out: LeaveOut
    marks: dict[str, str]
    feedback: dict[str, Counter[str]]
    names: Counter[str]
    speakers: list[list[str]]
    proposal: RoleProposal

    @property
    def roles(self) -> dict[str, str]:
        return self.proposal.roles | self.stated.roles


def guess_rest(sample: Sample, mapping: Columns, begins: Role | None, stated: Stated) -> Guesses:
    """`begins`: as proposed with the columns."""
    feedback = find_feedback(sample, mapping)
    marks, begins = stated.marks or propose_marks(feedback), stated.begins or begins
    leave_out = stated.leave_out or propose_all(sample, mapping)
    if mapping.conversation:
        sample = without_last_conversation(sample, mapping.conversation)
    while True:
        said = without_unwanted(sample, mapping, leave_out)
        names, openers = Counter[str](), Counter[str]()
        if not begins:
            names, openers = role_names(said, mapping)
        speakers = speakers_of(said, mapping)
        switch = propose_switch(names, mapping.role or "")
        proposal = switch or propose_for_many(propose_roles(names, openers, bool(mapping.messages and mapping.user)), speakers)
        guesses = Guesses(stated, begins, leave_out, marks, feedback, names, speakers, proposal)
        events = [] if stated.leave_out or not mapping.role else event_names(speakers, proposal.roles)
        if not events:
            return guesses
        earlier = leave_out.get(str(mapping.role), [])
        leave_out = leave_out | {str(mapping.role): [*(earlier if isinstance(earlier, list) else [earlier]), *events]}
