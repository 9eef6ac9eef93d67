"""Some 190 architectures against plain torch: logits, gradients, Grad-CAM, traces.

    python benchmarks/architectures.py [--only NAME,NAME] [--seconds 120]

Weights are random, images 96 x 96, or what the network insists on, two at a time. Parameters that
are initialized to (nearly) zero, such as layer scale, the last normalization of a residual block
and the heads of transformers, are set to random numbers, or whole branches would not matter.
Each architecture has a process of its own. `wrong` counts what nobody may meet: numbers that
differ from plain torch, a trace left in the network, a layer to look at by default that is no map
of the image. `branch` says that the layer is not the last thing before pooling.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import importlib.util
import json
import multiprocessing
import sys
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from record import record
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

CONVNETS = """
timm: byobnet=mobileone_s1,repvgg_a0,gernet_s,resnext26ts
byobnet=seresnet33ts,lamhalobotnet50ts_256 convmixer=convmixer_768_32
convnext=convnext_atto,convnextv2_atto,convnext_tiny convnext=test_convnext
cspnet=cs3darknet_s,cspresnet50,cspdarknet53 cspnext=cspnext_tiny densenet=densenet121
dla=dla46_c,dla46x_c,dla34,dla60_res2net dpn=dpn48b,dpn68 edgenext=edgenext_xx_small
efficientnet=mobilenetv2_050,mnasnet_small,efficientnet_b0
efficientnet=efficientnet_lite0,mixnet_s,fbnetc_100
efficientnet=tf_efficientnet_b0,spnasnet_100,tinynet_e
efficientnet=efficientnetv2_rw_t,mobilenet_edgetpu_v2_xs fasternet=fasternet_t0 fastvit=fastvit_t8
focalnet=focalnet_tiny_srf ghostnet=ghostnet_050,ghostnetv2_100 hardcorenas=hardcorenas_a
hgnet=hgnetv2_b0 hrnet=hrnet_w18_small,hrnet_w18_small_v2 inception_next=inception_next_atto
inception_resnet_v2=inception_resnet_v2 inception_v3=inception_v3 inception_v4=inception_v4
lcnetv2=lcnetv2_base mobilenetv3=mobilenetv3_small_050,mobilenetv3_large_100
mobilenetv3=lcnet_050,mobilenetv4_conv_small_035 nasnet=nasnetalarge
nfnet=dm_nfnet_f0,nfnet_l0,test_nfnet,nf_regnet_b0 pnasnet=pnasnet5large rdnet=rdnet_tiny
regnet=regnetx_002,regnety_002,regnetz_005 repghost=repghostnet_050 repvit=repvit_m0_9
res2net=res2net50_14w_8s,res2next50 resnest=resnest14d,resnest26d
resnet=resnet10t,resnet18,resnet50,resnet26t,ecaresnet26t
resnet=seresnet18,resnetaa34d,resnext50_32x4d,test_resnet resnetv2=resnetv2_18,resnetv2_50
rexnet=rexnet_100,rexnetr_100 selecsls=selecsls42 senet=legacy_seresnet18
sknet=skresnet18,skresnet34 starnet=starnet_s1,starnet_s050 tresnet=tresnet_m vgg=vgg11,vgg11_bn
vovnet=ese_vovnet19b_slim,vovnet39a xception=legacy_xception
xception_aligned=xception41,xception41p metaformer=poolformer_s12,poolformerv2_s12,convformer_s18
torchvision: alexnet convnext_tiny densenet121 efficientnet_b0 efficientnet_v2_s googlenet
inception_v3 mnasnet0_5 mobilenet_v2 mobilenet_v3_large mobilenet_v3_small regnet_x_400mf
regnet_y_400mf resnet18 resnet34 resnet50 resnext50_32x4d shufflenet_v2_x0_5 shufflenet_v2_x1_0
squeezenet1_0 squeezenet1_1 vgg11 vgg11_bn vgg16 wide_resnet50_2
"""
"""Networks whose last block gives maps: a layer to look at must be found, and be that block's."""

OTHERS = """
timm: beit=beit_base_patch16_224 csatv2=csatv2 mambaout=mambaout_femto
byoanet=eca_botnext26ts_256,lambda_resnet26t,halonet26t cait=cait_xxs24_224
coat=coat_tiny,coat_lite_tiny convit=convit_tiny cpubone=cpubone_nano crossvit=crossvit_tiny_240
davit=davit_tiny deit=deit_tiny_patch16_224,deit_tiny_distilled_patch16_224
efficientformer=efficientformer_l1 efficientformer_v2=efficientformerv2_s0
efficientvim=efficientvim_m1 efficientvit_mit=efficientvit_b0 efficientvit_msra=efficientvit_m0
eva=eva02_tiny_patch14_224 gcvit=gcvit_xxtiny hiera=hiera_tiny_224 iformer=iformer_t
levit=levit_128s,levit_conv_128s lowformer=lowformer_b0
maxxvit=coatnet_nano_rw_224,maxvit_tiny_tf_224
maxxvit=coatnext_nano_rw_224,maxxvit_rmlp_nano_rw_256
maxxvit=maxvit_rmlp_pico_rw_256,coatnet_pico_rw_224,test_vit
metaformer=caformer_s18,poolformer_m36 mlp_mixer=mixer_s32_224,resmlp_12_224,gmlp_ti16_224
mobilevit=mobilevit_xxs,mobilevitv2_050 mvitv2=mvitv2_tiny nest=nest_tiny nextvit=nextvit_small
pit=pit_ti_224,pit_ti_distilled_224 pvt_v2=pvt_v2_b0 sequencer=sequencer2d_s shvit=shvit_s1
swiftformer=swiftformer_xs swin_transformer=swin_tiny_patch4_window7_224
swin_transformer_v2=swinv2_tiny_window8_256 swin_transformer_v2_cr=swinv2_cr_tiny_ns_224
tiny_vit=tiny_vit_5m_224 tnt=tnt_s_legacy_patch16_224 twins=twins_pcpvt_small,twins_svt_small
visformer=visformer_tiny vision_transformer=vit_tiny_patch16_224
vision_transformer=vit_small_patch32_224 vision_transformer=vit_base_patch32_224
vision_transformer=vit_tiny_r_s16_p8_224 vision_transformer_relpos=vit_relpos_small_patch16_224
vitamin=vitamin_small_224 volo=volo_d1_224 xcit=xcit_nano_12_p16_224,xcit_tiny_12_p8_224
torchvision: maxvit_t swin_t swin_v2_t vit_b_16 vit_b_32
"""
"""Networks with attention or token mixing: a map of the image, or a refusal."""

TOLERANCE = 2e-5


def names_of(text: str) -> list[tuple[str, str]]:
    """Pairs (library, name)."""
    found, library = [], ""
    for word in text.split():
        if word.endswith(":"):
            library = word[:-1]
        else:
            found += [(library, name) for name in word.partition("=")[2].split(",") if name]
            found += [] if "=" in word else [(library, word)]
    return found


def make(library: str, name: str) -> nn.Module:
    """The network with random weights, all of which matter."""
    torch.manual_seed(0)
    if library == "timm":
        import timm

        module: nn.Module = timm.create_model(name, num_classes=20)
    else:
        import torchvision

        extra = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}
        module = torchvision.models.get_model(name, weights=None, num_classes=20, **extra)
    with torch.no_grad():
        for key, value in module.named_parameters():
            if value.numel() and float(value.abs().max()) < 1e-3:
                if value.ndim > 1 or key.endswith("bias"):
                    value.normal_(0, 0.02)
                else:
                    value.uniform_(0.5, 1)
    return module


def size_of(module: nn.Module) -> int:
    """96 pixels if the network takes them, else 224 or what its configuration asks for.

    Networks made for more than 256 pixels get 160: their last maps would be a single place.
    """
    usual = 299 if type(module).__name__ == "Inception3" else 224
    asked = getattr(module, "default_cfg", {}).get("input_size", (3, usual, usual))[-1]
    trial = copy.deepcopy(module).eval()
    for size in (96 if asked <= 256 else 160, 224, asked):
        with torch.no_grad(), contextlib.suppress(Exception):
            trial(torch.rand(1, 3, size, size))
            return int(size)
    raise ValueError("takes no square image")


class LastMap(TorchFunctionMode):
    """Finds what is pooled (or flattened) last: the maps that the head of a convnet starts from."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in ("adaptive_avg_pool2d", "mean", "avg_pool2d", "flatten", "adaptive_max_pool2d"):
            given = args[0] if args else None
            if isinstance(given, Tensor) and isinstance(out, Tensor) and given.ndim == 4:
                many = given.shape[2] * given.shape[3]
                one = out.ndim < 4 or out.shape[2] * out.shape[3] <= 1
                if many > 1 and one and given.grad_fn is not None:
                    given.retain_grad()
                    self.found = given
        return out


def cam(maps: Tensor, gradient: Tensor) -> Tensor:
    """Grad-CAM as its paper has it, without the ReLU."""
    return (gradient.mean(dim=(2, 3), keepdim=True) * maps).sum(dim=1).detach()


def placed(output: Tensor, rows: int, columns: int) -> Tensor:
    """A layer's output as maps of so many rows and columns, by nothing but its shape.

    Tokens before the places are left out; whether they are places is tried by `places`.
    """
    if output.ndim == 3:
        tokens = output[:, output.shape[1] - rows * columns :].transpose(1, 2)
        return tokens.reshape(len(output), -1, rows, columns)
    if output.shape[2:] != (rows, columns) and output.shape[1:3] == (rows, columns):
        return output.permute(0, 3, 1, 2)
    return output


def cam_by_hand(
    twin: nn.Module, images: Tensor, layer: str, target: int, shape: tuple[int, int]
) -> Tensor:
    """Grad-CAM by one hook and plain autograd."""
    path, _, number = layer.partition("#")
    kept: list[Tensor] = []
    calls = Counter[str]()

    def hook(module: nn.Module, inputs: object, output: Tensor) -> Tensor | None:
        calls["all"] += 1
        if number and calls["all"] != int(number) + 1:
            return None
        kept.append(output.detach().clone().requires_grad_(True))
        return kept[-1].clone()

    handle = twin.get_submodule(path).register_forward_hook(hook)
    try:
        (gradient,) = torch.autograd.grad(twin(images)[:, target].sum(), kept[-1:] or images)
    finally:
        handle.remove()
    return cam(placed(kept[-1], *shape), placed(gradient, *shape))


def relative(found: Tensor, expected: Tensor) -> float:
    """Largest difference as a share of the largest number."""
    found, expected = found.detach().double(), expected.detach().double()
    return float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30))


def like(one: Tensor, two: Tensor) -> float:
    """Correlation of two batches of maps; those of other size do not correlate."""
    if one.shape != two.shape:
        return 0.0
    one, two = one.flatten(1).double(), two.flatten(1).double()
    pairs = map(torch.stack, zip(one, two, strict=True))
    return min(float(torch.corrcoef(pair)[0, 1]) for pair in pairs)


def snapshot(module: nn.Module) -> Any:
    """Everything of a network that a method might change."""
    state = {k: v.clone() for k, v in module.state_dict().items() if isinstance(v, Tensor)}
    inside = [
        (path, child.training, sorted(vars(child)), len(child._forward_hooks),
         len(child._forward_pre_hooks), len(child._backward_hooks),
         [(n, id(v)) for n, v in vars(child).items() if not n.startswith("_")])
        for path, child in module.named_modules()
    ]  # fmt: skip
    rest = [(n, id(p), p.requires_grad, p.grad is None) for n, p in module.named_parameters()]
    return state, inside, rest


def same(one: Any, two: Any) -> bool:
    """Whether two snapshots are equal, weights bit for bit."""
    return one[1:] == two[1:] and one[0].keys() == two[0].keys() and all(
        torch.equal(one[0][key], two[0][key]) for key in one[0]
    )  # fmt: skip


def judge(library: str, name: str, convnet: bool) -> dict[str, Any]:
    """One architecture: figures, and the list of what is wrong with them."""
    from convscope.attacks import pgd
    from convscope.classifier import Classifier
    from convscope.errors import ConvscopeError
    from convscope.explanations import grad_cam, occlusion

    torch.set_num_threads(1)
    module = make(library, name)
    size = size_of(module)
    twin = copy.deepcopy(module).eval()
    before = snapshot(module)
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, 3, size, size, generator=generator)
    wrong: list[str] = []
    row: dict[str, Any] = {"size": size, "wrong": wrong}
    start = time.perf_counter()
    try:
        classifier = Classifier.wrap(module, input_shape=(3, size, size))
    except ConvscopeError as error:
        row["refused"] = f"{error.code} {error}".splitlines()[0]
        return row
    row["wrap_seconds"] = round(time.perf_counter() - start, 2)
    row["execution"] = classifier.describe()["execution"]
    row["flags"] = [flag for flag in classifier.flags if flag != "train-mode"]
    row["parameters"] = sum(p.numel() for p in module.parameters())

    x = images.clone().requires_grad_(True)
    with LastMap() as last:
        expected = twin(x)
    weights = torch.randn(expected.shape, generator=generator)
    (gradient,) = torch.autograd.grad((expected * weights).sum(), x, retain_graph=True)
    reference = None
    if last.found is not None:
        (behind,) = torch.autograd.grad(
            expected[:, 1].sum(), last.found, retain_graph=True, allow_unused=True
        )
        reference = None if behind is None else cam(last.found, behind)
    start = time.perf_counter()
    with classifier.probe() as probe:
        row["open_milliseconds"] = round(1000 * (time.perf_counter() - start), 1)
        logits = probe.logits(images)
        found = probe.gradient(images, lambda x, out, rows: (out * weights[rows]).sum(dim=1))
    row["logit_error"] = relative(logits, expected)
    row["gradient_error"] = relative(found.gradients, gradient)
    # Where rounding alone makes that much, plain torch is as far from float64.
    if max(row["logit_error"], row["gradient_error"]) > TOLERANCE:
        row.update(against_double(twin, images, weights, expected, gradient))
    for what in ("logit", "gradient"):
        noise = row.get(f"{what}_rounding", 0.0)
        if row[f"{what}_error"] > max(TOLERANCE, 4 * noise):
            wrong.append(f"{what}s differ from plain torch by {row[f'{what}_error']:.1e}")

    attack = pgd(classifier, images, [0, 1], epsilon=8 / 255, steps=2)
    if not bool(attack.adversarials.isfinite().all()):
        wrong.append("PGD gave no numbers")
    hidden = occlusion(classifier, images, 1, window=size // 2, stride=size // 2)
    with torch.no_grad():
        patched = images.clone()
        patched[:, :, : size // 2, : size // 2] = images.mean(dim=(2, 3), keepdim=True)
        plain = expected[:, 1] - twin(patched)[:, 1]
    row["occlusion_error"] = relative(
        hidden.maps[:, 0, 0, 0] + expected[:, 1], plain + expected[:, 1]
    )
    if row["occlusion_error"] > max(10 * TOLERANCE, 8 * row.get("logit_rounding", 0.0)):
        wrong.append("occlusion differs from plain torch")
    try:
        start = time.perf_counter()
        seen = grad_cam(classifier, images, 1)
    except ConvscopeError as error:
        row["layer"] = None
        row["layer_refused"] = f"{error.code} {error}".splitlines()[0]
    else:
        row["cam_seconds"] = round(time.perf_counter() - start, 2)
        row.update(judge_layer(classifier, twin, images, seen, reference, wrong))
    if not same(before, snapshot(module)):
        wrong.append("the network was changed")
    if convnet and row["layer"] is None:
        row["missing"] = True
    return row


def against_double(
    twin: nn.Module, images: Tensor, weights: Tensor, expected: Tensor, gradient: Tensor
) -> dict[str, float]:
    """How far plain float32 is from float64."""
    try:
        exact = copy.deepcopy(twin).double()
        y = images.double().requires_grad_(True)
        out = exact(y)
        (truth,) = torch.autograd.grad((out * weights.double()).sum(), y)
    except (RuntimeError, TypeError):
        return {}
    return {
        "logit_rounding": relative(expected, out),
        "gradient_rounding": relative(gradient, truth),
    }


def judge_layer(
    classifier: Any, twin: nn.Module, images: Tensor, seen: Any, reference: Tensor | None,
    wrong: list[str],
) -> dict[str, Any]:  # fmt: skip
    """Where Grad-CAM looks by default, and whether that is a place."""
    coarse = seen.evidence["coarse"][:, 0]
    with classifier.probe() as probe:
        layers = [info.name for info in probe.layers()]
        layout = probe.maps().layouts[seen.layer]
    shape = (coarse.shape[1], coarse.shape[2])
    row: dict[str, Any] = {
        "layer": seen.layer,
        "layout": layout,
        "map": list(coarse.shape[1:]),
        "depth": round((layers.index(seen.layer) + 1) / len(layers), 3),
        "cam_error": relative(coarse, cam_by_hand(twin, images, seen.layer, 1, shape)),
    }
    if reference is not None:
        row["like_last_map"] = round(like(coarse, reference), 4)
    if row["cam_error"] > 1e-5:
        hand = cam_by_hand(copy.deepcopy(twin).double(), images.double(), seen.layer, 1, shape)
        row["cam_rounding"] = relative(cam_by_hand(twin, images, seen.layer, 1, shape), hand)
        if row["cam_error"] > 4 * row["cam_rounding"]:
            wrong.append(f"Grad-CAM differs from one by hand by {row['cam_error']:.1e}")
    # What a convnet pools is its map; others have to show that theirs is one.
    if row.get("like_last_map", 0) > 0.99:
        return row
    row["places"] = places(twin, seen.layer, images, shape)
    if row["places"] < 0.75:
        wrong.append("the layer's axes are no rows and columns")
    return row


def places(twin: nn.Module, layer: str, images: Tensor, shape: tuple[int, int]) -> float:
    """Whether the last two axes of a layer are rows and columns, by trying.

    A patch in a corner of the image changes the layer. The middle of that change must lie higher
    for an upper corner than for a lower one, and further left for a left one than for a right
    one: the share of these four comparisons that come out so.
    """
    path, _, number = layer.partition("#")
    outputs: list[Tensor] = []

    def hook(module: nn.Module, inputs: object, output: Tensor) -> None:
        outputs.append(placed(output.detach().clone(), *shape))

    handle = twin.get_submodule(path).register_forward_hook(hook)

    def at(batch: Tensor) -> Tensor:
        outputs.clear()
        with torch.no_grad():
            twin(batch)
        return outputs[int(number) if number else -1]

    side = images.shape[-1] // 3
    edges = (slice(0, side), slice(-side, None))
    middle = {}
    try:
        clean = at(images)
        for top, rows in enumerate(edges):
            for left, columns in enumerate(edges):
                patched = images.clone()
                patched[:, :, rows, columns] = 1 - patched[:, :, rows, columns]
                change = (at(patched) - clean).double().square().sum(dim=(0, 1))
                share = change / change.sum().clamp_min(1e-300)
                y, x = (torch.arange(n, dtype=torch.float64) for n in share.shape)
                middle[top, left] = (float(share.sum(1) @ y), float(share.sum(0) @ x))
    finally:
        handle.remove()
    tests = [
        *(clean.shape[2] == 1 or middle[0, left][0] < middle[1, left][0] for left in (0, 1)),
        *(clean.shape[3] == 1 or middle[top, 0][1] < middle[top, 1][1] for top in (0, 1)),
    ]
    return sum(tests) / len(tests)


def child(library: str, name: str, convnet: bool, out: Any) -> None:
    """Judge in a process of its own and send what came."""
    warnings.simplefilter("ignore")
    try:
        out.send(judge(library, name, convnet))
    except Exception as error:
        out.send({"failed": f"{type(error).__name__}: {error}".splitlines()[0][:300], "wrong": []})


def run(library: str, name: str, convnet: bool, seconds: float) -> dict[str, Any]:
    """The figures of one architecture, or that it took too long."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    worker = multiprocessing.Process(target=child, args=(library, name, convnet, theirs))
    worker.start()
    theirs.close()
    try:
        if ours.poll(seconds):
            return dict(ours.recv())
        return {"failed": f"took longer than {seconds:.0f} s", "wrong": []}
    except EOFError:
        return {"failed": "the process died", "wrong": []}
    finally:
        worker.kill()
        worker.join()


def summary(rows: dict[str, dict[str, Any]], convnets: set[str]) -> dict[str, Any]:
    """The figures that the documents quote."""
    wrapped = {k: v for k, v in rows.items() if "logit_error" in v}
    convs = {k: v for k, v in wrapped.items() if k in convnets}
    paths = Counter(row["execution"].partition(" ")[0].rstrip(":") for row in wrapped.values())
    return {
        "architectures": len(rows),
        "wrapped": len(wrapped),
        "silently_wrong": {k: v["wrong"] for k, v in rows.items() if v["wrong"]},
        "failed": {k: v["failed"] for k, v in rows.items() if "failed" in v},
        "refused": {k: v["refused"] for k, v in rows.items() if "refused" in v},
        "largest_logit_error": max(row["logit_error"] for row in wrapped.values()),
        "largest_gradient_error": max(row["gradient_error"] for row in wrapped.values()),
        "execution": dict(paths),
        "layer_found": sum(row["layer"] is not None for row in wrapped.values()),
        "layer_refused": sum(row["layer"] is None for row in wrapped.values()),
        "layouts": dict(Counter(row["layout"] for row in wrapped.values() if row["layer"])),
        "convnets": len(convs),
        "convnets_without_layer": [k for k, v in convs.items() if v["layer"] is None],
        "convnets_with_a_branch": [
            k for k, v in convs.items() if v["layer"] and v.get("like_last_map", 1) < 0.5
        ],
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--only", default="", help="names or parts of names, by commas")
    arguments.add_argument("--seconds", type=float, default=120)
    arguments.add_argument("--rows", type=Path, help="keep rows here, and go on after those in it")
    given = arguments.parse_args()
    for library in ("timm", "torchvision"):
        if importlib.util.find_spec(library) is None:
            sys.exit(f"{library} is not installed: pip install timm torchvision, then run again")
    import torchvision  # noqa: F401 - loaded once, before the processes are made

    multiprocessing.set_start_method("fork")
    convnets = names_of(CONVNETS)
    wanted = [part for part in given.only.split(",") if part]
    rows: dict[str, dict[str, Any]] = {}
    if given.rows is not None and given.rows.exists():
        rows = dict(json.loads(line) for line in given.rows.read_text().splitlines())
    for library, name in [*convnets, *names_of(OTHERS)]:
        key = f"{library}:{name}"
        if wanted and not any(part == name or part in key for part in wanted):
            continue
        if key in rows:
            continue
        row = rows[key] = run(library, name, (library, name) in convnets, given.seconds)
        print(key, json.dumps(row), flush=True)
        if given.rows is not None:
            with given.rows.open("a") as file:
                file.write(json.dumps([key, row]) + "\n")
    figures = summary(rows, {f"{library}:{name}" for library, name in convnets})
    if wanted:
        print(json.dumps(figures, indent=2))
        return
    record("architectures", {**figures, "each": rows}, peers=("timm", "torchvision"), threads=1)


if __name__ == "__main__":
    main()
