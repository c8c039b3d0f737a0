"""The report in a real browser: it sorts, filters and prints no error; it is complete without JavaScript."""

import base64
import fcntl
import io
import json
import os
import shutil
import signal
import time

import numpy as np
import pytest
from PIL import Image

BROWSER = next(
    (p for n in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(n))), None
)
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
    "--window-size=1280,900",
)
PATIENCE = 120  # seconds for one answer of a browser on a busy machine

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no chromium here; Debian's package is called chromium"
)


class Browser:
    """Chromium through its debugging pipe: JSON messages that end in a zero byte, on descriptors 3 and 4."""

    def __init__(self, profile):
        to_read, self.write = os.pipe()
        self.read, to_write = os.pipe()
        far = [fcntl.fcntl(d, fcntl.F_DUPFD_CLOEXEC, 40) for d in (to_read, to_write)]
        quiet = os.open(os.devnull, os.O_WRONLY)
        actions = [
            (os.POSIX_SPAWN_DUP2, far[0], 3),
            (os.POSIX_SPAWN_DUP2, far[1], 4),
            (os.POSIX_SPAWN_DUP2, quiet, 2),
        ]
        command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        self.pid = os.posix_spawn(BROWSER, command, os.environ, file_actions=actions, setpgroup=0)
        for descriptor in (to_read, to_write, *far, quiet):
            os.close(descriptor)
        os.set_blocking(self.read, False)
        self.buffer, self.number, self.events, self.session = b"", 0, [], None

    def close(self):
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.read)
        os.close(self.write)

    def send(self, method, **params):
        """The result of a command; events that come meanwhile are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        return self._wait(lambda m: m.get("id") == self.number, method)["result"]

    def event(self, name):
        if not any(e["method"] == name for e in self.events):
            self._wait(lambda m: m.get("method") == name, name)

    def _wait(self, wanted, what):
        limit = time.monotonic() + PATIENCE
        while time.monotonic() < limit:
            head, zero, rest = self.buffer.partition(b"\0")
            if not zero:
                try:
                    self.buffer += os.read(self.read, 1 << 20)
                except BlockingIOError:
                    time.sleep(0.01)
                continue
            self.buffer = rest
            message = json.loads(head)
            if "method" in message:
                self.events.append(message)
            if "error" in message:
                raise AssertionError(message["error"])
            if wanted(message):
                return message
        raise AssertionError(f"the browser did not answer: {what}")

    def attach(self):
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def open(self, path):
        self.events.clear()
        self.send("Page.navigate", url=path.as_uri())
        self.event("Page.loadEventFired")

    def run(self, code):
        found = self.send("Runtime.evaluate", expression=code, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def errors(self):
        """What the console was told, refusals of the security policy among them."""
        told = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [e for e in self.events if e["method"] in told]

    def screenshot(self):
        data = self.send("Page.captureScreenshot", format="png")["data"]
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            return np.asarray(image.convert("RGB"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    found = Browser(tmp_path_factory.mktemp("profile"))
    try:
        found.attach()
        yield found
    finally:
        found.close()


@pytest.fixture
def report(page_of, hostile, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(page_of(name=hostile, title=hostile), encoding="utf-8")
    return path


NAMES = "[...document.querySelectorAll('#table-0 tbody tr')].filter(r => !r.hidden).map(r => r.cells[0].dataset.key)"


def test_it_sorts_filters_and_says_no_error(browser, report):
    browser.open(report)
    before = browser.run(NAMES)
    assert before[:2] == ["random-init", "moco-v2"]
    click = "document.querySelectorAll('#table-0 thead button')[{}].click()"
    auc = browser.run(
        "[...document.querySelectorAll('#table-0 thead th')].findIndex(h => h.textContent === 'AUC')"
    )
    browser.run(click.format(auc))
    values = (
        f"[...document.querySelectorAll('#table-0 tbody tr')].map(r => r.cells[{auc}].dataset.key)"
    )
    falling = [float(v) for v in browser.run(values) if v]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] == 90.0
    assert browser.run(values)[-1] == ""  # the run that failed has no value and comes last
    browser.run(click.format(auc))
    rising = [float(v) for v in browser.run(values) if v]
    assert rising == sorted(rising)
    browser.run(click.format(auc))
    assert browser.run(NAMES) == before

    browser.run(
        "const box = document.getElementById('filter'); box.value = 'moco';"
        "box.dispatchEvent(new Event('input'))"
    )
    assert browser.run(NAMES) == ["moco-v2"]
    browser.run("box.value = ''; box.dispatchEvent(new Event('input'))")
    browser.run("document.getElementById('references').click()")
    assert browser.run(NAMES) == before[:4]
    browser.run("document.getElementById('heat').click()")
    hidden = "getComputedStyle(document.querySelector('.pair svg:last-child')).display"
    assert browser.run(hidden) == "none"
    assert browser.errors() == []


def test_a_key_press_sorts(browser, report):
    browser.open(report)
    browser.run("document.querySelector('#table-0 thead button').focus()")
    for kind in ("keyDown", "keyUp"):
        browser.send("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r",
                     windowsVirtualKeyCode=13)  # fmt: skip
    assert browser.run("document.querySelector('#table-0 thead th').ariaSort") == "ascending"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_seen_in_light_and_in_dark(browser, report, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.send("Emulation.setEmulatedMedia", features=features)
    browser.open(report)
    pixels = browser.screenshot()
    assert len(np.unique(pixels[::3, ::3].reshape(-1, 3), axis=0)) > 50
    background = pixels[5, 5].mean()
    assert background > 200 if scheme == "light" else background < 60
    inks = browser.run(
        "['body', 'svg.figure text', 'figcaption', 'td', 'th'].map(s => "
        "getComputedStyle(document.querySelector(s))[s.includes('svg') ? 'fill' : 'color'])"
    )
    for ink in inks:
        level = np.mean([float(x) for x in ink.removeprefix("rgb(").rstrip(")").split(",")[:3]])
        assert abs(level - background) > 90, (scheme, ink)
    browser.send("Emulation.setEmulatedMedia", features=[])


def test_it_is_complete_without_javascript(browser, report):
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(report)
        assert browser.errors() == []
        root = browser.send("DOM.getDocument")["root"]["nodeId"]

        def count(selector):
            return len(
                browser.send("DOM.querySelectorAll", nodeId=root, selector=selector)["nodeIds"]
            )

        assert count("#table-0 tbody tr:not([hidden])") == 6
        assert count("thead button") == 0  # nothing that would do nothing
        assert count("p.controls:not([hidden])") == 0
        assert count("svg.figure") >= 6
    finally:
        browser.send("Emulation.setScriptExecutionDisabled", value=False)


def test_a_narrow_window_scrolls_tables_and_not_the_page(browser, report):
    browser.send("Emulation.setDeviceMetricsOverride", width=420, height=800, deviceScaleFactor=1,
                 mobile=False)  # fmt: skip
    browser.open(report)
    assert browser.run("document.documentElement.scrollWidth") <= 420
    browser.send("Emulation.clearDeviceMetricsOverride")
