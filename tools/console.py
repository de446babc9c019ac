"""What the tools share: how they end, words that are safe to show, secrets, errors of remotes, a lock that nothing can read."""

import errno
import os
import re
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from stages.lib.core.cache import LOCK
from stages.lib.core.errors import ReprotuneError, describe_os_error

WIDTH = 100
TITLE_WIDTH = 11
# Options of DVC's configuration, whose keys it reads in any case; not those that only say how one gets at a secret.
CREDENTIAL = (
    r"(?!ask_|exclude_)\w*(?:password|passphrase|secret|token|(?<!kms_)key_id|account_key|customer_key"
    r"|connection_string|credential)\w*"
)
# What each library raises that DVC reaches remotes by; only those that are loaded can have raised something.
OF_REMOTES = {
    "dvc.exceptions": ("DvcException",),
    "dvc_objects.errors": ("ObjectFormatError",),
    "dvc_objects.fs.errors": ("AuthError", "ConfigError", "RemoteMissingDepsError"),
    "asyncssh": ("Error",),
    "botocore.exceptions": ("BotoCoreError", "ClientError"),
    "aiohttp": ("ClientError",),
    "google.auth.exceptions": ("GoogleAuthError",),
    "gcsfs.retry": ("HttpError",),
    "azure.core.exceptions": ("AzureError",),
    "oss2.exceptions": ("OssError",),
}
# The schemes of addresses, with the plug-in of DVC that knows each.
PLUGINS = {"s3": "dvc-s3", "ssh": "dvc-ssh", "gs": "dvc-gs", "azure": "dvc-azure", "oss": "dvc-oss"}
MARKS_OF_A_MERGE = "<<<<<<< "
# HEAD: in the midst of a merge git knows three versions of the file, and restores none without being told which.
RESTORE = f"`git checkout HEAD -- {LOCK} metrics`, then `dvc repro` and `git add {LOCK} metrics`"
ANEW = f"`rm {LOCK}`, `dvc repro` and commit it"  # where git has no other one
A_FILE = "a file stands where a folder is needed; name another place"
WRONG_KIND = {
    errno.EEXIST: A_FILE,
    errno.ENOTDIR: A_FILE,
    errno.EISDIR: "a folder stands where a file is needed; name another place",
}
INTERRUPTED = 130  # as a shell has it: 128 and the signal's number


def run_tool(main: Callable[[], int | None]) -> None:
    """Run a tool's main and exit with the status it returns; an error that a user can mend is one message, not a traceback."""
    open_closed_streams()
    try:
        status = main()
        sys.stdout.flush()
    except ReprotuneError as error:
        sys.exit(f"error: {visible(str(error))}")
    except KeyboardInterrupt:
        print(file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # `| head`: what is still unwritten must not be tried again at the exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except sqlite3.OperationalError as error:
        sys.exit(
            f"error: DVC can't use its notes on files: {error}; make room on the disk, or set DVC_SITE_CACHE_DIR to a folder "
            "that you may write to (/var/tmp/dvc on Linux where it is not set)"
        )
    except OSError as error:
        wrong = WRONG_KIND.get(error.errno or 0)
        sys.exit(f"error: {visible(f'{error.filename}: {wrong}' if wrong else describe_os_error(error))}")
    if status:
        sys.exit(status)


def open_closed_streams() -> None:
    """What whoever started a tool has closed (`>&-`) is as good as empty; Python has None in its place, which nobody expects."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - until the process ends


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A file beside `path` to write instead, which takes its place at the end: a full disk leaves what was there, or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f"{path.name}.tmp")
    try:
        yield half
        half.replace(path)
    except OSError as error:
        if str(error.filename or half) == str(half):
            error.filename = str(path)
        raise
    finally:
        half.unlink(missing_ok=True)


def names_credential(option: str) -> bool:
    """
    >>> [names_credential(name) for name in ("secret_access_key", "Password", "ask_password", "sse_kms_key_id", "region")]
    [True, True, False, False, False]
    """
    return re.fullmatch(CREDENTIAL, option, re.IGNORECASE) is not None


def remote_errors() -> tuple[type[Exception], ...]:
    """For an `except`: what a remote may raise, or settings that it can't work with; a fault of the code is not among it."""
    loaded = ((sys.modules[module], names) for module, names in OF_REMOTES.items() if module in sys.modules)
    return OSError, ValueError, ImportError, *(getattr(module, name) for module, names in loaded for name in names)


def explain(error: Any) -> str:
    """The error's own words, with the cause at its root; a plug-in that is missing has its remedy."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()) or type(error).__name__
    for scheme, plugin in PLUGINS.items():
        if plugin in text or plugin.replace("-", "_") in text:
            return f"{plugin} is not installed; `make env REMOTES={scheme}` adds it"
    return text


def check_git() -> None:
    """
    Raises:
        ReprotuneError: there is no git, or it tells nothing of this folder, since another user owns it.
    """
    try:
        done = subprocess.run(
            ["git", "rev-parse"], env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError:
        raise ReprotuneError("git: not found; install it, and run this in the project's folder") from None
    if "dubious ownership" in done.stderr:
        command = done.stderr.strip().splitlines()[-1].strip()
        raise ReprotuneError(f"git tells nothing of this folder, since another user owns it; if you trust them, `{command}`")


def check_lock() -> None:
    """
    Raises:
        ReprotuneError: nothing else can be looked at.
    """
    if not LOCK.exists():
        return
    text = LOCK.read_text(encoding="utf-8", errors="replace")
    if any(line.startswith(MARKS_OF_A_MERGE) for line in text.splitlines()):
        by_itself = "`python -m tools.merge_lock --install` has git merge it by itself"
        raise ReprotuneError(f"{LOCK} holds marks of a merge: {mend_of_lock(text)}; {by_itself}")
    try:
        whole = isinstance(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)), dict)
    except yaml.YAMLError:
        whole = False
    if not whole:
        raise ReprotuneError(f"{LOCK} is damaged: {mend_of_lock(text)}")


def mend_of_lock(text: str) -> str:
    """What restores a damaged one: git, where it has another one."""
    command = ["git", "cat-file", "blob", f"HEAD:./{LOCK}"]
    committed = subprocess.run(command, capture_output=True, check=False).stdout.decode("utf-8", "replace")
    if committed.replace("\r\n", "\n") != text:
        return RESTORE
    return f"it is committed so; {ANEW}"


def print_all(lines: Iterable[str]) -> None:
    """Print each line when it is there; the next one may take a while."""
    for line in lines:
        print(line, flush=True)


def takes_colour() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ


def visible(text: str) -> str:
    """Invisible and control characters as escapes; line feeds and the joiners in emoji stay.

    >>> visible("a\\u200bb\\x1b[1m\\tc")
    'a\\\\u200bb\\\\x1b[1m\\\\tc'
    """
    kept = "\n\u200d\u3000"
    return "".join(
        letter if letter.isprintable() or letter in kept else letter.encode("unicode_escape").decode() for letter in text
    )


def paragraph(title: str, text: str) -> Iterator[str]:
    """A title and a paragraph beside it, as one piece; no line ends at an arrow."""
    filled = textwrap.fill(
        visible(text).replace(" -> ", "\xa0->\xa0"),
        WIDTH,
        initial_indent=f"{title:<{TITLE_WIDTH}}",
        subsequent_indent=" " * TITLE_WIDTH,
        break_long_words=False,
        break_on_hyphens=False,
    )
    yield filled.replace("\xa0", " ")


def plural(number: int, word: str) -> str:
    """
    >>> plural(1, "reply"), plural(2000, "reply"), plural(0, "row")
    ('1 reply', '2,000 replies', '0 rows')
    """
    return f"{number:,} {word if number == 1 else f'{word}s' if word[-1] != 'y' else f'{word[:-1]}ies'}"
