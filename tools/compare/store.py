"""Files by their md5: where one works, in DVC's cache, and from the remote. None is believed before it has been hashed."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from shlex import quote
from typing import NamedTuple

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc_data.hashfile.hash_info import HashInfo

from stages.lib.base_model.pins import hash_of
from stages.lib.core.errors import ReprotuneError
from tools.compare import git
from tools.compare.lock import hash_of_folder, read_md5
from tools.compare.revision import WORKSPACE, Revision
from tools.console import ANEW, remote_errors

NO_REMOTE = "no remote is set up; `python -m tools.remote add` does it, where someone has pushed them"
NOT_ASKED = "not in the cache, and --no-fetch asks no remote"
NOT_IN_FOLDER = "the run did not write it: the folder that dvc.lock records has no such file"
NOT_PUSHED = "the remote has none either; `dvc push --run-cache` where the run was made"


class Recorded(NamedTuple):
    """A file of a run. `out`: itself, or the folder that DVC has it in; `md5`: what dvc.lock records of the out."""

    file: Path
    out: Path
    md5: str
    revision: str


def read_listing(path: Path, folder: Path) -> dict[str, str]:
    """DVC's object for a folder: file -> md5.

    Raises:
        ReprotuneError: it is none.
    """
    try:
        return {f"{folder}/{one['relpath']}": read_md5(one["md5"]) for one in json.loads(path.read_bytes())}
    except (ValueError, KeyError, TypeError):
        wrong = f"{path}: no list of the files in {folder}, which dvc.lock takes it for"
        raise ReprotuneError(f"{wrong}; name another revision, or there {ANEW}") from None


class Store:
    """`fetch`: whether the remote may be asked for what is not here."""

    def __init__(self, fetch: bool) -> None:
        try:
            self.repo = Repo()
        except DvcException as error:
            raise ReprotuneError(f"DVC can't read the project: {error}") from None
        self.fetch = fetch
        self.why_not_here = NOT_ASKED
        self.hashes: dict[Path, str | None] = {}
        self.listings: dict[str, dict[str, str]] = {}

    def places_of(self, md5: str) -> list[Path]:
        """In the cache of this checkout, and in that of the main one where this is a worktree of it."""
        places = [Path(self.repo.cache.local.oid_to_path(md5))]
        common = git.line("rev-parse", "--path-format=absolute", "--git-common-dir")
        if common and Path(common).name == ".git":
            project = Path(common).parent / (git.line("rev-parse", "--show-prefix") or "")
            places.append(project / ".dvc/cache/files/md5" / md5[:2] / md5[2:])
        return list(dict.fromkeys(places))

    def is_whole(self, path: Path, md5: str) -> bool | None:
        """None where there is no such file."""
        found = self.md5_of(path)
        return None if found is None else found == md5.removesuffix(".dir")

    def md5_of(self, path: Path) -> str | None:
        if path not in self.hashes:
            self.hashes[path] = hash_of(path, "md5") if path.is_file() else None
        return self.hashes[path]

    def find(self, recorded: Recorded) -> Path | None:
        """A file with these bytes: that in the work tree, if it has them, or an object; None where there is none.

        Raises:
            ReprotuneError: there is nothing but an object with other bytes.
        """
        md5 = self.md5_in(recorded)
        if md5 is None:
            return None
        if self.is_whole(recorded.file, md5):
            return recorded.file
        return self.find_object(recorded.file, md5, recorded.revision)

    def find_object(self, out: Path, md5: str, revision: str) -> Path | None:
        places = self.places_of(md5)
        for path in places:
            if self.is_whole(path, md5):
                return path
        altered = next((path for path in places if self.is_whole(path, md5) is False), None)
        if altered:
            raise ReprotuneError(
                f"{altered}: altered: other bytes than {revision} records for {out}; `rm -f {quote(str(altered))}` has it "
                "fetched again, and `python -m tools.doctor` looks at all of them"
            )
        return None

    def md5_in(self, recorded: Recorded) -> str | None:
        """The file's own; None where it is in a folder whose listing is out of reach, or does not name it."""
        if recorded.file == recorded.out:
            return recorded.md5
        return self.listing(recorded).get(recorded.file.as_posix())

    def why_lacking(self, recorded: Recorded) -> str:
        """Of a file that was not found."""
        return self.why_not_here if self.md5_in(recorded) or not self.listing(recorded) else NOT_IN_FOLDER

    def listing(self, recorded: Recorded) -> dict[str, str]:
        """The files of a folder -> md5: of the work tree's, if it is the recorded one, or by the object that lists them."""
        if recorded.md5 not in self.listings:
            files = Revision(WORKSPACE, None).files_in(recorded.out)
            here = {path.as_posix(): md5 for path in files if (md5 := self.md5_of(path))}
            if hash_of_folder(here, recorded.out.as_posix()) == recorded.md5:
                self.listings[recorded.md5] = here
            elif path := self.find_object(recorded.out, recorded.md5, recorded.revision):
                self.listings[recorded.md5] = read_listing(path, recorded.out)
        return self.listings.get(recorded.md5, {})

    def bring(self, wanted: Iterable[Recorded]) -> None:
        """Fetch what can be had of these files; `why_not_here` says why the rest can't."""
        wanted = list(dict.fromkeys(wanted))
        self._fetch([one.md5 for one in wanted if one.file != one.out and not self.listing(one)])
        found = [(one.file, self.md5_in(one)) for one in wanted]
        self._fetch([md5 for path, md5 in found if md5 and not self.is_whole(path, md5)])

    def _fetch(self, hashes: Iterable[str]) -> None:
        lacking = [md5 for md5 in dict.fromkeys(hashes) if not any(map(Path.is_file, self.places_of(md5)))]
        if not lacking or not self.fetch:
            return
        if not self.repo.config["core"].get("remote"):
            self.why_not_here = NO_REMOTE
            return
        self.why_not_here = NOT_PUSHED
        try:
            self.repo.cloud.pull([HashInfo("md5", md5) for md5 in lacking])
        except remote_errors() as error:
            words = re.sub(r"://[^/@\s]*@", "://", " ".join(str(error).split())) or type(error).__name__  # without a password
            self.why_not_here = f"the remote can't be read: {words}"
        self.hashes.clear()
