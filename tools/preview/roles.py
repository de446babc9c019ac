"""Who is who: the names of roles in a file, and a proposal which role each one is."""

from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from stages.collect.messages import ROLE_NAMES
from stages.collect.sources import Columns
from stages.lib.core.errors import ReprotuneError
from tools.preview.columns import lists_of_messages
from tools.preview.sample import Sample
from tools.preview.usual_names import USUAL_NAMES, key_of
from tools.preview.wording import MOST_SHOWN


class RoleProposal(NamedTuple):
    """`roles`: name -> role for the names that need it. `left`: names nobody knows. `how`: for people, how it was found."""

    roles: dict[str, str]
    left: list[str]
    how: str


def role_names(sample: Sample, columns: Columns) -> tuple[Counter[str], Counter[str]]:
    """The names of roles with their number of messages, and how often each one comes first."""
    names, openers = Counter[str](), Counter[str]()
    for messages in lists_of_messages(sample, columns):
        found = [str(message.get(columns.role or "role")).strip() for message in messages]
        names.update(found)
        openers.update(found[:1])
    if columns.conversation:
        seen = set()
        for role, key in zip(sample.cells(str(columns.role)), sample.cells(columns.conversation), strict=True):
            name, conversation = str(role).strip(), str(key)
            names[name] += 1
            openers[name] += conversation not in seen
            seen.add(conversation)
    return names, openers


def check_stated(stated: dict[str, str], names: Counter[str], sample: Sample) -> Iterator[str]:
    """What there is to say of names stated by --roles that no row has, where the file goes on.

    Raises:
        ReprotuneError: no row of the whole file has a name.
    """
    for name in stated:
        if name.strip() in names:
            continue
        found = f"found {', '.join(map(repr, list(names)[:MOST_SHOWN]))}" if names else "its rows name no roles"
        if sample.complete:
            raise ReprotuneError(f"--roles: no row has the role {name!r}; {found}")
        yield f"no row of these has the role {name!r} of --roles; {found}. Is it one of the later rows?"


def propose_roles(names: Counter[str], openers: Counter[str]) -> RoleProposal:
    """By the usual names; where one or two names are left for the sides that are, by that.

    >>> propose_roles(Counter(["customer", "Ms Lee"]), Counter(["customer"]))[:2]
    ({'customer': 'user', 'Ms Lee': 'assistant'}, [])
    """
    unknown = [name for name in names if name not in ROLE_NAMES and name not in ("", "None")]
    roles = {name: role for name in unknown if (role := usual_role(name))}
    left = [name for name in unknown if name not in roles]
    sides = {ROLE_NAMES.get(name) or roles.get(name) for name in names} & {"user", "assistant"}
    if len(left) == 1 and len(sides) == 1:
        roles[left[0]] = "assistant" if sides == {"user"} else "user"
        return RoleProposal(roles, [], "a proposal; the last one because one side was left")
    if len(left) == 2 and not sides:
        first, other = sorted(left, key=lambda name: -openers[name])
        return RoleProposal(roles | {first: "user", other: "assistant"}, [], f"a guess, since {first} begins most conversations")
    return RoleProposal(roles, left, "a proposal from these names")


def usual_role(name: str) -> str | None:
    """The role that a name, or a word in it, usually means.

    >>> usual_role("Support Agent"), usual_role("客服小王"), usual_role("Ms Lee")
    ('assistant', 'assistant', None)
    """
    key = key_of(name)
    for role, usual in USUAL_NAMES["roles"].items():
        parts = {word for word in usual if not word.isascii() and len(word) > 1 and word in key}
        if key in usual or parts or set(key.split("_")) & set(usual):
            return role
    return None
