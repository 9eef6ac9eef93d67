"""What a study is: its record, its questions, and what a question may use.

A study answers one course document. It is a package whose functions are read from top to bottom
like a lab notebook: each answers one question of the document, in the document's order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from convscope._registry import Spec
from convscope.errors import ResourceError
from convscope.files import ENVIRONMENT, Kind, read_bytes, read_json_table
from convscope.studies._digests import LEARNING, code_digest, digest_of
from convscope.studies._documents import DOCUMENTS, Document

if TYPE_CHECKING:
    from torch import Generator

    from convscope.classifier import Classifier
    from convscope.data import Dataset
    from convscope.studies._question import Question
    from convscope.training import TrainResult

T = TypeVar("T")

INPUT = Kind(what="an input of a study", largest=1 << 34)


@dataclass(frozen=True)
class StudySpec(Spec):
    """What `STUDIES` knows of a study.

    Attributes:
        home: ``"_package:CONTENT"``, a `StudyContent`.
        about: One line on what it does.
        title: Heading of its page.
        document: Key of the document in `DOCUMENTS`.
        data: Names of the data sets that it opens: with ``--fast``, and in full.
        minutes: What to expect: with ``--fast`` on two free cores; in full on one core of an AMD
            EPYC beside other jobs, as measured (``docs/results.md``).
    """

    title: str = field(default="", kw_only=True)
    document: str = field(default="", kw_only=True)
    data: tuple[str, str] = field(default=("digits", "digits"), kw_only=True)
    minutes: tuple[float, float] = field(default=(1, 1), kw_only=True)

    @property
    def cited(self) -> Document:
        """The document."""
        return DOCUMENTS[self.document]


@dataclass(frozen=True, kw_only=True)
class QuestionSpec:
    """One question of a document and the function that answers it.

    Attributes:
        name: Lower-case words with hyphens: the address on the page and the beginning of the names
            of its files.
        number: As the document counts it, such as ``"Problem 4 Part 2"`` (`Document.number`); with
            a second number where a row has several questions; empty where it counts nothing.
        title: As the document names it.
        answer: Called with the `Study` and the `Question` to fill.
        rows: Keys of the rows that it answers, such as ``"002.3"``.
        lead: A sentence or two: what is asked, and how to read what follows.
        minutes: With ``--fast``, and in full; the bar of progress goes by them.
        snippet: A function whose body is the Python that makes it, in ten lines: shown on the
            page, and a cell of the notebook. See `convscope.studies._snippets`.
        left_out: What the page has and the snippet does not make, such as ``"adversarial
            training"``; said beside the code. All numbers that it does make are those of the page.
    """

    name: str
    number: str
    title: str
    answer: Callable[[Study, Question], None]
    rows: tuple[str, ...] = ()
    lead: str = ""
    minutes: tuple[float, float] = (0.1, 0.5)
    snippet: Callable[..., Any] | None = None
    left_out: str = ""

    @property
    def heading(self) -> str:
        """Number and title."""
        return f"{self.number} {self.title}".strip()

    @property
    def cell(self) -> str:
        """What the snippet makes of the page."""
        return "as on this page" + (f", without {self.left_out}" if self.left_out else "")


@dataclass(frozen=True, kw_only=True)
class StudyContent:
    """What a study consists of.

    Attributes:
        questions: In the document's order.
        setup: A function whose body is the first cell of the notebook: it opens the data and makes
            the networks that the snippets of the questions take as parameters.
        materials: What questions need besides the data set of the study: functions that raise if it
            is not on this machine. They are called before hours of work.
        network: The document's own network: what ``--playable`` puts into the page. Where a
            document has several, the one that most of its questions are about.
    """

    questions: tuple[QuestionSpec, ...]
    setup: Callable[..., Any]
    network: Callable[[Study], Classifier]
    materials: tuple[Callable[[Study], object], ...] = ()


@dataclass
class Study:
    """A study in progress: what its questions may use.

    Attributes:
        name: In `STUDIES`.
        spec: Its record.
        out: Its folder.
        fast: Small data and budgets.
        seed: Of every random choice.
        data_dir: Folder that holds the data files.
        offline: Never download.
        accept_modified: Go on with data files whose checksum is not the known one.
        device: Where networks are trained and run, as `convscope.devices.resolve_device` gives it.
        used: Inputs that were opened so far, and a digest of each.
        earlier_seconds: What the networks that were taken from earlier runs took to train then.
    """

    name: str
    spec: StudySpec
    out: Path
    fast: bool = True
    seed: int = 0
    data_dir: Path | None = None
    offline: bool = False
    accept_modified: bool = False
    device: str = "cpu"
    used: dict[str, str] = field(default_factory=dict)
    earlier_seconds: float = 0.0
    _opened: dict[str, Any] = field(default_factory=dict, repr=False)

    def pick(self, fast: T, full: T) -> T:
        """`fast` with ``--fast``, else `full`: budgets of a question."""
        return fast if self.fast else full

    @property
    def data(self) -> str:
        """The data set of the study."""
        return self.spec.data[0 if self.fast else 1]

    def dataset(self, name: str = "") -> Dataset:
        """A data set, opened once; its files become an input of the question.

        Args:
            name: As for `convscope.data.open_dataset`; by default that of the study.
        """
        name = name or self.data
        key = f"data {name}"
        if key not in self._opened:
            from convscope.data import open_dataset

            try:
                self._opened[key] = open_dataset(
                    name,
                    data_dir=self.data_dir,
                    offline=self.offline,
                    accept_modified=self.accept_modified,
                )
            except ResourceError as error:
                # A study has its own data: what may be named in their place elsewhere is not here.
                ways, cut, last = error.hint.rpartition("; or ")
                if cut and last.endswith("needs no files"):
                    error.hint = ways if self.fast else f"{ways}; or --fast, which needs no files"
                raise
        found: Dataset = self._opened[key]
        self.used[key] = digest_of(found.hashes)
        return found

    def file(self, path: Path) -> Path:
        """A file that a question reads: what is in it becomes an input of the question."""
        key = f"file {path}"
        if key not in self._opened:
            self._opened[key] = hashlib.sha256(read_bytes(path, INPUT)).hexdigest()
        self.used[key] = self._opened[key]
        return path

    def digest_now(self, key: str) -> str:
        """The digest of an input as it is now, by its key in `used`.

        Raises:
            ConvscopeError: If it cannot be opened any more.
        """
        kind, _, name = key.partition(" ")
        if kind == "data":
            self.dataset(name)
        else:
            self.file(Path(name))
        return self.used[key]

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What several questions of one run share and is no network: made by the first that asks.

        It is not kept in the folder. Inputs that were opened to make it become inputs of every
        question that gets it.

        Args:
            name: Of the thing within the study.
            make: Makes it.
        """
        key = f"once {name}"
        if key not in self._opened:
            before, self.used = self.used, {}
            self._opened[key] = (make(), self.used)
            self.used = before
        made, inputs = self._opened[key]
        self.used.update(inputs)
        thing: T = made
        return thing

    def trained(
        self,
        model: str,
        *,
        preset: str = "paper",
        data: str = "",
        seed: int | None = None,
        **overrides: Any,
    ) -> TrainResult:
        """A network trained with a recipe: once for all questions, and resumed after a kill.

        Args:
            model: Name of the network.
            preset: Name of the recipe.
            data: Name of the data set; by default that of the study.
            seed: By default that of the study.
            overrides: Fields of `TrainSettings` that differ from the recipe.
        """
        from convscope.progress import announce
        from convscope.training import Event, Measured, Started, Stepped, recipe, train

        settings = recipe(
            model,
            data=data or self.data,
            preset=preset,
            seed=self.seed if seed is None else seed,
            overrides={"device": self.device, **overrides},
        )
        dataset = self.dataset(data)
        digest = digest_of(
            {"settings": settings, "data": dataset.hashes, "code": code_digest(*LEARNING)}
        )
        if digest in self._opened:
            made: TrainResult = self._opened[digest]
            return made
        steps = 1

        def on_event(event: Event) -> None:
            nonlocal steps
            if isinstance(event, Started):
                steps = max(event.steps, 1)
            elif isinstance(event, Stepped):
                announce(event.step / steps, f"training {model}, seed {settings.seed}")
            elif isinstance(event, Measured):
                words = f"training {model}, seed {settings.seed}"
                if event.validation_images:
                    words = f"training {model}, validation accuracy {event.validation_accuracy:.2%}"
                announce(event.step / steps, words)

        folder = self.out / "runs" / f"{model}-{preset}-{settings.seed}-{digest[:8]}"
        run = train(settings, dataset, out=folder, resume=True, on_event=on_event)
        run.classifier.module.to(self.device)
        sessions = read_json_table(folder / "env.json", ENVIRONMENT).get("sessions", [])
        recorded = sum(float(session.get("seconds", 0.0)) for session in sessions)
        self.earlier_seconds += max(0.0, recorded - run.seconds)
        self._opened[digest] = run
        return run

    def network(self, model: str, **more: Any) -> Classifier:
        """The classifier of `trained`."""
        return self.trained(model, **more).classifier

    def each(self, items: Sequence[T]) -> Iterator[T]:
        """Go over parts of a question that take about the same time, such as seeds to train with.

        What a part says of its progress is heard as its share of the question's.
        """
        from convscope.progress import stage

        for done, item in enumerate(items):
            with stage(done / len(items), (done + 1) / len(items)):
                yield item

    def generator(self, purpose: int = 0) -> Generator:
        """A stream of random numbers for each purpose of a question."""
        import torch

        return torch.Generator().manual_seed(self.seed * 1009 + purpose)
