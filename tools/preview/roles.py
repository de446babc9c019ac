"""Who is who: the names of roles in a file, and a proposal which role each one is."""

from collections import Counter
from collections.abc import Collection, Iterator
from operator import itemgetter
from typing import NamedTuple

from stages.collect.lists import value_at
from stages.collect.messages import ANYBODY, ROLE_NAMES, field_text
from stages.collect.rows import plain_text
from stages.collect.sources import Columns
from stages.lib.core.errors import ReprotuneError
from tools.console import plural
from tools.preview.message_lists import lists_of_messages, texts_of
from tools.preview.orders import in_order, read_orders
from tools.preview.sample import Sample, file_of
from tools.preview.usual_names import USUAL_NAMES, key_of
from tools.preview.wording import MOST_SHOWN

NOBODY = "null"
CONTACT = "contact"  # who writes to a help desk, whose own people are its users: Chatwoot's


class RoleProposal(NamedTuple):
    """`roles`: name -> role for the names that need it. `left`: names nobody knows. `how`: for people, how it was found."""

    roles: dict[str, str]
    left: list[str]
    how: str


def role_names(sample: Sample, columns: Columns) -> tuple[Counter[str], Counter[str]]:
    """The names of roles with their number of messages, and how often each one comes first, in the order that is mapped."""
    names, openers = Counter[str](), Counter[str]()
    for speakers in speakers_of(sample, columns):
        names.update(speakers)
        openers.update(speakers[:1])
    return names, openers


def speakers_of(sample: Sample, columns: Columns) -> list[list[str]]:
    """Who speaks in each conversation, message by message in the order that is mapped."""
    lists = lists_of_messages(sample, columns)
    if columns.conversation:
        rows: dict[str, list[dict[str, object]]] = {}
        for row in sample.rows:
            rows.setdefault(f"{file_of(row)} {field_text(row.values, columns.conversation)}", []).append(row.values)
        lists = list(rows.values())
    elif columns.parent and not columns.user:
        lists = lists_of_trees(sample, columns)
    role = columns.role or ("" if columns.conversation else "role")
    speakers = [[name_of(value_at(message, role)) for message in messages] for messages in lists if role]
    if columns.order and speakers:
        orders = texts_of(lists, columns.order)
        reading = read_orders(orders)
        places = [in_order(texts, reading) for texts in orders]
        speakers = [[names[place] for place in order] for names, order in zip(speakers, places, strict=True)]
    return speakers


def lists_of_trees(sample: Sample, columns: Columns) -> list[list[dict[str, object]]]:
    """The messages that go on from one first message, each behind the one before it."""
    parents = {field_text(row.values, columns.id): field_text(row.values, columns.parent) for row in sample.rows}
    trees: dict[str | None, list[tuple[int, dict[str, object]]]] = {}
    for row in sample.rows:
        path = [field_text(row.values, columns.id)]
        while (parent := parents.get(path[-1])) in parents and parent not in path:
            path.append(parent)
        trees.setdefault(path[-1], []).append((len(path), row.values))
    return [[values for _, values in sorted(tree, key=itemgetter(0))] for tree in trees.values()]


def name_of(value: object) -> str:
    """A role's name as it is to be mapped; an object names nobody."""
    return NOBODY if value is None or isinstance(value, (dict, list)) else plain_text(value).strip()


def event_names(speakers: list[list[str]], roles: dict[str, str]) -> list[str]:
    """Names of the system that write after the last reply in half of their conversations or more: events, and no instructions."""
    told = ROLE_NAMES | roles
    there, after = Counter[str](), Counter[str]()
    for names in speakers:
        last = max((place for place, name in enumerate(names) if told.get(name) == "assistant"), default=len(names))
        there.update({name for name in names if told.get(name) == "system"})
        after.update({name for name in names[last:] if told.get(name) == "system"})
    return [name for name, number in after.items() if 2 * number >= there[name]]


def tell_events(speakers: list[list[str]], roles: dict[str, str], key: str) -> Iterator[str]:
    """Where the system writes after the first question: that may be events of the program, and how to leave them out.

    `key`: of the role, as it stands in rows or messages.
    """
    told = ROLE_NAMES | roles
    late: Counter[str] = Counter()
    for names in speakers:
        first = next((place for place, name in enumerate(names) if told.get(name) == "user"), len(names))
        late.update(name for name in names[first:] if told.get(name) == "system")
    for name, number in late.items():
        yield (
            f"{name} writes {plural(number, 'message')} after the first question; what stands after the last reply is left out. "
            f"If these are events of the program, leave them all out: --leave-out {key}={name}"
        )


def check_stated(stated: dict[str, str], names: Counter[str], sample: Sample) -> Iterator[str]:
    """What there is to say of names stated by --roles that no row has, where the file goes on.

    Raises:
        ReprotuneError: no row of the whole file has a name.
    """
    for name in stated:
        if name.strip() in names or name == ANYBODY:
            continue
        found = f"found {', '.join(map(repr, list(names)[:MOST_SHOWN]))}" if names else "its rows name no roles"
        if sample.complete:
            raise ReprotuneError(f"--roles: no row has the role {name!r}; {found}")
        yield f"no row of these has the role {name!r} of --roles; {found}. Is it one of the later rows?"


def propose_roles(names: Counter[str], openers: Counter[str], after_question: bool = False) -> RoleProposal:
    """By the usual names; where one or two names are left for the sides that are, by that.

    `after_question`: whether they speak after a first question that stands elsewhere.

    >>> propose_roles(Counter(["customer", "Ms Lee"]), Counter(["customer"]))[:2]
    ({'customer': 'user', 'Ms Lee': 'assistant'}, [])
    >>> propose_roles(Counter(["agent_1", "agent_2"]), Counter(["agent_2"])).roles
    {'agent_2': 'user', 'agent_1': 'assistant'}
    >>> [propose_roles(Counter(user=2, system=2), Counter([opener])).roles for opener in ("user", "system")]
    [{'system': 'assistant'}, {}]
    """
    unknown = [name for name in names if name not in ROLE_NAMES and name not in ("", NOBODY)]
    roles = {name: role for name in unknown if (role := usual_role(name))}
    left = [name for name in unknown if name not in roles]
    if len(unknown) == len(names) == 2 and len({name.rstrip("0123456789") for name in unknown}) == 1 and not unknown[0].isdigit():
        roles, left = {}, unknown  # agent_1 and agent_2: two people who talk
    if CONTACT in left and "user" in names:
        roles, left = roles | {CONTACT: "user", "user": "assistant"}, [name for name in left if name != CONTACT]
        return RoleProposal(roles, left, f"a proposal; where a {CONTACT} asks, the user is who replies")
    sides = {ROLE_NAMES.get(name) or roles.get(name) for name in names} & {"user", "assistant"}
    if len(left) == 1 and len(sides) == 1:
        roles[left[0]] = "assistant" if sides == {"user"} else "user"
        return RoleProposal(roles, [], "a proposal; the last one because one side was left")
    if len(left) == 2 and not sides:
        first, other = sorted(left, key=lambda name: -openers[name])
        if after_question:
            return RoleProposal(roles | {first: "assistant", other: "user"}, [], f"a guess, since {first} replies first in most")
        return RoleProposal(roles | {first: "user", other: "assistant"}, [], f"a guess, since {first} begins most conversations")
    told = {name: ROLE_NAMES.get(name) or roles.get(name) for name in names}
    systems = [name for name, role in told.items() if role == "system"]
    if sides == {"user"} and not left and len(systems) == 1 and 2 * openers[systems[0]] < openers.total():
        return RoleProposal(roles | {systems[0]: "assistant"}, [], "a proposal; the system is what replies")
    return RoleProposal(roles, left, "a proposal from these names")


def propose_switch(names: Collection[str], key: str) -> RoleProposal | None:
    """Where a key is true or false, and its name says whose words those are for which it is true.

    >>> propose_switch(Counter(["false", "true"]), "incoming").roles, propose_switch(Counter("01"), "IsSender").roles
    ({'false': 'assistant', 'true': 'user'}, {'0': 'user', '1': 'assistant'})
    >>> propose_switch(Counter(["false", "true"]), "label"), propose_switch(Counter(["in", "out"]), "incoming")
    (None, None)
    """
    side = "assistant" if key_of(key.rpartition(".")[2]) in USUAL_NAMES["true_of_own"] else usual_role(key.rpartition(".")[2])
    other = {"user": "assistant", "assistant": "user"}.get(str(side))
    for true, false in (("true", "false"), ("True", "False"), ("1", "0")):
        if other and side and names and {*names} <= {true, false}:
            roles = {name: side if name == true else other for name in names}
            return RoleProposal(roles, [], f"a proposal from the key's name, {key}")
    return None


def propose_for_many(proposal: RoleProposal, speakers: list[list[str]]) -> RoleProposal:
    """Where one of the names that are left speaks in most conversations, and the others in few: that one, and all others.

    >>> many = [["Ann", "Shop"], ["Bo", "Shop"], ["Cy", "Shop"]]
    >>> propose_for_many(RoleProposal({}, ["Ann", "Shop", "Bo", "Cy"], ""), many).roles
    {'Shop': 'assistant', '*': 'user'}
    """
    among = Counter(name for names in speakers for name in set(names) if name in proposal.left)
    (first, most), *others = among.most_common() or [("", 0)]
    if len(others) < 2 or most < 2 or 2 * most <= len(speakers):
        return proposal
    if max(number for _, number in others) > max(1, len(speakers) // 10):
        return proposal
    how = f"a guess, since {first} speaks in most conversations and each other one in few"
    return RoleProposal(proposal.roles | {first: "assistant", ANYBODY: "user"}, [], how)


def usual_role(name: str) -> str | None:
    """The role that a name, or a word in it, usually means.

    >>> usual_role("Support Agent"), usual_role("客服小王"), usual_role("Ms Lee"), usual_role("A"), usual_role("wxid_a")
    ('assistant', 'assistant', None, 'assistant', None)
    """
    key = key_of(name)
    for role, usual in USUAL_NAMES["roles"].items():
        parts = {word for word in usual if not word.isascii() and len(word) > 1 and word in key}
        if key in usual or parts or {word for word in key.split("_") if len(word) > 1} & set(usual):
            return role
    return None
