"""A real sshd and a server of S3 on this machine, each with a home of a client that it lets in; for the tests of remotes."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest
from conftest import run

PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
SECONDS = 30  # to begin
SSHD = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/key.pub
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
PidFile none
Subsystem sftp internal-sftp
"""


class Server(NamedTuple):
    """`command` starts it; `settings` are of `tools.remote add`, behind the address."""

    url: str
    settings: list[str]
    command: list[str]
    port: int
    folder: Path

    def start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(self.command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        end = time.monotonic() + SECONDS
        while process.poll() is None and time.monotonic() < end:
            with socket.socket() as client:
                if not client.connect_ex(("127.0.0.1", self.port)):
                    return process
            time.sleep(0.05)
        process.kill()
        pytest.fail((self.folder / "log").read_text())

    @staticmethod
    def stop(process: subprocess.Popen[bytes]) -> None:
        """As where a machine goes away: sshd's sessions are processes of their own."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                with contextlib.suppress(psutil.NoSuchProcess):
                    one.kill()
        process.wait()

    def holds(self) -> int:
        """How many objects have come: files of sshd's, requests that moto tells of."""
        if self.url.startswith("ssh"):
            return sum(path.is_file() for path in (self.folder / "store").rglob("*"))
        return (self.folder / "log").read_text().count('"PUT /team/cache/files')

    def make_home(self, home: Path) -> Path:
        """What lets a user in: keys, as they lie in a home."""
        home.mkdir(parents=True)
        for name in (".ssh", ".aws"):
            if (self.folder / name).exists():
                shutil.copytree(self.folder / name, home / name)
        return home


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def ssh_server(folder: Path) -> Server:
    """As the user who runs the tests, on the loopback interface alone, by a key made for it."""
    sshd = shutil.which("sshd", path=PLACES)
    if not sshd or not shutil.which("ssh-keygen"):
        pytest.skip("there is no sshd (Debian: apt-get install openssh-server)")
    if not find_spec("dvc_ssh"):
        pytest.skip("DVC can't speak SSH yet: make env REMOTES=ssh")
    port = free_port()
    (folder / ".ssh").mkdir(parents=True, mode=0o700)
    for name in ("host", "key"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], folder)
    shutil.move(folder / "key", folder / ".ssh" / "id_ed25519")
    host = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / ".ssh" / "known_hosts").write_text(f"[127.0.0.1]:{port} {host}\n")
    (folder / "config").write_text(SSHD.format(port=port, folder=folder))
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd shuts in what is not yet logged in
    url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{folder}/store"
    return Server(url, [], [sshd, "-D", "-e", "-f", str(folder / "config")], port, folder)


def s3_server(folder: Path) -> Server:
    for package, what in (("dvc_s3", "REMOTES=s3"), ("moto", "REMOTES=tests")):
        if not find_spec(package):
            pytest.skip(f"{package} is not installed: make env {what}")
    port = free_port()
    (folder / ".aws").mkdir(parents=True)
    (folder / ".aws" / "credentials").write_text("[default]\naws_access_key_id = ann\naws_secret_access_key = ann\n")
    settings = ["--set", f"endpointurl=http://127.0.0.1:{port}", "--set", "region=us-east-1"]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    return Server("s3://team/cache", settings, command, port, folder)


def make_bucket(server: Server) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/team", method="PUT")
    urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=SECONDS).close()
