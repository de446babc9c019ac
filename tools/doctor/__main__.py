"""Is everything that this revision records here, whole and shared? `python -m tools.doctor [--remote [NAME]]`.

Compares the bytes of each file in the work tree and in the cache, with --remote those of each object there too, with the hashes
in dvc.lock and *.dvc; looks for what killed experiments left, settings that lose results, raw files that a clone would lack, and
credentials where git sees them. Each finding comes with what mends it; nothing is changed here. Ends with 1 if there is one.
"""

import argparse
import subprocess
from collections.abc import Iterator
from pathlib import Path

from dvc.exceptions import DvcException
from dvc.repo import Repo

from stages.lib.core.errors import ReprotuneError
from tools.console import check_git, check_lock, plural, run_tool
from tools.doctor.experiments import check_experiments, check_head, is_at_work
from tools.doctor.finding import Finding
from tools.doctor.objects import Recorded, check_cache, check_remote, recorded_files
from tools.doctor.settings import check_group, check_raw_files, check_remotes


def examine(repo: Repo, files: list[Recorded], remote: str | None) -> Iterator[Finding]:
    """`remote`: its name, "" for the default one, None for none."""
    yield from check_head() if not is_at_work() else ()
    yield from check_experiments() if not is_at_work() else ()
    yield from check_remotes(repo)
    yield from check_group(repo)
    yield from check_raw_files()
    yield from check_cache(repo, files)
    if remote is not None:
        yield from check_remote(repo, remote or None, files)


def size_of(folder: Path) -> str:
    done = subprocess.run(["du", "-sh", str(folder)], capture_output=True, text=True, check=False)
    return done.stdout.split("\t")[0] or "nothing"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tools.doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--remote", nargs="?", const="", metavar="NAME", help="read every object of the remote too")
    options = parser.parse_args()
    check_git()
    check_lock()
    try:
        with Repo() as repo:
            files = list(recorded_files(repo))
            findings = 0
            for finding in examine(repo, files, options.remote):
                findings += 1
                print(f"{finding.place}: {finding.found}\n    {finding.remedy}", flush=True)
            print(f"{plural(len(files), 'file')} of this revision compared; {plural(findings, 'finding')}")
            cache = Path(repo.cache.local_cache_dir)
            print(f"{cache} holds {size_of(cache)}; docs/sharing.md says how to make room")
    except DvcException as error:
        raise ReprotuneError(f"DVC can't read the project: {error}") from None
    return int(findings > 0)


if __name__ == "__main__":
    run_tool(main)
