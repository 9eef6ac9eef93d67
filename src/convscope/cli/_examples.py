"""Examples that stand at the end of each command's help; the test suite parses every one."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "doctor": ("convscope doctor",),
    "demo": ("convscope demo", "convscope demo --out runs/first"),
    "data": (
        "convscope data list",
        "convscope data get mnist",
        "convscope data verify mnist --data-dir ~/data",
    ),
    "models": ("convscope models list", "convscope models show mnist-conv2-fc"),
    "train": (
        "convscope train mnist-conv2-fc-bn --data digits --out runs/digits",
        "convscope train mnist-conv2-fc-bn --data mnist --data-dir ~/data --preset long --seed 1",
        "convscope train --resume --out runs/digits",
        "convscope train mnist-conv1 --data folder:photos --epochs 20 --learning-rate 0.003",
    ),
    "eval": (
        "convscope eval runs/digits --data digits",
        "convscope eval runs/digits --data digits --json --fail-under accuracy=0.98",
        "convscope eval hf:mobilenet --data folder:photos --split all",
    ),
    "inspect": (
        "convscope inspect runs/digits digits:test/7 --show saliency,occlusion --out look",
        "convscope inspect runs/digits digits:test/0-3 --targets all --out look.html",
        'convscope inspect runs/digits "digits:test?class=7/0-4" --show occlusion',
        "convscope inspect runs/digits --units pool2:0-9 --at center --out neurons",
        "convscope inspect runs/digits --units logits --recipe gaussian-gradient --out classes",
        "convscope inspect runs/digits --trust --data digits",
        "convscope inspect hf:mobilenet --trust --data pets --show grad-cam,occlusion",
    ),
    "attack": (
        "convscope attack projected-gradient runs/digits digits:test/0-99 --epsilon 0.1",
        "convscope attack until-fooled runs/digits digits:test/7 --target 3 --out fooled.html",
        "convscope attack until-fooled runs/digits digits:test/7 --target all --out all.html",
        "convscope attack evaluate runs/digits --data digits --epsilon 0.1 --effort quick",
        "convscope attack transfer mnist-conv1 mnist-conv2 --data digits --epsilon 0.1",
    ),
    "audit": (
        "convscope audit runs/digits --data digits --out report.html",
        "convscope audit runs/digits --data digits --fail-under accuracy=0.98",
    ),
    "report": (
        "convscope report report",
        "convscope report report --out again.html --pdf",
    ),
    "scratch": ("convscope scratch check", "convscope scratch train --data digits"),
    "adder": ("convscope adder 100111 110010",),
}


def epilogue(command: str) -> str:
    """The examples of `command` as a paragraph of its help page."""
    lines = "\n".join(f"    {line}" for line in EXAMPLES[command])
    return f"Examples:\n\n{lines}"
