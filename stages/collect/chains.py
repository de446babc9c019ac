"""Rows that name the row they go on from, as H2O's pairs and OpenAssistant's trees do -> a conversation for each branch."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from stages.collect.raw_conversation import RawConversation, numbers_of
from stages.collect.rows import UnreadableRow, digest_of
from stages.collect.values import shorten
from stages.lib.core.errors import ReprotuneError
from stages.lib.records.conversation import Message


class Node(NamedTuple):
    """A row's piece of a conversation. `system`: how many of its messages are a system message before the piece.

    `parent`: the key of the row before it. `rank`: of replies to the same message, the lowest was preferred.
    """

    row: RawConversation
    system: int
    parent: str | None
    rank: float | None

    @property
    def key(self) -> str:
        return str(self.row.key)

    @property
    def piece(self) -> list[Message]:
        return self.row.messages[self.system :]

    @property
    def speaks(self) -> bool:
        return any(message["role"] == "assistant" for message in self.row.messages)


def join_chains(rows: Iterable[RawConversation | Node | UnreadableRow]) -> Iterator[RawConversation | UnreadableRow]:
    """What is no piece goes through as it is; the conversations that pieces make come after it."""
    forest = _Forest()
    for row in rows:
        if not isinstance(row, Node):
            yield row
            continue
        try:
            forest.add(row)
        except ReprotuneError as error:
            yield _unreadable(row, str(error))
    yield from forest.conversations()


def _unreadable(node: Node, reason: str) -> UnreadableRow:
    return UnreadableRow(node.row.place, reason, digest_of([node.row.key, node.parent, node.row.messages]))


class _Forest:
    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.children: dict[str, list[Node]] = defaultdict(list)
        self.best: dict[str, Node] = {}  # by the key of the row before them

    def add(self, node: Node) -> None:
        if node.row.key is None:
            raise ReprotuneError("it has no id, and rows name the one before them by it")
        if node.key in self.nodes:
            raise ReprotuneError(f"id {shorten(repr(node.key))} stands twice, and rows name the one before them by it")
        self.nodes[node.key] = node
        if node.parent is not None:
            self.children[node.parent].append(node)

    def conversations(self) -> Iterator[RawConversation | UnreadableRow]:
        """One for each last reply. A reply that several branches share is learned once: in the others it is context.

        What nobody answered, and replies that another was preferred to, are no conversations; their rows count for the one that
        their neighbours are in, so that the ledger adds up.
        """
        spoken = self.spoken_so_far()
        for node in self.nodes.values():
            if node.key not in spoken:
                before = shorten(repr(node.parent))
                yield _unreadable(node, f"the row before it, {before}, or one further up is not in the file, or can't be read")
        answered: set[str] = set()
        for key in spoken:
            above: Node | None = self.nodes[key] if self.nodes[key].speaks else None
            while above and above.key not in answered:
                answered.add(above.key)
                above = self.nodes.get(above.parent or "")
        last = [
            node
            for key, node in self.nodes.items()
            if key in spoken
            and not any(child.key in answered for child in self.children[key])
            and (node.speaks or not (self.children[key] or spoken[key]))
        ]
        self.best = {parent: best for parent, children in self.children.items() if (best := best_of(children))}
        branches = [self.path(node) for node in last if not self.better(node)]
        on_branch = {node.key for path in branches for node in path}
        used: set[str] = set()
        for path in branches:
            yield self.join(path, used, on_branch)
            used.update(node.key for node in path)

    def spoken_so_far(self) -> dict[str, bool]:
        """Of each row that goes back to a first one, whether the assistant speaks in it or before. Others hang on a row that is
        not there, or go round.
        """
        spoken: dict[str, bool] = {}
        waiting = [node for node in self.nodes.values() if node.parent is None]
        while waiting:
            node = waiting.pop()
            spoken[node.key] = node.speaks or spoken.get(node.parent or "", False)
            waiting += self.children[node.key]
        return spoken

    def path(self, node: Node) -> list[Node]:
        """From the root to the node."""
        path = [node]
        while path[-1].parent is not None:
            path.append(self.nodes[path[-1].parent])
        return path[::-1]

    def better(self, node: Node) -> Node | None:
        """The reply to the same message that was preferred to this one."""
        best = self.best.get(node.parent or "")
        if best is None or best.rank is None or node.rank is None or not node.speaks:
            return None
        return best if best.rank < node.rank else None

    def beside(self, node: Node, on_branch: set[str]) -> Iterator[Node]:
        """Rows of no branch that hang on this one."""
        waiting = [child for child in self.children[node.key] if child.key not in on_branch]
        while waiting:
            loose = waiting.pop()
            yield loose
            waiting += self.children[loose.key]

    def outranked_by(self, node: Node) -> list[Node]:
        """The other replies to the same message, where this is the best one."""
        if self.best.get(node.parent or "") is not node:
            return []
        return [other for other in self.children[str(node.parent)] if self.better(other)]

    def join(self, path: list[Node], used: set[str], on_branch: set[str]) -> RawConversation:
        system = next((node.row.messages[: node.system] for node in path if node.system), [])
        messages, rejected = list(system), []
        further: list[Node] = []
        for node in path:
            if node.key in used:
                messages += map(unlearned, node.piece)
                continue
            others = [other.piece for other in self.outranked_by(node)] + [other[node.system :] for other in node.row.rejected]
            rejected += [messages + other for other in others]
            messages += map(unlearned, node.piece) if self.better(node) else node.piece
            further += [*self.beside(node, on_branch), *([node] if node is not path[-1] else [])]
        rows = [node.row for node in path]
        several = path[0].key if len(path) > 1 or self.children[path[0].key] else None
        return path[-1].row._replace(
            label=next((row.label for row in rows if row.label), None),
            language=next((row.language for row in rows if row.language), None),
            group=next((row.group for row in rows if row.group), several),
            messages=messages,
            further=tuple(sorted(numbers_of(node.row.place for node in further))),
            tools=next((row.tools for row in rows if row.tools), None),
            rejected=tuple(rejected),
        )


def best_of(replies: list[Node]) -> Node | None:
    """Of those that have a rank the best, of several the first."""
    ranked = [(reply.rank, at) for at, reply in enumerate(replies) if reply.rank is not None and reply.speaks]
    return replies[min(ranked)[1]] if ranked else None


def unlearned(message: Message) -> Message:
    """The message as context, and nothing to learn from."""
    return {**message, "weight": 0} if message["role"] == "assistant" else message
