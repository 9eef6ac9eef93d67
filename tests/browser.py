"""A browser without a window, driven through two pipes by the DevTools protocol."""

import base64
import fcntl
import json
import os
import select
import subprocess
import time
from contextlib import contextmanager
from itertools import pairwise

PATIENCE = 120


class Browser:
    """One Chromium with one page.

    Args:
        program: Chromium or Chrome.
        folder: For its profile.
    """

    def __init__(self, program, folder):
        from_us, to_browser = os.pipe()
        from_browser, to_us = os.pipe()
        options = [
            "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--mute-audio",
            "--disable-background-networking", "--disable-extensions", "--hide-scrollbars",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--disable-dev-shm-usage",
            f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank",
        ]  # fmt: skip
        # The browser reads from file 3 and writes to file 4. Copies far from both cannot collide.
        far = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in (from_us, to_us)]

        def place():
            os.dup2(far[0], 3)
            os.dup2(far[1], 4)

        self.process = subprocess.Popen(
            [program, *options],
            preexec_fn=place,
            close_fds=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in far:
            os.close(fd)
        os.close(from_us)
        os.close(to_us)
        self.writing, self.reading = to_browser, from_browser
        self.held, self.number, self.session = b"", 0, None
        self.events, self.servers = [], []
        targets = self.send("Target.getTargets")["targetInfos"]
        target = next(t["targetId"] for t in targets if t["type"] == "page")
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")
        self.resize(1280, 900)

    def close(self):
        """End the browser."""
        self.process.terminate()
        self.process.wait(20)
        os.close(self.writing)
        os.close(self.reading)

    def _message(self, deadline):
        while b"\0" not in self.held:
            ready, _, _ = select.select([self.reading], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                return None
            part = os.read(self.reading, 1 << 20)
            assert part, "the browser ended"
            self.held += part
        text, _, self.held = self.held.partition(b"\0")
        return json.loads(text)

    def send(self, method, **parameters):
        """One command, and what it returns; events meanwhile are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self.writing, data) :]
        deadline = time.monotonic() + PATIENCE
        while True:
            found = self._message(deadline)
            assert found is not None, f"no answer to {method}"
            if found.get("id") == self.number:
                assert "error" not in found, f"{method}: {found['error']}"
                return found["result"]
            self.events.append(found)

    # ---- The page ----------------------------------------------------------------------------

    def open(self, address):
        """Load a page."""
        self.events.clear()
        self.send("Page.navigate", url="about:blank")
        self.send("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def evaluate(self, expression):
        """The value of an expression in the page; promises are awaited."""
        found = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression, patience=PATIENCE):
        """Wait until an expression is true; returns its value."""
        deadline = time.monotonic() + patience
        while True:
            value = self.evaluate(expression)
            if value:
                return value
            assert time.monotonic() < deadline, f"never true: {expression}"
            time.sleep(0.05)

    @contextmanager
    def inside(self):
        """Meanwhile, everything is said to the frame of the page that has a process of its own."""
        self.send(
            "Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True
        )
        found = next(
            event["params"]["sessionId"]
            for event in reversed(self.events)
            if event.get("method") == "Target.attachedToTarget"
            and event["params"]["targetInfo"]["type"] == "iframe"
        )
        outer, self.session = self.session, found
        try:
            for domain in ("Runtime", "Log"):
                self.send(f"{domain}.enable")
            yield
        finally:
            self.session = outer
            self.send(
                "Target.setAutoAttach", autoAttach=False, waitForDebuggerOnStart=False, flatten=True
            )

    def complaints(self):
        """Errors in the console and uncaught exceptions since the page was opened."""
        self.evaluate("0")
        out = []
        for event in self.events:
            if event.get("method") == "Runtime.exceptionThrown":
                out.append(event["params"]["exceptionDetails"].get("text", "exception"))
            if (
                event.get("method") == "Log.entryAdded"
                and event["params"]["entry"]["level"] == "error"
            ):
                out.append(event["params"]["entry"]["text"])
            if (
                event.get("method") == "Runtime.consoleAPICalled"
                and event["params"]["type"] == "error"
            ):
                out.append(str(event["params"]["args"]))
        return out

    def requests(self):
        """Addresses that were asked for, but the file itself and data in it, or its own server."""
        asked = [
            event["params"]["request"]["url"]
            for event in self.events
            if event.get("method") == "Network.requestWillBeSent"
        ]
        own = ("file:", "data:", "blob:", "about:", *self.servers)
        return [a for a in asked if not a.startswith(own)]

    def resize(self, width, height, *, touch=False):
        """The size of the window in pixels."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=touch,
        )  # fmt: skip
        self.send("Emulation.setTouchEmulationEnabled", enabled=touch)

    def media(self, *, scheme="light", kind=""):
        """Light or dark; on screen or in print."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.send("Emulation.setEmulatedMedia", media=kind, features=features)

    def picture(self, path, selector=None):
        """A picture of the page, or of one element."""
        clip = {}
        if selector:
            box = self.evaluate(
                f"(() => {{ const b = document.querySelector({json.dumps(selector)})"
                ".getBoundingClientRect(); return {x: b.x + scrollX, y: b.y + scrollY, "
                "width: b.width, height: b.height, scale: 1}; })()"
            )
            clip = {"clip": box}
        found = self.send("Page.captureScreenshot", captureBeyondViewport=True, **clip)
        path.write_bytes(base64.b64decode(found["data"]))

    # ---- What a reader does ------------------------------------------------------------------

    def box(self, selector):
        """Where an element is in the window, after it was brought into view."""
        return self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const b = e.getBoundingClientRect();"
            "return {x: b.x, y: b.y, width: b.width, height: b.height}; })()"
        )

    def point(self, selector, x, y):
        """A place in an element, as shares of its width and height, in window pixels."""
        box = self.box(selector)
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def drag(self, selector, places, *, kind="mouse"):
        """Press, move through places (shares of width and height), and let go."""
        points = [self.point(selector, x, y) for x, y in places]
        steps = []
        for (ax, ay), (bx, by) in pairwise(points):
            steps += [(ax + (bx - ax) * t / 4, ay + (by - ay) * t / 4) for t in range(1, 5)]
        names = ["mousePressed", *["mouseMoved"] * len(steps), "mouseReleased"]
        touches = ["touchStart", *["touchMove"] * len(steps), "touchEnd"]
        for name, touch, (x, y) in zip(
            names, touches, [points[0], *steps, points[-1]], strict=True
        ):
            if kind == "mouse":
                self.send(
                    "Input.dispatchMouseEvent", type=name, x=x, y=y, button="left", buttons=1,
                    clickCount=1,
                )  # fmt: skip
            else:
                fingers = [] if touch == "touchEnd" else [{"x": x, "y": y}]
                self.send("Input.dispatchTouchEvent", type=touch, touchPoints=fingers)

    def click(self, selector):
        """Press an element."""
        self.drag(selector, [(0.5, 0.5)])

    def key(self, name, *, text="", **more):
        """Press a key, by the name that JavaScript has for it."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowUp": 38,
                 "ArrowRight": 39, "ArrowDown": 40, "Home": 36, "End": 35}  # fmt: skip
        text = text or (name if len(name) == 1 else "\r" if name == "Enter" else "")
        code = codes.get(name, ord(name[0].upper()))
        common = {"key": name, "windowsVirtualKeyCode": code, **more}
        if text and not more:
            common["text"] = text
        self.send("Input.dispatchKeyEvent", type="keyDown", **common)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def drop(self, selector, *files):
        """Drop files from the desktop on an element."""
        x, y = self.point(selector, 0.5, 0.5)
        data = {"items": [], "files": [str(f) for f in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.send("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def write(self, text):
        """Put text where the focus is, in place of what is there."""
        self.key("a", modifiers=2, commands=["selectAll"])
        self.send("Input.insertText", text=text)

    def paste(self, data, kind="image/png"):
        """Press Ctrl+V with an image in the clipboard."""
        self.send("Browser.grantPermissions",
                  permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])  # fmt: skip
        self.send("Page.bringToFront")
        text = base64.b64encode(data).decode()
        self.evaluate(
            f"(() => {{ const bytes = Uint8Array.from(atob('{text}'), (c) => c.charCodeAt(0));"
            f"return navigator.clipboard.write([new ClipboardItem({{'{kind}':"
            f"new Blob([bytes], {{type: '{kind}'}})}})]); }})()"
        )
        self.key("v", modifiers=2, commands=["paste"])
