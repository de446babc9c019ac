"""Does a remote hold what it is given? One small object is written, read and deleted, by DVC's own connection to it."""

import secrets

from dvc.repo import Repo

from stages.lib.core.errors import ReprotuneError
from tools.console import explain, remote_errors


def try_remote(name: str) -> str:
    """
    Raises:
        ReprotuneError: what failed, in the words of the library that failed.
    """
    try:
        with Repo() as repo:
            remote = repo.cloud.get_remote(name)
            fs, folder = remote.fs, remote.path
    except remote_errors() as error:
        raise ReprotuneError(f"remote {name}: {explain(error)}") from None
    path = fs.join(folder, f".written-by-tools.remote-{secrets.token_hex(8)}")
    content = secrets.token_bytes(32)
    step = "write"
    try:
        fs.makedirs(folder, exist_ok=True)
        fs.pipe_file(path, content)
        step = "read"
        same = fs.cat_file(path) == content
        step = "delete"
        fs.rm_file(path)
    except remote_errors() as error:
        raise ReprotuneError(f"remote {name}: can't {step} {path}: {explain(error)}") from None
    if not same:
        raise ReprotuneError(f"remote {name}: {path} came back with other bytes than were written")
    return f"remote {name}: wrote, read and deleted an object in {folder}"
