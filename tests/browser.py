"""A headless Chromium that reaches no network, driven through two pipes by its own protocol: one start for many questions."""

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Chromium takes commands from descriptor 3 and answers to 4.
PIPES = "import os, sys; [os.dup2(*pair) for pair in ((int(sys.argv[1]), 103), (int(sys.argv[2]), 104), (103, 3), (104, 4))]"
START = f"{PIPES}; os.execvp(sys.argv[3], sys.argv[3:])"


def browser() -> str:
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "no Chromium: `apt-get install chromium`, then run this test again"
    return found


class Page:
    """One page. `events`: all that the browser told since it was opened."""

    def __init__(self, commands: int, answers: Any) -> None:
        self._commands, self._answers = commands, answers
        self._numbers = itertools.count(1)
        self.events: list[dict] = []
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: object) -> dict:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": self._session} if self._session else {})
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def _read(self) -> dict:
        text = bytearray()
        while (byte := self._answers.read(1)) != b"\0":
            assert byte, "the browser ended"
            text += byte
        answer = json.loads(text)
        if "method" in answer:
            self.events.append(answer)
        return answer

    def wait_for(self, method: str) -> dict:
        """The next such event; one that came before counts."""
        while not (found := [event for event in self.events if event["method"] == method]):
            self._read()
        return found[-1]["params"]

    def open(self, path: Path) -> None:
        self.events.clear()
        self.call("Page.navigate", url=path.as_uri())
        self.wait_for("Page.loadEventFired")

    def run(self, script: str) -> Any:
        """The value of an expression; a promise is waited for."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def press(self, key: str, code: str = "", number: int = 0, text: str = "") -> None:
        """A key, with what it writes where it writes something."""
        what = {"key": key, "code": code or key, "windowsVirtualKeyCode": number or ord(key[0])}
        self.call("Input.dispatchKeyEvent", type="keyDown", **what, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **what)

    def tab_through(self, times: int) -> set[tuple[str, str]]:
        """(element, name or id) of what the Tab key reaches; one sees each time where one is."""
        reached = set()
        for _ in range(times):
            self.press("Tab", "Tab", 9)
            at = self.run(
                "[document.activeElement.tagName, document.activeElement.name || document.activeElement.id || '', "
                "getComputedStyle(document.activeElement).outlineStyle]"
            )
            reached.add((at[0], at[1]))
            assert at[0] == "BODY" or at[2] != "none", at
        return reached

    def show_as(self, width: int, height: int = 900, dark: bool = False, phone: bool = False) -> None:
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path, whole: bool = False) -> None:
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(taken["data"]))

    def asked(self) -> list[str]:
        """Addresses that the page asked for, itself and what it made aside."""
        requests = [event["params"]["request"]["url"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        return [url for url in requests if not url.startswith(("file:", "blob:"))]

    def complaints(self) -> list[str]:
        """Errors of the page's scripts, and what its security policy refused."""
        errors = [event["params"]["exceptionDetails"] for event in self.events if event["method"] == "Runtime.exceptionThrown"]
        entries = [event["params"]["entry"]["text"] for event in self.events if event["method"] == "Log.entryAdded"]
        return [str(error) for error in errors] + entries


@contextlib.contextmanager
def open_browser(profile: Path, language: str = "en-US") -> Iterator[Page]:
    commands, answers = os.pipe(), os.pipe()
    command = [
        sys.executable, "-c", START, str(commands[0]), str(answers[1]), browser(), "--headless", "--no-sandbox", "--disable-gpu",
        "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--disable-dev-shm-usage", "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}",
        f"--lang={language}", f"--accept-lang={language}", "--remote-debugging-pipe",
    ]  # fmt: skip
    quiet: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    started = subprocess.Popen(command, pass_fds=(commands[0], answers[1]), **quiet)
    os.close(commands[0])
    os.close(answers[1])
    try:
        with os.fdopen(answers[0], "rb") as stream:
            page = Page(commands[1], stream)
            yield page
            page._session = None
            page.call("Browser.close")
    finally:
        os.close(commands[1])
        started.terminate()
        started.wait(30)
