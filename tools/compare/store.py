"""Files by their md5: where one works, in DVC's cache, and from the remote. None is believed before it has been hashed."""

import re
from collections.abc import Iterable
from pathlib import Path
from shlex import quote

from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc_data.hashfile.hash_info import HashInfo

from stages.lib.base_model.pins import hash_of
from stages.lib.core.errors import ReprotuneError
from tools.compare import git
from tools.console import remote_errors

NO_REMOTE = "no remote is set up; `python -m tools.remote add` does it, where someone has pushed them"
NOT_ASKED = "not in the cache, and --no-fetch asks no remote"
NOT_PUSHED = "the remote has none either; `dvc push --run-cache` where the run was made"


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
        if path not in self.hashes:
            self.hashes[path] = hash_of(path, "md5") if path.is_file() else None
        found = self.hashes[path]
        return None if found is None else found == md5

    def find(self, out: Path, md5: str, revision: str) -> Path | None:
        """A file with these bytes: the out in the work tree, if it has them, or an object; None where there is none.

        Raises:
            ReprotuneError: there is nothing but an object with other bytes.
        """
        places = self.places_of(md5)
        for path in (out, *places):
            if self.is_whole(path, md5):
                return path
        altered = next((path for path in places if self.is_whole(path, md5) is False), None)
        if altered:
            raise ReprotuneError(
                f"{altered}: altered: other bytes than {revision} records for {out}; `rm -f {quote(str(altered))}` has it "
                "fetched again, and `python -m tools.doctor` looks at all of them"
            )
        return None

    def bring(self, wanted: Iterable[tuple[Path, str]]) -> None:
        """Fetch what can be had of these outs; `why_not_here` says why the rest can't."""
        lacking = [
            md5
            for out, md5 in dict.fromkeys(wanted)
            if not self.is_whole(out, md5) and not any(map(Path.is_file, self.places_of(md5)))
        ]
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
