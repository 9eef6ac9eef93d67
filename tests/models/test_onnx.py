"""onnx:FILE: small graphs made here, compared with ONNX Runtime."""

import json
import sys

import numpy as np
import pytest
import torch

from convscope.errors import CheckpointError, ModelContractError, NumericalError, UsageError
from convscope.explanations import EXPLANATIONS
from convscope.models import load

onnx = pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from convscope.models._onnx_operators import OPERATORS  # noqa: E402

noise = np.random.default_rng(0)


def weight(*shape, name="w", positive=False):
    values = noise.normal(size=shape).astype(np.float32)
    return numpy_helper.from_array(np.abs(values) + 0.1 if positive else values, name)


def whole(*values, name="n"):
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def number(value, name="v", kind=np.float32):
    return numpy_helper.from_array(np.array(value, dtype=kind), name)


def node(kind, inputs="x", outputs="y", **settings):
    return helper.make_node(
        kind, inputs.split(",") if inputs else [], outputs.split(","), **settings
    )


def write(path, nodes, weights=(), *, batch="n", size=(3, 8, 8), opset=17, notes=None, **tensors):
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *size])
    ends = helper.make_tensor_value_info("scores", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "net", [image], [ends], list(weights))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(model, notes or {})
    path.write_bytes(model.SerializeToString())
    return path


HEAD = [
    node("GlobalAveragePool", "y", "pooled"),
    node("Flatten", "pooled", "flat"),
    node("Gemm", "flat,head.weight,head.bias", "scores", transB=1),
]


def with_head(nodes, channels=3):
    """The scores of what `nodes` make, whose maps have so many channels."""
    return [*nodes, *HEAD], [weight(4, channels, name="head.weight"), weight(4, name="head.bias")]


def case(*nodes, weights=(), channels=3, opset=17, batch="n"):
    return (*with_head(list(nodes), channels), list(weights), opset, batch)


def simple(kind, opset=17, **settings):
    return case(node(kind, **settings), opset=opset)


def pair(kind, opset=17):
    return case(node(kind, "x,c"), weights=[number(0.7, "c")], opset=opset)


def decided(kind, kinds=("Cast",)):
    """A comparison, cast back to numbers."""
    return case(
        node(kind, "x,c", "b"), node("Cast", "b", "y", to=TensorProto.FLOAT),
        weights=[number(0.5, "c")],
    )  # fmt: skip


def joined_by(kind):
    return case(
        node("Greater", "x,c", "a"), node("Less", "x,d", "b"), node(kind, "a,b", "e"),
        node("Cast", "e", "y", to=TensorProto.FLOAT),
        weights=[number([0.3], "c"), number([0.6], "d")],
    )  # fmt: skip


def reduced(kind, opset=17):
    nodes = [node(kind, "x", "y", axes=[2, 3], keepdims=1)] if opset < 18 else [
        node(kind, "x,n", "y", keepdims=1)]  # fmt: skip
    return case(*nodes, weights=[whole(2, 3)] if opset >= 18 else [], opset=opset)


MAPS = {
    "Conv": case(node("Conv", "x,w,b", strides=[2, 1], pads=[1, 0, 1, 2], group=1),
                 weights=[weight(5, 3, 3, 3), weight(5, name="b")], channels=5),
    "Conv depthwise": case(node("Conv", "x,w", group=3, dilations=[2, 2], pads=[2, 2, 2, 2]),
                           weights=[weight(6, 1, 3, 3)], channels=6),
    "Conv same": case(node("Conv", "x,w", auto_pad="SAME_UPPER", strides=[2, 2]),
                      weights=[weight(5, 3, 4, 3)], channels=5),
    "ConvTranspose": case(node("ConvTranspose", "x,w", strides=[2, 2], output_padding=[1, 1],
                               pads=[1, 1, 1, 1]), weights=[weight(3, 5, 3, 3)], channels=5),
    "BatchNormalization": case(node("BatchNormalization", "x,w,b,m,v", epsilon=1e-3), weights=[
        weight(3), weight(3, name="b"), weight(3, name="m"), weight(3, name="v", positive=True)]),
    "InstanceNormalization": case(node("InstanceNormalization", "x,w,b"),
                                  weights=[weight(3), weight(3, name="b")]),
    "LayerNormalization": case(node("LayerNormalization", "x,w,b", axis=-1),
                               weights=[weight(8), weight(8, name="b")]),
    "GroupNormalization": case(node("GroupNormalization", "x,w,b", num_groups=3),
                               weights=[weight(3), weight(3, name="b")], opset=21),
    "LRN": simple("LRN", size=3, alpha=0.01),
    "MaxPool": simple("MaxPool", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 0]),
    "MaxPool uneven": simple("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
    "MaxPool ceil": simple("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "AveragePool": simple("AveragePool", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "AveragePool all": simple("AveragePool", kernel_shape=[3, 3], pads=[1, 0, 0, 1],
                              count_include_pad=1),
    "GlobalAveragePool": simple("GlobalAveragePool"),
    "GlobalMaxPool": simple("GlobalMaxPool"),
    **{kind: simple(kind) for kind in (
        "Relu", "Sigmoid", "Tanh", "HardSwish", "Softplus", "Softsign", "Selu", "Identity",
        "Dropout", "Exp", "Neg", "Abs", "Floor", "Ceil", "Round", "Erf", "Sin", "Cos", "Sign",
        "HardSigmoid", "Sqrt")},
    **{kind: simple(kind, 18) for kind in ("Mish",)},
    "Gelu": simple("Gelu", 20), "Gelu tanh": simple("Gelu", 20, approximate="tanh"),
    "LeakyRelu": simple("LeakyRelu", alpha=0.2), "Elu": simple("Elu", alpha=0.7),
    "Celu": simple("Celu", alpha=0.7),
    "HardSigmoid torch": simple("HardSigmoid", alpha=1 / 6),
    "PRelu": case(node("Sub", "x,c", "z"), node("PRelu", "z,w"),
                  weights=[weight(3, 1, 1), number(0.5, "c")]),
    "Clip": case(node("Clip", "x,v,m"), weights=[number(0.2), number(0.8, "m")]),
    "Clip six": case(node("Clip", "x,v,m"), weights=[number(0), number(6, "m")]),
    "Clip old": simple("Clip", 9, min=0.1, max=0.9),
    "Softmax": simple("Softmax", axis=1), "LogSoftmax": simple("LogSoftmax", axis=-1),
    "Softmax old": simple("Softmax", 11, axis=1),
    **{kind: pair(kind) for kind in ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum",
                                     "Mean")},
    "Log": case(node("Add", "x,c", "z"), node("Log", "z"), weights=[number(1, "c")]),
    "Reciprocal": case(node("Add", "x,c", "z"), node("Reciprocal", "z"), weights=[number(1, "c")]),
    **{kind: decided(kind) for kind in ("Equal", "Less", "Greater", "LessOrEqual",
                                        "GreaterOrEqual")},
    "And": joined_by("And"), "Or": joined_by("Or"),
    "Not": case(node("Greater", "x,c", "a"), node("Not", "a", "b"),
                node("Cast", "b", "y", to=TensorProto.FLOAT), weights=[number(0.5, "c")]),
    "IsNaN": case(node("IsNaN", "x", "a"), node("Where", "a,c,x"), weights=[number(0.5, "c")]),
    "Where": case(node("Greater", "x,c", "a"), node("Where", "a,x,c"), weights=[number(0.5, "c")]),
    "Mod": case(node("Mod", "x,c", fmod=1), weights=[number([0.3], "c")]),
    **{kind: reduced(kind) for kind in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2")},
    "ReduceMean 18": reduced("ReduceMean", 18),
    "ReduceSum": case(node("ReduceSum", "x,n"), weights=[whole(2, 3)]),
    "Shape": case(node("Shape", "x", "s"), node("Reshape", "x,s")),
    "Shape end": case(node("Shape", "x", "s", start=0, end=4), node("Reshape", "x,s")),
    "Constant": case(node("Constant", "", "c", value_float=2.0), node("Mul", "x,c")),
    "ConstantOfShape": case(
        node("Shape", "x", "s"),
        node("ConstantOfShape", "s", "c", value=helper.make_tensor("v", 1, [1], [0.5])),
        node("Mul", "x,c")),
    "Flatten": case(node("Flatten", "x", "f", axis=2), node("Shape", "x", "s"),
                    node("Reshape", "f,s")),
    "Reshape": case(node("Reshape", "x,n"), weights=[whole(0, 6, 4, -1)], channels=6),
    "Transpose": case(node("Transpose", perm=[0, 1, 3, 2])),
    "Concat": case(node("Relu", "x", "r"), node("Concat", "x,r", axis=1), channels=6),
    "Split": case(node("Split", "x,n", "a,b", axis=1), node("Concat", "b,a", axis=1),
                  weights=[whole(1, 2)]),
    "Slice": case(node("Slice", "x,n,e,a,t"), weights=[
        whole(-1, 7), whole(9, 0, name="e"), whole(1, 2, name="a"), whole(1, -2, name="t")],
        channels=1),
    "Slice old": simple("Slice", 9, starts=[1], ends=[9], axes=[2]),
    "Gather": case(node("Gather", "x,n", axis=1), weights=[whole(2, -3)], channels=2),
    "Gather one": case(node("Gather", "x,n", "g", axis=1), node("Unsqueeze", "g,a"),
                       weights=[number(1, "n", np.int64), whole(1, name="a")], channels=1),
    "Squeeze": case(node("Unsqueeze", "x,n", "u"), node("Squeeze", "u,n"), weights=[whole(2)]),
    "Unsqueeze old": case(node("Unsqueeze", "x", "u", axes=[2]),
                          node("Squeeze", "u", "y", axes=[2]), opset=11),
    "Expand": case(node("Expand", "w,s", "e"), node("Shape", "x", "s"), node("Add", "x,e"),
                   weights=[weight(1, 3, 1, 1)]),
    "Tile": case(node("Tile", "x,n"), weights=[whole(1, 2, 1, 1)], channels=6),
    "Range": case(node("Range", "a,b,c", "r"), node("Add", "x,r"),
                  weights=[number(0, "a"), number(8, "b"), number(1, "c")]),
    "Pad": case(node("Pad", "x,n,v"), weights=[whole(0, 0, 1, 2, 0, 0, 0, 1), number(0.3)]),
    "Pad reflect": case(node("Pad", "x,n", mode="reflect"),
                        weights=[whole(0, 0, 1, 2, 0, 0, 0, 1)]),
    "Pad edge": case(node("Pad", "x,n", mode="edge"), weights=[whole(0, 0, 1, 2, 0, 0, 0, 1)]),
    "Cast": case(node("Cast", "x", "d", to=TensorProto.DOUBLE),
                 node("Cast", "d", "y", to=TensorProto.FLOAT)),
    "CastLike": case(node("CastLike", "x,x"), opset=15),
    "Resize": case(node("Resize", "x,,v", mode="nearest", nearest_mode="floor",
                        coordinate_transformation_mode="asymmetric"),
                   weights=[number([1, 1, 2, 2])]),
    "Resize linear": case(node("Resize", "x,,,n", mode="linear"), weights=[whole(1, 3, 13, 12)],
                          batch=1),
    "Upsample": case(node("Upsample", "x,v", mode="nearest"), weights=[number([1, 1, 2, 2])],
                     opset=9),
    "DepthToSpace": case(node("Conv", "x,w", "c"), node("DepthToSpace", "c", mode="CRD",
                         blocksize=2), weights=[weight(8, 3, 1, 1)], channels=2),
    "Einsum": case(node("Einsum", "x,w", equation="nchw,dc->ndhw"), weights=[weight(3, 3)]),
    "MatMul": case(node("MatMul", "x,w"), weights=[weight(8, 5)]),
    "MatMul of maps": case(node("Transpose", "x", "t", perm=[0, 1, 3, 2]), node("MatMul", "x,t")),
    "Gemm": case(node("Relu")),
}  # fmt: skip

# Every setting that changes the numbers, where it is not what it is when it is left out.
SETTINGS = {
    "AveragePool same": simple("AveragePool", kernel_shape=[3, 3], strides=[2, 2],
                               auto_pad="SAME_LOWER", count_include_pad=1),
    "AveragePool ceil": simple("AveragePool", kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1),
    "Conv same lower": case(node("Conv", "x,w", auto_pad="SAME_LOWER", strides=[2, 2]),
                            weights=[weight(5, 3, 4, 3)], channels=5),
    "Conv valid": case(node("Conv", "x,w", auto_pad="VALID", dilations=[2, 1]),
                       weights=[weight(5, 3, 3, 3)], channels=5),
    "ConvTranspose grouped": case(node("ConvTranspose", "x,w,b", group=3, dilations=[2, 1]),
                                  weights=[weight(3, 2, 3, 3), weight(6, name="b")], channels=6),
    "Flatten": case(node("Flatten", "x", "f", axis=2), node("MatMul", "f,w", "m"),
                    node("Reshape", "m,s"), weights=[weight(64, 64), whole(-1, 3, 8, 8, name="s")]),
    "GroupNormalization": case(node("GroupNormalization", "x,w,b", num_groups=1, epsilon=0.5),
                               weights=[weight(3), weight(3, name="b")], opset=21),
    "HardSigmoid": case(node("Sub", "x,c", "z"), node("HardSigmoid", "z", alpha=1.5, beta=0.25),
                        weights=[number(0.5, "c")]),
    "InstanceNormalization": case(node("InstanceNormalization", "x,w,b", "z", epsilon=0.5),
                                  node("Relu", "z"),
                                  weights=[weight(3), weight(3, name="b")]),
    "LayerNormalization": case(node("LayerNormalization", "x,w", axis=2, epsilon=0.5),
                               weights=[weight(8, 8)]),
    "LRN": simple("LRN", size=3, alpha=0.5, beta=0.5, bias=2.0),
    "LogSoftmax": simple("LogSoftmax", axis=1),
    "MaxPool dilated": simple("MaxPool", kernel_shape=[2, 3], dilations=[3, 2]),
    "MaxPool same": simple("MaxPool", kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    "Pad old": simple("Pad", 9, pads=[0, 0, 1, 2, 0, 0, 0, 1], value=0.3),
    **{f"{kind} without axes": case(
        node(kind, "x", "m", axes=[2], keepdims=0), node("Transpose", "m", perm=[0, 2, 1]),
        channels=8)
       for kind in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2")},
    "ReduceSum without axes": case(node("ReduceSum", "x,n", "m", keepdims=0),
                                   node("Transpose", "m", perm=[0, 2, 1]), weights=[whole(2)],
                                   channels=8),
    "Shape": case(node("Shape", "x", "s", start=1, end=-2), node("Concat", "a,s,b", "t", axis=0),
                  node("Reshape", "x,t"), weights=[whole(-1, name="a"), whole(64, 1, name="b")]),
    "Split": case(node("Split", "x", "a,b", axis=2), node("Concat", "b,a", "c", axis=3),
                  node("MatMul", "c,w"), weights=[weight(16, 2)], channels=3),
    "Split old": case(node("Split", "x", "a,b", axis=1, split=[1, 2]),
                      node("Concat", "b,a", axis=1), opset=11),
    "Squeeze old": case(node("Slice", "x", "s", axes=[1], starts=[0], ends=[1]),
                        node("Unsqueeze", "s", "u", axes=[2]), node("Squeeze", "u", axes=[2]),
                        opset=9, channels=1),
    "Gemm": ([node("Relu"), *HEAD[:2], node("Gemm", "flat,w,b", "scores", alpha=0.5, beta=2.0)],
             [], [weight(3, 4), weight(4, name="b")], 17, "n"),
}  # fmt: skip
REFUSED = {
    "Upsample": case(node("Upsample", "x,v", mode="linear"), weights=[number([1, 1, 2, 2])],
                     opset=9),
    "AveragePool": simple("AveragePool", 19, kernel_shape=[2, 2], dilations=[2, 2]),
    "ConvTranspose": case(node("ConvTranspose", "x,w", strides=[2, 2], output_shape=[16, 16]),
                          weights=[weight(3, 3, 3, 3)]),
    "DepthToSpace": case(node("Conv", "x,w", "c"), node("DepthToSpace", "c", blocksize=2),
                         weights=[weight(8, 3, 1, 1)], channels=2),
    "Gemm": ([node("Relu"), *HEAD[:2], node("Transpose", "flat", "t", perm=[1, 0]),
              node("Gemm", "t,w", "scores", transA=1)], [], [weight(3, 4)], 17, "n"),
    "Resize": case(node("Resize", "x,,v", mode="nearest", nearest_mode="ceil",
                        coordinate_transformation_mode="asymmetric"),
                   weights=[number([1, 1, 1.5, 1.5])]),
}  # fmt: skip


def test_every_operator_is_tested():
    tested = {part.op_type for nodes, *_ in MAPS.values() for part in nodes}
    assert set(OPERATORS) == tested


def written(folder, name, nodes, head, weights, opset, batch):
    if name == "Expand":
        nodes = [nodes[1], nodes[0], *nodes[2:]]
    return write(folder / "net.onnx", nodes, [*weights, *head], opset=opset, batch=batch)


@pytest.mark.parametrize("name", REFUSED)
def test_settings_that_are_not_known_make_a_black_box(name, tmp_path):
    classifier = load(f"onnx:{written(tmp_path, name, *REFUSED[name])}")
    assert classifier.black_box and name in classifier.flags[0]


@pytest.mark.parametrize(
    ("name", "made"),
    [*MAPS.items(), *SETTINGS.items()],
    ids=[*MAPS, *(f"settings of {name}" for name in SETTINGS)],
)
def test_operators_give_the_numbers_of_the_runtime(name, made, tmp_path):
    path = written(tmp_path, name, *made)
    classifier = load(f"onnx:{path}")
    assert classifier.flags == () and not classifier.black_box
    images = torch.rand(5, 3, 8, 8)
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    theirs = [session.run(None, {"x": image[None].numpy()})[0] for image in images]
    scale = max(np.abs(row).max() for row in theirs)
    with torch.no_grad():
        ours = classifier.logits(images).numpy()
    assert np.abs(ours - np.concatenate(theirs)).max() <= 1e-5 * scale


def small(tmp_path, *, batch="n", opset=17, notes=None, end=(), more=()):
    """Convolution, ReLU, pooling, dense layer, in the names of PyTorch."""
    nodes = [
        node("Conv", "x,features.0.weight,features.0.bias", "c", pads=[1, 1, 1, 1]),
        node("Relu", "c", "r", name="/features/features.1/Relu"), node("MaxPool", "r", "y",
        name="/features/features.2/MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
        *(HEAD[:2] if end else HEAD), *end,
    ]  # fmt: skip
    weights = [
        weight(6, 3, 3, 3, name="features.0.weight"), weight(6, name="features.0.bias"),
        weight(4, 6, name="head.weight"), weight(4, name="head.bias"), *more,
    ]  # fmt: skip
    return write(
        tmp_path / "net.onnx", nodes, weights, batch=batch, opset=opset, notes=notes
    )  # fmt: skip


def test_layers_have_their_names_and_methods_find_them(tmp_path):
    classifier = load(f"onnx:{small(tmp_path)}")
    names = [layer.name for layer in classifier.layers() if layer.is_leaf]
    assert names[:3] == ["features.0", "features.1", "features.2"]
    assert names[-1] == "head"
    assert tuple(next(classifier.module.parameters()).shape) == (6, 3, 3, 3)
    images = torch.rand(2, 3, 8, 8)
    for name in ("grad-cam", "saliency", "occlusion"):
        assert EXPLANATIONS[name](classifier, images).maps.abs().max() > 0
    assert EXPLANATIONS["grad-cam"](classifier, images).layer == "features.2"


def test_a_file_for_one_image_takes_many(tmp_path):
    one, many = (load(f"onnx:{small(tmp_path, batch=batch)}") for batch in (1, "n"))
    assert one.flags == many.flags == () and one.layers()
    fixed = [
        *HEAD[:1], node("Reshape", "pooled,n", "flat"), node("MatMul", "flat,w", "z"),
        node("Concat", "z,t", "scores", axis=1),
    ]  # fmt: skip
    more = [whole(1, 3), weight(3, 3), weight(1, 1, name="t")]
    path = write(tmp_path / "f.onnx", [node("Relu"), *fixed], more, batch=1)
    assert load(f"onnx:{path}").flags == ()


def test_sizes_that_are_written_into_a_file_make_it_run_row_by_row(tmp_path):
    nodes = [
        node("Reshape", "x,n", "y"), node("ReduceMean", "y", "m", axes=[2]),
        node("Reshape", "m,k", "scores"),
    ]  # fmt: skip
    weights = [whole(3, 1, 64), whole(1, 3, name="k")]
    classifier = load(f"onnx:{write(tmp_path / 'r.onnx', nodes, weights, batch=1)}")
    assert "row-by-row" in classifier.flags[0]
    images = torch.rand(3, 3, 8, 8)
    assert torch.allclose(classifier.logits(images), images.mean(dim=(2, 3)), atol=1e-6)
    assert EXPLANATIONS["saliency"](classifier, images).maps.abs().max() > 0
    with pytest.raises(ModelContractError, match="one image at a time") as caught:
        EXPLANATIONS["grad-cam"](classifier, images)
    assert caught.value.code == "M17"


def test_without_the_runtime_many_images_are_proven_by_each_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    flags = load(f"onnx:{small(tmp_path, batch=1)}").flags
    assert len(flags) == 1 and "not compared" in flags[0]
    # A sum over the batch axis is another one with more images.
    nodes = [
        node("ReduceMean", "x", "m", axes=[2, 3], keepdims=0),
        node("ReduceSum", "m,n", "scores", keepdims=1),
    ]
    path = write(tmp_path / "sum.onnx", nodes, [whole(0)], batch=1)
    assert "row-by-row" in load(f"onnx:{path}").flags[0]


def test_a_softmax_at_the_end_becomes_a_log_softmax(tmp_path):
    ends = [HEAD[2], node("Softmax", "logits", "scores", axis=1)]
    ends[0] = node("Gemm", "flat,head.weight,head.bias", "logits", transB=1)
    path = small(tmp_path, end=ends)
    classifier = load(f"onnx:{path}")
    assert classifier.flags == () and not classifier.probabilities
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = torch.rand(2, 3, 8, 8)
    theirs = torch.from_numpy(session.run(None, {"x": images.numpy()})[0])
    assert torch.allclose(classifier.logits(images).exp(), theirs, atol=1e-6)


def test_channels_last_files_take_pixels_as_all_others(tmp_path):
    nodes, head, *_ = case(node("Transpose", "x", "y", perm=[0, 3, 1, 2]))
    path = write(tmp_path / "net.onnx", nodes, head, size=(8, 6, 3))
    classifier = load(f"onnx:{path}")
    assert classifier.input_shape == (3, 8, 6) and classifier.flags == ()
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = torch.rand(2, 3, 8, 6)
    theirs = session.run(None, {"x": images.permute(0, 2, 3, 1).contiguous().numpy()})[0]
    assert np.allclose(classifier.logits(images).detach().numpy(), theirs, atol=1e-5)


@pytest.mark.parametrize(
    "notes",
    [{"names": "{0: 'cat', 1: 'dog', 2: 'cow', 3: 'ant'}"},
     {"class_names": json.dumps(["cat", "dog", "cow", "ant"])},
     {"labels": "cat\ndog\ncow\nant"}],
)  # fmt: skip
def test_class_names_and_sizes_come_from_the_file_or_from_options(tmp_path, notes):
    path = small(tmp_path, notes=notes)
    assert load(f"onnx:{path}").class_names == ("cat", "dog", "cow", "ant")
    said = load(f"onnx:{path}", class_names=["a", "b", "c", "d"], mean=0.5, std=0.25)
    assert said.class_names == ("a", "b", "c", "d") and said.mean == (0.5,)
    with pytest.raises(ModelContractError, match="4 classes"):
        load(f"onnx:{path}", class_names=["a"])
    with pytest.raises(ModelContractError, match="takes images of 3 x 8 x 8"):
        load(f"onnx:{path}", input_shape=(3, 16, 16))
    with pytest.raises(UsageError, match="its own weights"):
        load(f"onnx:{path}", weights="w.pt")
    open_size = write(tmp_path / "open.onnx", *with_head([node("Relu")]), size=(3, "h", "w"))
    with pytest.raises(ModelContractError, match="--input-shape"):
        load(f"onnx:{open_size}")
    assert load(f"onnx:{open_size}", input_shape=(3, 9, 7)).input_shape == (3, 9, 7)


def unknown(tmp_path):
    nodes, head, *_ = case(node("Det", "x", "d"), node("Unsqueeze", "d,n", "u"),
                           node("Unsqueeze", "u,m", "y"))  # fmt: skip
    return write(tmp_path / "net.onnx", nodes, [*head, whole(2), whole(3, name="m")])


def test_an_operator_that_is_not_known_makes_a_black_box(tmp_path, monkeypatch):
    classifier = load(f"onnx:{unknown(tmp_path)}")
    assert classifier.black_box and "operator Det is not known" in classifier.flags[0]
    assert EXPLANATIONS["occlusion"](classifier, torch.rand(1, 3, 8, 8)).maps.isfinite().all()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(CheckpointError, match="operator Det is not known") as caught:
        load(f"onnx:{unknown(tmp_path)}")
    assert caught.value.code == "C21" and "onnxruntime" in caught.value.hint
    assert "not compared" in load(f"onnx:{small(tmp_path)}").flags[0]


def test_a_wrong_translation_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setitem(OPERATORS, "Relu", lambda s, x: s.layer(torch.nn.ReLU6(), s.call(
        torch.mul, x, 1.001)))  # fmt: skip
    classifier = load(f"onnx:{small(tmp_path)}")
    assert classifier.black_box and "differ from ONNX Runtime" in classifier.flags[0]


def external(tmp_path, place, data=b"", **said):
    path = small(tmp_path)
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    raw, length = tensor.raw_data, len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": place, "offset": "0", "length": str(length), **said}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    path.write_bytes(model.SerializeToString())
    return path, raw


def test_weights_may_lie_in_another_file_of_the_folder(tmp_path):
    path, raw = external(tmp_path, "net.data")
    (tmp_path / "net.data").write_bytes(raw)
    assert load(f"onnx:{path}").flags == ()
    (tmp_path / "net.data").write_bytes(raw[:-4])
    with pytest.raises(CheckpointError, match="asked for") as caught:
        load(f"onnx:{path}")
    assert caught.value.code == "C07"


@pytest.mark.parametrize("place", ["../secret", "/etc/hostname", "link", "a/../../secret", ""])
def test_weights_outside_the_folder_are_refused(tmp_path, place):
    folder = tmp_path / "model"
    folder.mkdir()
    path, raw = external(folder, place)
    (tmp_path / "secret").write_bytes(raw)
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(CheckpointError, match="outside its folder") as caught:
        load(f"onnx:{path}")
    assert caught.value.code == "C19"


def test_damaged_and_foreign_files_are_refused(tmp_path):
    data = small(tmp_path).read_bytes()
    path = tmp_path / "bad.onnx"
    for cut in (0, 1, 10, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(CheckpointError):
            load(f"onnx:{path}")
    path.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(CheckpointError):
        load(f"onnx:{path}")
    with pytest.raises(CheckpointError):
        load("onnx:/no/such/file.onnx")
    model = onnx.load_model_from_string(data)
    model.graph.initializer[0].dims[0] = 10**9
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match="claims") as caught:
        load(f"onnx:{path}")
    assert caught.value.code == "C05"
    model = onnx.load_model_from_string(data)
    model.graph.node[1].domain = "my.company"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match=r"operators of my\.company"):
        load(f"onnx:{path}")


def test_constants_that_do_not_fit_into_memory_are_refused(tmp_path):
    huge = [node("ConstantOfShape", "n", "c"), node("ReduceSum", "c", "t", keepdims=0),
            node("Add", "x,t", "y")]  # fmt: skip
    nodes, head, *_ = case(*huge)
    path = write(tmp_path / "net.onnx", nodes, [*head, whole(10**6, 10**6)])
    with pytest.raises(CheckpointError, match="1000000 x 1000000"):
        load(f"onnx:{path}")


def test_weights_that_are_no_numbers_are_refused(tmp_path):
    nodes, head, *_ = case(node("Mul", "x,w"))
    bad = numpy_helper.from_array(np.array([np.nan], np.float32), "w")
    path = write(tmp_path / "net.onnx", nodes, [*head, bad])
    with pytest.raises(NumericalError, match="NaN or infinity in w"):
        load(f"onnx:{path}")
    assert load(f"onnx:{path}", allow_nonfinite=True).flags
