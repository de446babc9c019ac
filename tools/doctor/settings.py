"""Settings and files that let results get lost, or be seen by others, without a word."""

import os
from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import urlsplit

from dvc.repo import Repo
from pydantic import ConfigDict

from stages.lib.core.params import Section, read_params
from tools.console import names_credential
from tools.doctor.finding import Finding
from tools.doctor.git import is_tracked

CONFIG = Path(".dvc/config")
RENEW = "then have it replaced where it comes from: git's history keeps it"
GROUP_WRITES = 0o020


class AnySources(Section):
    """Of `collect`, the sources' paths, whatever else stands there."""

    model_config = ConfigDict(extra="ignore")
    sources: dict[str, dict[str, Any]]


def check_remotes(repo: Repo) -> Iterator[Finding]:
    for name, remote in repo.config["remote"].items():
        if not remote.get("verify"):
            yield Finding(
                f"remote {name}", "altered objects are taken from it unseen", f"dvc remote modify {quote(name)} verify true"
            )
    tracked = repo.config.read("repo")
    for name, remote in tracked["remote"].items():
        address = urlsplit(str(remote.get("url", "")))
        if address.password:
            host = address.netloc.rpartition("@")[2]
            public = address._replace(netloc=f"{address.username}@{host}" if address.username else host).geturl()
            yield Finding(
                f"remote {name}",
                f"a password stands in its address, in {CONFIG}, which git tracks",
                f"dvc remote modify {quote(name)} url {quote(public)}  # {RENEW}; `dvc config --local "
                f"{quote(f'remote.{name}.password')} PASSWORD` tells DVC the new one",
            )
    for section in ("remote", "db"):
        for name, options in tracked[section].items():
            yield from (_misplaced(f"{section}.{name}.{option}") for option in options if names_credential(option))


def _misplaced(option: str) -> Finding:
    """Of a credential in a file that git tracks. The remedy prints it nowhere."""
    known, name = quote(option), option.rpartition(".")[2]
    return Finding(
        str(CONFIG),
        f"{name} stands in a file that git tracks",
        f'dvc config --local {known} "$(dvc config {known})" && dvc config --unset {known}  # {RENEW}',
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
