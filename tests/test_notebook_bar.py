"""Long calls show how far they are below the cell of a notebook, and leave nothing behind."""

import sys
from types import SimpleNamespace

import pytest

from convscope import _notebook_bar
from convscope.progress import announce, at_step, watch, within_step


class Shell:
    """What the bar asks of IPython's shell, with the pages that it was shown."""

    def __init__(self):
        self.kernel, self.execution_count = object(), 1
        self.pages, self.places, self.ends = [], [], []
        self.events = SimpleNamespace(register=lambda name, call: self.ends.append(call))

    def get_ipython(self):
        return self

    def display(self, page, display_id):
        assert display_id is True
        self.places.append(self.execution_count)
        self.pages.append(page)
        return SimpleNamespace(update=self.pages.append)


@pytest.fixture
def shell(monkeypatch):
    made = Shell()
    monkeypatch.setitem(sys.modules, "IPython", made)
    monkeypatch.setitem(
        sys.modules, "IPython.display", SimpleNamespace(HTML=str, display=made.display)
    )
    made.now = 0.0
    monkeypatch.setattr(_notebook_bar.time, "monotonic", lambda: made.now)
    return made


def step(shell, number, of, seconds):
    at_step(number, of)
    shell.now += seconds
    within_step(1.0)


def test_a_long_call_shows_a_bar_that_goes_away(shell):
    for number in range(10):
        step(shell, number, 10, seconds=1.0)
    assert len(shell.pages) > 5 and shell.places == [1]
    assert 'value="0.500"' in "".join(shell.pages) and "50%" in "".join(shell.pages)
    assert "about 0:05 left" in "".join(shell.pages)
    assert shell.pages[-1] == ""


def test_what_runs_after_the_last_step_is_no_part_of_the_loop(shell):
    for number in range(4):
        step(shell, number, 4, seconds=1.0)
    shown = len(shell.pages)
    for share in (0.1, 0.2, 0.3, 0.4):  # A prediction, say, whose steps nobody counts.
        shell.now += 2.0
        within_step(share)
    assert len(shell.pages) == shown


def test_a_short_call_shows_nothing(shell):
    for number in range(10):
        step(shell, number, 10, seconds=0.1)
    assert shell.pages == []


def test_an_error_leaves_no_bar_and_no_step_behind(shell):
    for number in range(5):
        step(shell, number, 10, seconds=1.0)
    assert shell.pages[-1] != ""
    for end in shell.ends:
        end(None)
    assert shell.pages[-1] == ""
    shown = len(shell.pages)
    within_step(0.5)  # A call without steps: nobody knows how far it is.
    shell.now += 10
    within_step(0.9)
    assert len(shell.pages) == shown


def test_each_cell_has_its_own_bar(shell):
    for cell in (1, 2):
        shell.execution_count = cell
        for number in range(4):
            step(shell, number, 4, seconds=1.0)
    assert shell.places == [1, 2] and shell.pages[-1] == ""


def test_whoever_watches_hears_it_alone(shell):
    heard = []
    with watch(lambda share, what: heard.append(share)):
        for number in range(4):
            step(shell, number, 4, seconds=1.0)
    assert heard[-1] == 1.0 and shell.pages == []


def test_a_step_that_runs_the_network_twice_does_not_go_back(shell):
    for number in range(4):
        at_step(number, 4)
        for share in (0.5, 1.0, 0.5, 1.0):
            shell.now += 1.0
            within_step(share)
    shares = [float(page.split('value="')[1][:5]) for page in shell.pages if page]
    assert shares == sorted(shares) and shares[-1] > 0.8
    assert "about 0:02 left" in "".join(shell.pages)


def test_words_are_escaped(shell):
    announce(0.1, "<script>")
    shell.now += 5
    announce(0.5, "<script>")
    assert "&lt;script&gt;: 50%" in shell.pages[-1] and "<script>" not in shell.pages[-1]


def test_no_bar_without_a_kernel(shell):
    shell.kernel = None
    for number in range(4):
        step(shell, number, 4, seconds=1.0)
    assert shell.pages == []


@pytest.mark.parametrize("broken", ["display", "get_ipython"])
def test_a_bar_that_cannot_be_shown_ends_no_call(shell, monkeypatch, broken):
    def fail(*_, **__):
        raise OSError("the socket is closed")

    if broken == "display":
        monkeypatch.setattr(sys.modules["IPython.display"], "display", fail)
    else:
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace())
    for number in range(10):
        step(shell, number, 10, seconds=1.0)
    assert shell.pages == []


@pytest.mark.slow
def test_in_a_real_notebook():
    nbformat = pytest.importorskip("nbformat", reason="needs the dev extra")
    nbclient = pytest.importorskip("nbclient", reason="needs the dev extra")
    cells = [
        "import time\nfrom convscope.progress import at_step, within_step\n"
        "for number in range(6):\n    at_step(number, 6)\n    time.sleep(0.5)\n"
        "    within_step(1.0)\n    if number == stop: raise ValueError",
    ]
    for stop, last in ((-1, ""), (4, "")):
        book = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(f"stop = {stop}\n{cell}") for cell in cells]
        )
        shown = []
        client = nbclient.NotebookClient(
            book, timeout=120, kernel_name="python3", allow_errors=True,
            on_cell_executed=lambda **_: None,
        )  # fmt: skip
        heard = client.process_message

        def listen(message, *rest, heard=heard, shown=shown):
            if message["msg_type"] in ("display_data", "update_display_data"):
                shown.append(message["content"]["data"]["text/html"])
            return heard(message, *rest)

        client.process_message = listen
        client.execute()
        assert any("<progress" in page and "left" in page for page in shown)
        assert shown[-1] == last
