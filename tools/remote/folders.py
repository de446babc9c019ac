"""A folder that several Unix users write into."""

import os
import struct
from pathlib import Path
from shlex import quote

from stages.lib.core.errors import ReprotuneError

GROUP_WRITES = 0o2775  # and what is made inside belongs to the folder's group
# The default access control list of POSIX.1e (draft 17) as Linux stores it: version 2, then (tag, permissions, id) of owner,
# group and others. It takes the place of a user's umask for all that is made below the folder, and is inherited.
NO_ID = 0xFFFFFFFF
DEFAULT_ACL = struct.pack("<I" + "HHI" * 3, 2, 0x01, 0o7, NO_ID, 0x04, 0o7, NO_ID, 0x20, 0o5, NO_ID)


def share_folder(folder: Path) -> str | None:
    """Let the folder's group write into it and all that will be made in it; what the user must still do, if anything.

    Raises:
        ReprotuneError: it can't be made or changed.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise ReprotuneError(
                f"{folder}: you may not write into it; its owner types `python -m tools.remote share {quote(str(folder))}`"
            )
        if folder.stat().st_uid != os.getuid():
            return None  # it is its owner who shares it
        folder.chmod(GROUP_WRITES)
    except OSError as error:
        raise ReprotuneError(f"{folder}: {error.strerror}") from None
    try:
        os.setxattr(folder, "system.posix_acl_default", DEFAULT_ACL)
    except (AttributeError, OSError):  # no Linux; or a file system without access control lists
        return "everyone who pushes needs `umask 002`, since this file system gives new folders to their maker alone"
    return None
