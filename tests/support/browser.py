"""Chromium without a window, by its DevTools protocol: keys, screen sizes, pictures.

https://chromedevtools.github.io/devtools-protocol/ over two pipes, a zero byte after each message.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

KEYS = {"Enter": 13, "Escape": 27, "End": 35, "Home": 36, "Tab": 9}
KEYS |= {f"Arrow{name}": 37 + at for at, name in enumerate(("Left", "Up", "Right", "Down"))}
"""Windows' key codes, which the protocol takes, by the names that a script sees."""


class Browser:
    """A tab of a Chromium that ends with the context."""

    def __init__(self, profile: Path) -> None:
        """Start it, with its profile in the directory `profile`."""
        self._number = 0
        (to_read, self._write), (self._read, to_write) = os.pipe(), os.pipe()
        # The browser reads descriptor 3 and writes descriptor 4.
        command = 'exec 3<&"$0" 4>&"$1"; shift; exec chromium "$@"'
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        options += ["--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(
            ["bash", "-c", command, str(to_read), str(to_write), *options],
            pass_fds=(to_read, to_write),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        self._rest = b""
        self._session = ""
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self._call("Page.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._session = ""
        try:
            self._call("Browser.close")
            self._process.wait(20)
        finally:
            self._process.kill()
            self._process.wait()
            os.close(self._write)
            os.close(self._read)

    def _call(self, method: str, **parameters: Any) -> Any:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            pass
        assert "error" not in answer, answer["error"]
        return answer["result"]

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            more = os.read(self._read, 1 << 20)
            assert more, "chromium has ended"
            self._rest += more
        message, _, self._rest = self._rest.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def open(self, path: Path, width: int = 1400, height: int = 1000, **media: str) -> None:
        """Show the file `path` on a screen of that size; `media` are features, as ``color``."""
        features = [
            {"name": f"prefers-{name.replace('_', '-')}", "value": value}
            for name, value in media.items()
        ]
        self._call("Emulation.setEmulatedMedia", features=features)
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self._call("Page.navigate", url=f"file://{path}")
        while self._receive().get("method") != "Page.loadEventFired":
            pass

    def run(self, script: str) -> Any:
        """Return the value of the expression `script` in the page."""
        found = self._call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def press(self, *keys: str) -> None:
        """Press and release the keys of these names, one after the other."""
        for key in keys:
            pressed = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
            self._call("Input.dispatchKeyEvent", type="rawKeyDown", **pressed)
            self._call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Write a PNG of the screen, or of the `whole` page, to `path`."""
        found = self._call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))
