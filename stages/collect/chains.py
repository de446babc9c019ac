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
        paths: dict[str, list[Node]] = {}
        for node in self.nodes.values():
            if path := self.path(node):
                paths[node.key] = path
            else:
                before = shorten(repr(node.parent))
                yield _unreadable(node, f"the row before it, {before}, or one further up is not in the file, or can't be read")
        answered = {node.key for path in paths.values() if path[-1].speaks for node in path}
        last = {
            key: path
            for key, path in paths.items()
            if not any(child.key in answered for child in self.children[key])
            and (path[-1].speaks or not (self.children[key] or any(node.speaks for node in path)))
        }
        branches = [path for path in last.values() if not self.better(path[-1])]
        on_branch = {node.key for path in branches for node in path}
        used: set[str] = set()
        for path in branches:
            yield self.join(path, used, on_branch)
            used.update(node.key for node in path)

    def path(self, node: Node) -> list[Node] | None:
        """From the root to the node; None where a row of it is not there, or they go round."""
        path = [node]
        while path[-1].parent is not None:
            parent = self.nodes.get(path[-1].parent)
            if parent is None or len(path) > len(self.nodes):
                return None
            path.append(parent)
        return path[::-1]

    def better(self, node: Node) -> Node | None:
        """The reply to the same message that was preferred to this one."""
        if node.parent is None or node.rank is None or not node.speaks:
            return None
        rivals = self.children[node.parent]
        rank, at = min((rival.rank, at) for at, rival in enumerate(rivals) if rival.rank is not None and rival.speaks)
        return rivals[at] if rank < node.rank else None

    def beside(self, node: Node, on_branch: set[str]) -> Iterator[Node]:
        """Rows of no branch that hang on this one."""
        waiting = [child for child in self.children[node.key] if child.key not in on_branch]
        while waiting:
            loose = waiting.pop()
            yield loose
            waiting += self.children[loose.key]

    def join(self, path: list[Node], used: set[str], on_branch: set[str]) -> RawConversation:
        system = next((node.row.messages[: node.system] for node in path if node.system), [])
        messages, rejected = list(system), []
        further: list[Node] = []
        for node in path:
            context = messages
            learned = node.key not in used and not self.better(node)
            messages = context + (node.piece if learned else list(map(unlearned, node.piece)))
            if node.key in used:
                continue
            others = [other for other in self.children[node.parent or ""] if self.better(other) is node]
            rejected += [context + other.piece for other in others]
            rejected += [context + other[node.system :] for other in node.row.rejected]
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


def unlearned(message: Message) -> Message:
    """The message as context, and nothing to learn from."""
    return {**message, "weight": 0} if message["role"] == "assistant" else message
