"""A remote in DVC's files: its address in .dvc/config, which git tracks, credentials in .dvc/config.local, which it does not."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from configobj import ConfigObj
from dvc.config import Config, ConfigError

from stages.lib.core.errors import ReprotuneError
from tools.console import PLUGINS, names_credential

REPO_CONFIG, LOCAL_CONFIG = Path(".dvc/config"), Path(".dvc/config.local")
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


class Remote(NamedTuple):
    """`url`: an absolute folder, or scheme://..."""

    name: str
    url: str

    @property
    def folder(self) -> Path | None:
        return None if "://" in self.url else Path(self.url)


def read_remote(name: str, url: str) -> Remote:
    """
    Raises:
        ReprotuneError: a name or address that can't be.
    """
    if not NAME.fullmatch(name):
        raise ReprotuneError(f"{name!r} can't name a remote: small letters, digits, - and _")
    if not url.strip() or CONTROL.search(url):
        raise ReprotuneError(f"{url!r} is no address: name a folder, or one such as s3://bucket/folder")
    scheme = url.partition("://")[0] if "://" in url else None
    if scheme is None:
        try:
            return Remote(name, str(Path(url).expanduser().resolve()))
        except RuntimeError:  # as Path tells of it
            raise ReprotuneError(f"{url}: there is no such user's home folder; write the folder's whole name") from None
    if scheme not in PLUGINS:
        raise ReprotuneError(f"{url}: an address begins with a folder's name, or with {', '.join(f'{s}://' for s in PLUGINS)}")
    try:
        place = urlsplit(url)
        _ = place.port  # it is looked at only when it is asked for
    except ValueError:  # whose words may hold a password
        raise ReprotuneError(f"the port or host of this address is none; expected {scheme}://user@host:22/folder") from None
    if not place.netloc:
        raise ReprotuneError(f"{url}: names no place; expected {scheme}:// with a bucket or a host, then /folder")
    if place.password or "?" in url:
        raise ReprotuneError(
            "an address with a password or key in it would stand in .dvc/config, which git tracks: leave it out, and add "
            "`--set password=...`, which goes to .dvc/config.local"
        )
    return Remote(name, url)


def check_plugin(remote: Remote) -> None:
    """
    Raises:
        ReprotuneError: DVC lacks what it needs for this address.
    """
    scheme = "" if remote.folder else urlsplit(remote.url).scheme
    if scheme and find_spec(PLUGINS[scheme].replace("-", "_")) is None:
        raise ReprotuneError(f"{remote.url} needs {PLUGINS[scheme]}: `make env REMOTES={scheme}` installs it")


def read_options(pairs: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """NAME=VALUE pairs: what git may know, and what it may not.

    >>> read_options(["region=eu-west-1", "secret_access_key=x=y"])
    ({'region': 'eu-west-1'}, {'secret_access_key': 'x=y'})
    """
    options = dict(pair.partition("=")[::2] for pair in pairs)
    if wrong := [pair for pair in pairs if "=" not in pair]:
        raise ReprotuneError(f"--set {wrong[0]}: expected NAME=VALUE, such as --set region=eu-west-1")
    hidden = set(filter(names_credential, options))
    return {n: v for n, v in options.items() if n not in hidden}, {n: v for n, v in options.items() if n in hidden}


def write_remote(remote: Remote, options: dict[str, str], secrets: dict[str, str]) -> None:
    """Into DVC's own files, with `verify`, and as the default where there is none.

    Raises:
        ReprotuneError: DVC refuses an option.
    """
    shared = {"shared": "group"} if remote.folder else {}
    _edit(REPO_CONFIG, remote.name, {"url": remote.url, "verify": "true", **shared, **options}, default=True)
    if secrets:
        _edit(LOCAL_CONFIG, remote.name, secrets)


def _edit(path: Path, name: str, section: dict[str, str], default: bool = False) -> None:
    """`dvc remote add` would write ASCII alone, whatever a folder's name; DVC reads UTF-8."""
    before = path.read_bytes() if path.exists() else None
    file = ConfigObj(str(path), encoding="utf-8", default_encoding="utf-8", indent_type="    ")
    file.setdefault(f'remote "{name}"', {}).update(section)
    if default:
        file.setdefault("core", {}).setdefault("remote", name)
    file.write()
    try:
        Config(str(path.parent)).load()
    except ConfigError as error:
        path.write_bytes(before) if before is not None else path.unlink()
        raise ReprotuneError(f"remote {name}: DVC does not take these settings: {error}") from None


def names_of_remotes() -> list[str]:
    """
    Raises:
        ReprotuneError: this is no project of DVC, or its settings are damaged.
    """
    if not REPO_CONFIG.is_file():
        raise ReprotuneError("no .dvc/config here: run it in the project's folder")
    try:
        return list(Config(str(REPO_CONFIG.parent))["remote"])
    except ConfigError as error:
        raise ReprotuneError(f"DVC can't read the project: {error}") from None
