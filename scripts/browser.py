"""A Chromium without a window, spoken to through two pipes: no driver, no port, no package.

The DevTools protocol over `--remote-debugging-pipe` is JSON texts, each ended by a zero byte. What
is asked of the network is recorded by the browser itself, out of reach of any page.
"""

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

Json = dict[str, Any]
Scheme = Literal["light", "dark"]
Medium = Literal["screen", "print"]
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
NOWHERE = "http://127.0.0.1:9"
FLAGS = (
    "--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-extensions",
    "--disable-default-apps", "--disable-domain-reliability", "--no-pings", "--mute-audio",
    "--disable-dev-shm-usage", "--password-store=basic", "--font-render-hinting=none",
    "--disable-features=OptimizationHints,MediaRouter,Translate,AutofillServerCommunication,"
    "NetworkTimeServiceQuerying",
    *(f"--{name}={NOWHERE}" for name in ("gaia-url", "google-apis-url", "variations-server-url")),
    f"--component-updater=url-source={NOWHERE}",
    "--remote-debugging-pipe",
)  # fmt: skip
PIPES = 'exec "${@:3}" 3<&"$1" 4>&"$2"'  # the protocol wants these two numbers
PATIENCE = 60.0
HEIGHT = 900
TALLEST = 1600


def program() -> str | None:
    """Return the path of a Chromium, if one is installed."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


@contextlib.contextmanager
def browser(net_log: Path | None = None) -> Iterator["Browser"]:
    """Run a browser with one empty page and a profile that is thrown away.

    Args:
        net_log: Where the browser records what it asked of the network; complete once it ended.

    Raises:
        FileNotFoundError: If no Chromium is installed.
    """
    path = program()
    if path is None:
        raise FileNotFoundError("no Chromium found; on Debian: apt-get install chromium")
    flags = [*FLAGS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    flags += [f"--log-net-log={net_log}"] if net_log else []
    ends = [*os.pipe(), *os.pipe()]
    numbers = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    theirs, ours = (numbers[0], numbers[3]), (numbers[1], numbers[2])
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        call = ["bash", "-c", PIPES, "pipes", *map(str, theirs), path, *flags]
        process = subprocess.Popen(
            [*call, f"--user-data-dir={profile}", "about:blank"], pass_fds=theirs,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        for end in theirs:
            os.close(end)
        try:
            page = Browser(*ours)
            yield page
            page.close()
            process.wait(PATIENCE)
        finally:
            process.kill()
            process.wait()
            for end in ours:
                os.close(end)


class Browser:
    """A running browser with one page.

    Args:
        commands: Descriptor to write to.
        answers: Descriptor to read from.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._unread = b""
        self._count = 0
        self._session: str | None = None
        self.events: list[Json] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        answer = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = answer["sessionId"]
        for name in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{name}.enable")

    def call(self, method: str, **arguments: Any) -> Json:
        """Send a command of the protocol and return its answer.

        Raises:
            RuntimeError: If the browser refuses the command, ends, or is silent for a minute.
        """
        self._count += 1
        message: Json = {"id": self._count, "method": method, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        answer = self._next()
        while answer.get("id") != self._count:
            self.events.append(answer)
            answer = self._next()
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error'].get('message')}")
        result: Json = answer["result"]
        return result

    def open(self, path: Path) -> None:
        """Show a file and wait until it has loaded; the events start anew."""
        self.events.clear()
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def look(self, width: int, scheme: Scheme = "light", medium: Medium = "screen") -> None:
        """Set the width of the window in CSS pixels, and what the reader prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=HEIGHT, deviceScaleFactor=1,
            mobile=False,
        )  # fmt: skip
        preference = [{"name": "prefers-color-scheme", "value": scheme}]
        self.call("Emulation.setEmulatedMedia", media=medium, features=preference)

    def ask(self, expression: str) -> Any:
        """Evaluate JavaScript in the page, whatever its policy says, and return the value.

        Raises:
            RuntimeError: If it throws.
        """
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def pictures(self) -> list[bytes]:
        """Return the whole page as PNG, from top to bottom in pieces that a viewer can hold."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        tops = range(0, max(1, round(size["height"])), TALLEST)
        return [self._picture(size["width"], top, size["height"] - top) for top in tops]

    def paper(self) -> bytes:
        """Return the page as the browser prints it on A4, a PDF."""
        self.call("Emulation.setEmulatedMedia", media="")  # else it prints what was set before
        answer = self.call(
            "Page.printToPDF", paperWidth=8.27, paperHeight=11.69, printBackground=True
        )
        return base64.b64decode(answer["data"])

    def close(self) -> None:
        """End the browser, so that it finishes its records."""
        self._session = None
        self.call("Browser.close")

    def _picture(self, width: float, top: float, height: float) -> bytes:
        clip = {"x": 0, "y": top, "width": width, "height": min(height, TALLEST), "scale": 1}
        answer = self.call(
            "Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip
        )
        return base64.b64decode(answer["data"])

    def _next(self) -> Json:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], max(0.0, end - time.monotonic()))
            piece = os.read(self._answers, 1 << 20) if ready else b""
            if not piece:
                raise RuntimeError("the browser ended" if ready else "the browser is silent")
            self._unread += piece
        text, _, self._unread = self._unread.partition(b"\0")
        message: Json = json.loads(text)
        return message


def asked_of_network(net_log: Path) -> set[str]:
    """Return the addresses that pages asked of the network, from the browser's own record.

    Files and data URLs never reach the network, and so are not among them; nor is what the browser
    asks for its own sake, which has no page as its origin.
    """
    record = json.loads(net_log.read_text("utf-8"))
    kinds = {number: name for name, number in record["constants"]["logEventTypes"].items()}
    found: set[str] = set()
    own: set[str] = set()
    for event in record["events"]:
        kind, about = kinds[event["type"]], event.get("params", {})
        if kind == "URL_REQUEST_START_JOB" and "url" in about:
            (own if about["initiator"] == "not an origin" else found).add(about["url"])
        elif kind == "HOST_RESOLVER_MANAGER_REQUEST" and "host" in about:
            found.add(about["host"])
    return {url for url in found if not any(other.startswith(url) for other in own)}
