"""Settings and files that let results get lost, or be seen by others, without a word."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

from dvc.repo import Repo
from pydantic import ConfigDict

from stages.lib.core.params import Section, read_params
from tools.console import CREDENTIAL
from tools.doctor.finding import Finding
from tools.doctor.git import is_tracked

CONFIG = Path(".dvc/config")
CREDENTIAL_LINE = re.compile(rf"^\s*({CREDENTIAL})\s*=", re.MULTILINE | re.IGNORECASE)
GROUP_WRITES = 0o020


class AnySources(Section):
    """Of `collect`, the sources' paths, whatever else stands there."""

    model_config = ConfigDict(extra="ignore")
    sources: dict[str, dict[str, Any]]


def check_remotes(repo: Repo) -> Iterator[Finding]:
    for name, remote in repo.config["remote"].items():
        if not remote.get("verify"):
            yield Finding(f"remote {name}", "altered objects are taken from it unseen", f"dvc remote modify {name} verify true")
        if urlsplit(str(remote.get("url", ""))).password:
            yield Finding(f"remote {name}", "a password stands in its address", f"dvc remote modify {name} url ... without it")
    for option in CREDENTIAL_LINE.findall(CONFIG.read_text(encoding="utf-8")):
        yield Finding(
            str(CONFIG),
            f"{option} stands in a file that git tracks",
            "move the line to .dvc/config.local, and have it replaced where it comes from",
        )


def check_raw_files() -> Iterator[Finding]:
    """A colleague's clone lacks what neither git nor DVC knows; `dvc repro` there takes its results away."""
    for name, source in read_params("collect", AnySources).sources.items():
        path = Path(str(source.get("path") or ""))
        if not source.get("path") or path.is_absolute() or not path.exists() or is_tracked(path):
            continue
        if not any(Path(f"{folder}.dvc").is_file() for folder in [path, *path.parents][:-1]):
            add = f"dvc add {quote(str(path))} && git add {quote(f'{path}.dvc')}"
            yield Finding(f"collect.sources.{name}", f"a clone will lack {path}", add)


def check_group(repo: Repo) -> Iterator[Finding]:
    """Folders of a shared cache, or of a remote on this disk, that only their maker can write into."""
    places = {"cache": (repo.cache.local_cache_dir, repo.config["cache"].get("shared"))}
    places |= {f"remote {n}": (r["url"], r.get("shared")) for n, r in repo.config["remote"].items() if "://" not in str(r["url"])}
    for name, (folder, shared) in places.items():
        if shared != "group":
            continue
        closed = [below for below, _, _ in os.walk(folder) if not Path(below).stat().st_mode & GROUP_WRITES]
        if closed:
            said = f"your group can't write into {len(closed):,} folders of {folder}, {closed[0]} first"
            share = f"chmod -R g+rwX {quote(folder)} && python -m tools.remote share {quote(folder)}   # by their owner"
            yield Finding(name, said, share)
