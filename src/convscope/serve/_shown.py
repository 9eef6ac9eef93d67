"""Results of methods as parts for the page: maps and images as numbers, everything else drawn."""

from __future__ import annotations

import base64
import io
import threading
from typing import Any

from convscope.attacks import AttackResult
from convscope.explanations import Explanation
from convscope.figures import draw
from convscope.serve._jobs import Job

DPI = 110
_drawing = threading.Lock()


def show(job: Job, result: Any, name: str) -> None:
    """Post what a method found, as one part.

    Args:
        job: Takes the part.
        result: Of any method of the registries.
        name: Of the method.
    """
    facts = facts_of(result)
    if isinstance(result, Explanation):
        job.post(
            "result", {"map": result.maps[0, 0]}, kind="map", name=name, signed=result.signed,
            explained=int(result.targets[0, 0]), layer=result.layer_label, facts=facts,
        )  # fmt: skip
    elif isinstance(result, AttackResult):
        before, after = result.logits_before[0], result.logits_after[0]
        job.post(
            "result",
            {
                "image": result.adversarials[0],
                "before": before.softmax(dim=0),
                "after": after.softmax(dim=0),
            },
            kind="attack", name=name, predicted=int(after.argmax()),
            success=bool(result.success[0]), saved=bool(result.success_quantized[0]),
            linf=float(result.distance("linf")[0]), l2=float(result.distance("l2")[0]),
            target=None if result.targets is None else int(result.targets[0]), facts=facts,
        )  # fmt: skip
    else:
        job.post("result", kind="figure", name=name, picture=_picture(result), facts=facts)


def facts_of(result: Any) -> list[str]:
    """What a reader must know of a result: flags, settings, cost; a line each."""
    found = [str(flag) for flag in getattr(result, "flags", ())]
    settings = getattr(result, "settings", None)
    if isinstance(settings, dict) and settings:
        found.append(", ".join(f"{k} {_plain(v)}" for k, v in settings.items() if _short(v)))
    cost = getattr(result, "cost", None)
    if cost is not None:
        found.append(
            f"{cost.forwards:,} images forwards, {cost.backwards:,} backwards, "
            f"{cost.seconds:.2f} seconds"
        )
    return [text for text in found if text]


def _short(value: Any) -> bool:
    return isinstance(value, bool | int | float | str) or value is None


def _plain(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _picture(result: Any) -> str:
    """The figure of a result as PNG in base64. Fonts of matplotlib are shared by all threads."""
    content = io.BytesIO()
    with _drawing:
        draw(result).savefig(content, format="png", dpi=DPI, bbox_inches="tight")
    return base64.b64encode(content.getvalue()).decode()
