"""Remotes are set up so that a team can use them, and tried before anyone relies on them."""

import os
import shutil
from pathlib import Path

import pytest
from conftest import REPO, run
from dvc.config_schema import REMOTE_SCHEMAS

from stages.lib.core.errors import ReprotuneError
from tools.console import names_credential
from tools.remote.settings import PLUGINS, read_options, read_remote


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    for name in ("tools", "stages"):
        (folder / name).symlink_to(REPO / name)
    run(["git", "init", "-q"], folder)
    run(["dvc", "init", "-q"], folder)
    (folder / "dvc.yaml").write_text(
        "stages:\n  copy: {cmd: cp tools/chat.py out.txt, deps: [tools/chat.py], outs: [out.txt]}\n", encoding="utf-8"
    )
    return folder


@pytest.fixture
def started(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "项目 one", symlinks=True)


def remote(folder: Path, *arguments: str, check: bool = True) -> str:
    done = run(["python", "-m", "tools.remote", *arguments], folder, check=check)
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def config_of(folder: Path, name: str = "config") -> str:
    path = folder / ".dvc" / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def test_a_folder_is_made_tried_and_checked_and_open_to_its_group_whatever_the_umask(started: Path) -> None:
    """What a second user meets who pushes after the first one; DVC's own objects and its run cache among them."""
    run(["dvc", "repro", "-q"], started)
    said = remote(started, "add", "team", "../团队 cache")
    assert "wrote, read and deleted an object" in said
    before = os.umask(0o002 if "`umask 002`" in said else 0o022)  # the first: what it says where a disk knows no access lists
    try:
        run(["dvc", "push", "-q", "--run-cache"], started)
    finally:
        os.umask(before)
    folder = started.parent / "团队 cache"
    below = [path for path in folder.rglob("*") if path.is_dir()]
    assert {path.relative_to(folder).parts[0] for path in below} == {"files", "runs"}
    assert all(path.stat().st_mode & 0o2070 == 0o2070 for path in below)
    entries = [path for path in (folder / "runs").rglob("*") if path.is_file()]  # a later push writes these again
    assert entries
    assert all(path.stat().st_mode & 0o060 == 0o060 for path in entries)
    assert list(folder.rglob("*written-by*")) == []
    for setting in (f"url = {folder}", "verify = true", "shared = group", "remote = team"):
        assert setting in config_of(started)


def test_an_object_that_was_altered_is_refused_on_its_way_in(started: Path) -> None:
    remote(started, "add", "damaged", "../damaged")
    run(["dvc", "repro", "-q"], started)
    run(["dvc", "push", "-q", "-r", "damaged"], started)
    [stored] = [path for path in (started.parent / "damaged" / "files").rglob("*") if path.is_file()]
    stored.chmod(0o644)
    stored.write_bytes(bytes(reversed(stored.read_bytes())))
    stored.chmod(0o444)
    run(["rm", "-rf", ".dvc/cache", "out.txt"], started)
    assert run(["dvc", "pull", "-r", "damaged"], started, check=False).returncode
    assert not (started / "out.txt").exists()


def test_a_folder_that_can_not_be_written_is_told_and_the_way_to_try_again(started: Path) -> None:
    (started / "a file").touch()
    said = remote(started, "add", "wrong", "a file/below", check=False)
    assert said.startswith("error: ")
    assert "a file/below: " in said
    assert "wrong" not in config_of(started)


def test_what_is_secret_never_stands_where_git_looks(started: Path) -> None:
    remote(started, "add", "box", "../box", "--set", "jobs=2")
    refused = remote(started, "add", "box", "../box", "--set", "password=swordfish", check=False)
    assert "DVC does not take these settings" in refused  # of a folder; and nothing of it stays
    for name in ("config", "config.local"):
        assert "swordfish" not in config_of(started, name)
    assert "jobs = 2" in config_of(started)
    assert "address with a password" in remote(started, "add", "x", "ssh://ann:" + "swordfish@host/x", check=False)


CREDENTIALS = (
    "password passphrase secret_access_key access_key_id session_token sas_token account_key connection_string client_secret "
    "oss_key_secret oss_key_id bearer_token_command"
)


@pytest.mark.parametrize("name", CREDENTIALS.split())
def test_settings_of_dvc_that_are_credentials_are_taken_for_such(name: str) -> None:
    assert read_options([f"{name}=x"]) == ({}, {name: "x"})


@pytest.mark.parametrize("name", ["region", "endpointurl", "port", "user", "keyfile", "profile", "timeout", "jobs"])
def test_other_settings_are_for_the_whole_team(name: str) -> None:
    assert read_options([f"{name}=x"]) == ({name: "x"}, {})


@pytest.mark.parametrize(
    ("name", "url", "message"),
    [
        ("Team", "x", "small letters"),
        ("-x", "x", "small letters"),
        ("a", "ftp://x", "begins with"),
        ("a", "azure://x?sig=y", "password"),
        ("a", "", "no address"),
        ("a", " ", "no address"),
        ("a", "/x\nurl = /etc", "no address"),
        ("a", "/\x1b[31mx", "no address"),
        ("a", "~nobody-is-called-so/x", "no such user"),
        ("a", "s3://", "names no place"),
        ("a", "ssh:///folder", "names no place"),
        ("a", "ssh://[::1/x", "the port or host"),
        ("a", "ssh://host:22x/x", "the port or host"),
        ("a", "ssh://host:99999/x", "the port or host"),
    ],
)
def test_names_and_addresses_that_can_not_be_are_refused(name: str, url: str, message: str) -> None:
    with pytest.raises(ReprotuneError, match=message):
        read_remote(name, url)


@pytest.mark.parametrize("command", [["check"], ["add", "a", "../a"]])
def test_settings_that_are_damaged_are_one_line_and_stay_as_they_are(started: Path, command: list[str]) -> None:
    config = started / ".dvc/config"
    config.write_text("[core", encoding="utf-8")
    assert remote(started, *command, check=False).startswith("error: DVC can't read the project: ")
    assert config.read_text(encoding="utf-8") == "[core"


def test_a_relative_folder_is_the_same_one_from_another_clone() -> None:
    assert read_remote("team", "../cache").url == str((Path.cwd() / "../cache").resolve())


@pytest.mark.parametrize("scheme", PLUGINS)
def test_what_is_missing_for_an_address_is_named_with_what_installs_it(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tools.remote import settings

    monkeypatch.setattr(settings, "find_spec", lambda _name: None)
    with pytest.raises(ReprotuneError, match=rf"needs dvc-{scheme}: `make env REMOTES={scheme}`"):
        settings.check_plugin(read_remote("a", f"{scheme}://place/folder"))


def test_checking_names_the_remotes_that_there_are(started: Path) -> None:
    remote(started, "add", "known", "../known")
    said = remote(started, "check", "nowhere", check=False)
    assert "no remote 'nowhere'; there is " in said
    assert "known" in said


def test_a_shared_cache_is_prepared_like_a_remote(tmp_path: Path, started: Path) -> None:
    said = remote(started, "share", str(tmp_path / "cache"))
    assert "may write into it" in said
    (tmp_path / "cache" / "sub").mkdir(mode=0o755)
    assert (tmp_path / "cache").stat().st_mode & 0o2070 == 0o2070


SECRET = {
    "password", "passphrase", "token", "access_key_id", "secret_access_key", "session_token", "sse_customer_key", "account_key",
    "connection_string", "sas_token", "client_secret", "oss_key_id", "oss_key_secret", "gdrive_client_secret",
    "credentialpath", "gdrive_user_credentials_file", "bearer_token_command",
}  # fmt: skip


def test_of_all_settings_of_dvcs_those_that_hold_a_secret_or_lead_to_one_are_known() -> None:
    names = {str(name) for schema in REMOTE_SCHEMAS.values() for name in schema}
    assert len(names) > 50
    assert {name for name in names if names_credential(name)} == SECRET
    assert {name for name in names if names_credential(name.title())} == SECRET
