"""JavaScript for the tests: by node, or by a browser of this machine, or not at all."""

import html
import json
import re
import shutil
import subprocess
import sys

import pytest
import torch

from convscope.data import open_dataset
from convscope.models import load
from convscope.playground._export import describe
from convscope.playground._quantize import pack, store
from convscope.playground._trace import trace
from convscope.reports import find_browser, linked_scripts

from .reader import DONE, write_page

WHOLE_PAGE = """<!doctype html><meta charset="utf-8"><pre id="out"></pre>
<script type="application/json" id="payload">{payload}</script>
<script>{script}
main(JSON.parse(document.getElementById("payload").textContent)).then(
  (found) => {{ document.getElementById("out").textContent = "found:" + JSON.stringify(found); }},
  (error) => {{ document.getElementById("out").textContent = "failed:" + error.stack; }});
</script>"""

WHOLE_PROGRAM = """{script}
const payload = JSON.parse(require("node:fs").readFileSync(0, "utf-8"));
main(payload).then((found) => process.stdout.write(JSON.stringify(found)));
"""


class JavaScript:
    """Runs ``async function main(payload)`` beside modules of the playground."""

    def __init__(self, node, browser, folder):
        self.node, self.browser, self.folder = node, browser, folder

    def __call__(self, modules, main, payload):
        script = linked_scripts(modules) + main
        return self._node(script, payload) if self.node else self._page(script, payload)

    def _node(self, script, payload):
        file = self.folder / "program.cjs"
        file.write_text(WHOLE_PROGRAM.format(script=script), encoding="utf-8")
        done = subprocess.run(
            [self.node, str(file)], input=json.dumps(payload), capture_output=True, text=True,
            timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout)

    def _page(self, script, payload):
        file = self.folder / "page.html"
        text = json.dumps(payload).replace("<", "\\u003c")
        file.write_text(WHOLE_PAGE.format(script=script, payload=text), encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=60000"]
        profile = f"--user-data-dir={self.folder / 'profile'}"
        done = subprocess.run(
            [self.browser, *options, profile, "--dump-dom", file.as_uri()],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        found = re.search(r'<pre id="out">(found|failed):(.*?)</pre>', done.stdout, re.DOTALL)
        assert found, done.stderr[-2000:]
        assert found[1] == "found", html.unescape(found[2])
        return json.loads(html.unescape(found[2]))


@pytest.fixture(scope="session")
def javascript(tmp_path_factory):
    """A way to run JavaScript, if this machine has one."""
    node, browser = shutil.which("node"), find_browser()
    if sys.platform == "win32" and not node:
        browser = None  # --dump-dom writes nothing there
    if not node and not browser:
        pytest.skip("needs node, or Chromium, to run JavaScript")
    return JavaScript(node, browser, tmp_path_factory.mktemp("javascript"))


@pytest.fixture(scope="session")
def digits():
    classifier = load("mnist-conv2")
    test = open_dataset("digits").test
    return classifier, test.to_float(torch.arange(8)), test.labels[:8].tolist()


@pytest.fixture(scope="session")
def page(digits, tmp_path_factory):
    """The address of a page with a small network."""
    return write_page(tmp_path_factory.mktemp("page"), *digits).path.as_uri()


@pytest.fixture
def opened(browser, page):
    browser.resize(1280, 900)
    browser.media()
    browser.open(page)
    browser.until(DONE)
    yield browser
    assert browser.complaints() == []
    assert browser.requests() == []


def whole(classifier):
    """Graph and weights with all their bits."""
    nodes = trace(classifier).nodes
    found = [(n, key, t) for n in nodes for key, t in n.tensors.items() if t is not None]
    stored = [store(tensor, 32) for _, _, tensor in found]
    return nodes, describe(classifier, nodes, found, stored), pack(stored)
