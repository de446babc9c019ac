"""Install what `pip install` is given, and show that it lives: `python requirements/install.py -r requirements.txt`.

pip alone is either silent for minutes or prints hundreds of lines. On a terminal this is one line that changes each second; in a
file, a line each half minute. pip's warnings are shown as they come, and the end of what it said when it fails.
"""

import subprocess
import sys
import sysconfig
import threading
import time
from collections import deque
from pathlib import Path

PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", "--no-compile"]
# In place of pip, which compiles with one core, and what nobody imports too. Left to the first import, it would be done again in
# each process where PYTHONDONTWRITEBYTECODE is set, as in many containers: half a minute each.
COMPILE = [sys.executable, "-m", "compileall", "-qq", "-j", "0", "-x", r"transformers.models.(?!auto)|[\\/]tests?[\\/]"]
ERASE = "\r\x1b[K"
SECONDS = {True: 1, False: 30}  # between two lines, on a terminal and elsewhere


def describe(line: str) -> str | None:
    """What pip does, of a line of its output; None where it says nothing new."""
    verb, _, rest = line.strip().partition(" ")
    if verb in ("Collecting", "Downloading", "Building"):
        return f"{verb.lower()} {Path(rest.split(' (from')[0]).name}"
    if line.startswith("Installing collected packages:"):
        return f"unpacking {rest.count(',') + 1} packages"
    return None


def main() -> int:
    terminal = sys.stdout.isatty()
    start, doing, done = time.monotonic(), "asking the package index", threading.Event()

    def show() -> None:
        while not done.wait(SECONDS[terminal]):
            line = f"environment: {time.monotonic() - start:.0f} s, {doing}"
            print(f"{ERASE}{line[:100]}" if terminal else line, end="" if terminal else "\n", flush=True)

    shown = threading.Thread(target=show, daemon=True)
    shown.start()
    said: deque[str] = deque(maxlen=20)
    erase = ERASE if terminal else ""
    with subprocess.Popen(
        [*PIP, *sys.argv[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as pip:
        for line in pip.stdout or ():
            doing = describe(line) or doing
            said.append(line)
            if line.startswith("WARNING:"):
                print(f"{erase}{line}", end="", flush=True)
    if not pip.returncode:
        doing = "compiling"
        subprocess.run([*COMPILE, sysconfig.get_paths()["purelib"]], check=False)  # some packages hold files of another Python
    done.set()
    shown.join()
    result = "installed" if pip.returncode == 0 else "pip failed"
    print(f"{erase}environment: {result} ({time.monotonic() - start:.0f} s)", flush=True)
    if pip.returncode:
        print("".join(said), end="", file=sys.stderr)
    return pip.returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print(file=sys.stderr)
        sys.exit(130)
