"""`python -m <module>` within a second: a server that has loaded the heavy packages forks a child for each call.

    python warm_python.py serve SOCKET PROCESS    until that process is gone
    python warm_python.py call SOCKET -m ...      as `python -m ...`

A child gets the caller's folder, arguments, environment and open files, and loads the project's own code anew. So `dvc`, which
is `python -m dvc`, begins at once too.
"""

import array
import json
import os
import socket
import sys

HEAVY = [
    "torch", "transformers", "peft", "datasets", "evaluate", "sacrebleu", "rouge_score", "pandas", "ftfy",
    "dvc.cli.parser", "dvc.repo.artifacts", "dvc.repo.datasets", "dvc.repo.experiments", "dvc.repo.graph", "dvc.repo.plots",
    "dvc.repo.push", "dvc.repo.reproduce", "dvc.repo.trie", "dvc.repo.worktree", "dvc.utils.strictyaml",
    "dvc_data.index.checkout", "dvc_data.index.push", "dvc_data.hashfile.db.local", "dvc_data.hashfile.status",
    "dulwich.worktree", "networkx",
]  # fmt: skip
READ_AT_START = {"PYTHONHASHSEED", "PYTHONUTF8"}  # by the interpreter, before any fork


def call(address: str, arguments: list[str]) -> int:
    """The exit code. Where there is no server, or one would not do, an ordinary Python takes this one's place."""
    server = socket.socket(socket.AF_UNIX)
    try:
        if arguments[:1] != ["-m"] or READ_AT_START & set(os.environ):
            raise OSError
        server.connect(address)
    except OSError:
        os.execv(sys.executable, [sys.executable, *arguments])
    request = json.dumps([os.getcwd(), arguments[1:], dict(os.environ)]).encode()
    files = array.array("i", [0, 1, 2])
    server.sendmsg([len(request).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
    server.sendall(request)
    return int.from_bytes(server.recv(1) or b"\1", "big")


def serve(address: str, process: int) -> list[str]:
    """Returns in a forked child alone, with the arguments of its call. The server itself ends once `process` is gone."""
    import gc
    import importlib
    import select
    import signal

    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()  # callers wait from here on
    for name in HEAVY:
        importlib.import_module(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel forgets children that ended
    while True:
        if select.select([listening], [], [], 2)[0]:
            caller = listening.accept()[0]
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listening.close()
                return attend(caller)
            caller.close()
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            os._exit(0)


def attend(caller: socket.socket) -> list[str]:
    """Returns in a child; this process waits for it and tells the caller its exit code."""
    head, sent, _, _ = caller.recvmsg(4, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    request = b""
    while len(request) < int.from_bytes(head, "big"):
        request += caller.recv(1 << 20)
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        caller.sendall(bytes([code if code >= 0 else 128 - code]))
        os._exit(0)
    caller.close()
    for number, file in enumerate(array.array("i", sent[0][2])):
        os.dup2(file, number)
    folder, arguments, environment = json.loads(request)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    return arguments


if __name__ == "__main__":
    what, address, *rest = sys.argv[1:]
    if what == "call":
        sys.exit(call(address, rest))
    import atexit
    import runpy
    import threading
    import traceback

    sys.path.pop(0)
    sys.argv[:] = serve(address, int(rest[0]))
    sys.path[:0] = [os.getcwd(), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    if sys.argv[0] == "dvc" and "coverage" in sys.modules and (measuring := sys.modules["coverage"].Coverage.current()):
        measuring.stop()  # DVC's own process runs no code of stages or tools, and takes half as long again where it is followed
    status: object = None
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code
    except BaseException:
        traceback.print_exc()
        status = 1
    if isinstance(status, str):
        print(status, file=sys.stderr)
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))  # taking torch apart would take a second
