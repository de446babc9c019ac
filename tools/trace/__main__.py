"""One row's story, from the line of its file to its score on test: `python -m tools.trace ID [--text]`.

ID is a conversation's id (support/41), a part of it that no other one has, or where it stands
(data/raw/support.csv:3).
"""

import argparse

from tools.console import print_all, run_tool, takes_colour
from tools.trace.ids import find_id
from tools.trace.story import tell
from tools.trace.texts import tell_texts


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.trace", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("id", metavar="ID", help="an id, a part of one, or FILE:LINE")
    parser.add_argument("--text", action="store_true", help="show the messages, too, as collected and as cleaned")
    options = parser.parse_args()
    id = find_id(options.id)
    print_all(tell(id))
    if options.text:
        print_all(tell_texts(id, takes_colour()))


if __name__ == "__main__":
    run_tool(main)
