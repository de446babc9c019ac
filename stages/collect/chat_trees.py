"""ChatGPT and DeepSeek export a conversation as a tree, a node for each message and each time that one was asked again -> a list.

Of a reply that was asked for again, that stays which was shown last.
"""

from collections.abc import Iterator, Mapping

from stages.collect.exported_messages import is_exported, read_exported

CURRENT = "current_node"
BESIDE_PARENT = {"children", "message"}  # what a node has too: some programs leave the children out


def is_tree(value: object) -> bool:
    """Whether it maps names to nodes that know their parents.

    >>> is_tree({"a": {"parent": None, "children": ["b"]}, "b": {"parent": "a", "children": []}}), is_tree({"a": 1})
    (True, False)
    """
    nodes = list(value.values()) if isinstance(value, dict) else []
    return bool(nodes) and all(isinstance(node, dict) and "parent" in node and node.keys() & BESIDE_PARENT for node in nodes)


def without_trees(values: dict[str, object]) -> dict[str, object]:
    """The row with a list of messages where it has a tree of them; anything else as it is.

    >>> root, asked = {"parent": None, "children": ["b"]}, {"author": {"role": "user"}, "content": {"parts": ["hi"]}}
    >>> without_trees({"mapping": {"a": root, "b": {"parent": "a", "children": [], "message": asked}}, "current_node": "b"})
    {'mapping': [{'role': 'user', 'content': 'hi'}], 'current_node': 'b'}
    """
    trees = {key: value for key, value in values.items() if isinstance(value, dict) and is_tree(value) and _holds_messages(value)}
    found = {key: _listed(tree, values.get(CURRENT)) for key, tree in trees.items()}
    return values | found if found else values


def _holds_messages(tree: Mapping[str, dict[str, object]]) -> bool:
    messages = [node.get("message") for node in tree.values()]
    known = [is_exported(message) for message in messages if message]
    return all(known) if known else all("message" in node for node in tree.values())  # nobody has said anything yet


def _listed(nodes: Mapping[str, dict[str, object]], current: object) -> list[dict[str, object]]:
    messages: list[dict[str, object]] = []
    thoughts: list[str] = []
    turn = "user"  # whose it is, where a message does not say it
    for node in _line_to(nodes, str(current) if str(current) in nodes else _newest(nodes)):
        message = node.get("message")
        if not isinstance(message, dict):
            continue
        read = read_exported(message, turn)
        turn = "user" if (read["role"] if read else turn) == "assistant" else "assistant"
        if read is None:
            continue
        if isinstance(thought := read.get("reasoning_content"), str) and len(read) == 2:
            thoughts.append(thought)
            continue
        if read["role"] == "user":  # what was thought before led to no reply
            thoughts = []
        if thoughts and read["role"] == "assistant":
            read["reasoning_content"], thoughts = "\n".join(thoughts), []
        messages.append(read)
    return messages


def _newest(nodes: Mapping[str, dict[str, object]]) -> str:
    """The end of the line that goes by the last child at each fork."""
    below: dict[str, list[str]] = {}  # where a node does not say it
    for name, node in nodes.items():
        below.setdefault(str(node["parent"]), []).append(name)
    at = next((name for name, node in nodes.items() if str(node["parent"]) not in nodes), next(iter(nodes)))
    seen = {at}
    while known := [one for one in _children(nodes[at], below.get(at, [])) if one in nodes]:
        at = known[-1]
        if at in seen:
            break
        seen.add(at)
    return at


def _children(node: dict[str, object], below: list[str]) -> list[str]:
    children = node.get("children")
    return list(map(str, children)) if isinstance(children, list) else below


def _line_to(nodes: Mapping[str, dict[str, object]], end: str) -> Iterator[dict[str, object]]:
    """From the first node down. A node's name is a text, even where the parent is given as a number."""
    line: dict[str, dict[str, object]] = {}
    at = end
    while at in nodes and at not in line:
        line[at] = nodes[at]
        at = str(nodes[at]["parent"])
    return reversed(line.values())
