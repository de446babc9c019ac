"""Where results are shared: `python -m tools.remote add NAME URL`, `... check [NAME]`, `... share FOLDER`.

URL is a folder (NFS is one), s3://bucket/folder, ssh://user@host/folder, gs://, azure:// or oss://. `add` writes DVC's settings,
so that the hash of each object is checked on its way in, then writes, reads and deletes an object there. What --set tells of keys
and passwords goes to .dvc/config.local, which git does not track. `share` prepares a folder, a remote or a cache, for its group.
"""

import argparse
from pathlib import Path
from shlex import quote

from stages.lib.core.errors import ReprotuneError
from tools.console import run_tool
from tools.remote.folders import share_folder
from tools.remote.settings import Remote, check_plugin, names_of_remotes, read_options, read_remote, write_remote
from tools.remote.trial import try_remote


def add(remote: Remote, pairs: list[str]) -> None:
    names_of_remotes()
    check_plugin(remote)
    options, secrets = read_options(pairs)
    if remote.folder and (advice := share_folder(remote.folder)):
        print(f"{remote.folder}: {advice}")
    write_remote(remote, options, secrets)
    print(f"{remote.name}: {remote.url} in .dvc/config" + (f"; {', '.join(secrets)} in .dvc/config.local" if secrets else ""))
    try:
        print(try_remote(remote.name))
    except ReprotuneError as error:
        raise ReprotuneError(f"{error}\nOnce that is mended: `python -m tools.remote check {remote.name}`") from None
    print("`dvc push --run-cache` shares this run, `git commit .dvc/config` the address")


def check(name: str | None) -> None:
    names = names_of_remotes()
    if not names:
        raise ReprotuneError("there is no remote yet: `python -m tools.remote add NAME URL`")
    if name and name not in names:
        raise ReprotuneError(f"no remote {name!r}; there is {', '.join(names)}")
    for each in [name] if name else names:
        print(try_remote(each))


def share(folder: Path) -> None:
    advice = share_folder(folder)
    print(f"{folder}: its group ({folder.group()}) may write into it, and into all that will be made there")
    print(f"Another group: `chgrp TEAM {quote(str(folder))}`, before anything lies in it" if not advice else f"But {advice}")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tools.remote", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    adding = commands.add_parser("add", help="set a remote up and try it")
    adding.add_argument("name")
    adding.add_argument("url")
    adding.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of DVC's for this kind of remote"
    )
    commands.add_parser("check", help="try a remote, or all").add_argument("name", nargs="?")
    commands.add_parser("share", help="prepare a folder for its group").add_argument("folder", type=Path)
    options = parser.parse_args()
    match options.command:
        case "add":
            add(read_remote(options.name, options.url), options.set)
        case "check":
            check(options.name)
        case "share":
            share(options.folder)


if __name__ == "__main__":
    run_tool(main)
