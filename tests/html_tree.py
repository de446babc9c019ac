"""The page as a tree of elements, without a browser."""

from html.parser import HTMLParser

VOID = {"meta", "input", "br", "img", "link"}


class Element:
    def __init__(self, name: str, attributes: dict[str, str | None], parent: "Element | None") -> None:
        self.name, self.attributes, self.parent = name, attributes, parent
        self.parts: list[Element | str] = []

    def all(self, *names: str) -> list["Element"]:
        """Its descendants of these names, in order."""
        found = []
        for part in self.parts:
            if isinstance(part, Element):
                found += ([part] if part.name in names or not names else []) + part.all(*names)
        return found

    def text(self) -> str:
        return "".join(part if isinstance(part, str) else part.text() for part in self.parts)


class Reader(HTMLParser):
    """Elements as a tree; raises where tags are not balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.root = self.at = Element("", {}, None)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        made = Element(tag, dict(attrs), self.at)
        self.at.parts.append(made)
        if tag not in VOID:
            self.at = made

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.at.parts.append(Element(tag, dict(attrs), self.at))

    def handle_endtag(self, tag: str) -> None:
        assert self.at.name == tag, f"</{tag}> ends <{self.at.name}>"
        assert self.at.parent
        self.at = self.at.parent

    def handle_data(self, data: str) -> None:
        self.at.parts.append(data)


def read(page: str) -> Element:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.at is reader.root
    return reader.root


def chinese_texts(element: Element) -> list[str]:
    """What a reader of the Chinese page sees: no words in English spans, no script, none of people's own texts."""
    texts = []
    for part in element.parts:
        if isinstance(part, str):
            texts.append(part)
        elif (
            part.name not in ("script", "style", "code") and part.attributes.get("class") != "en" and "dir" not in part.attributes
        ):
            texts += [str(part.attributes["data-zh"])] if "data-zh" in part.attributes else []
            texts += [] if part.name in ("option", "title") else chinese_texts(part)
    return texts
