"""Image classifiers of the transformers library, shrunk, with random parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn

SIDE = 64
CLASSES = 5
ENCODER = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": SIDE,
    "patch_size": 8,
}
STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}
SMALLER = {
    "ViT": ENCODER,
    "DeiT": ENCODER,
    "Beit": ENCODER,
    "Data2VecVision": ENCODER,
    "Dinov2": {k: v for k, v in ENCODER.items() if k != "intermediate_size"},
    "Dinov2WithRegisters": {k: v for k, v in ENCODER.items() if k != "intermediate_size"},
    "ViTMSN": ENCODER,
    "IJepa": ENCODER,
    "Swin": {
        "image_size": SIDE, "patch_size": 4, "embed_dim": 16, "depths": [2, 2],
        "num_heads": [2, 4], "window_size": 4,
    },
    "Swinv2": {
        "image_size": SIDE, "patch_size": 4, "embed_dim": 16, "depths": [2, 2],
        "num_heads": [2, 4], "window_size": 4,
    },
    "ConvNext": STAGES,
    "ConvNextV2": STAGES,
    "PoolFormer": STAGES,
    "ResNet": {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
    "RegNet": {
        "embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1],
        "groups_width": 8,
    },
    "Bit": {"embedding_size": 32, "hidden_sizes": [128, 128, 128, 128], "depths": [1, 1, 1, 1]},
    "Pvt": {"image_size": SIDE, "hidden_sizes": [16, 32, 40, 64], "depths": [1, 1, 1, 1]},
    "PvtV2": {"image_size": SIDE, "hidden_sizes": [16, 32, 40, 64], "depths": [1, 1, 1, 1]},
    "FocalNet": {
        "image_size": SIDE, "embed_dim": 16, "depths": [1, 1], "focal_levels": [2, 2],
        "focal_windows": [3, 3], "hidden_sizes": [16, 32],
    },
    "Hiera": {"image_size": [SIDE, SIDE], "embed_dim": 16, "depths": [1, 1, 2, 1]},
    "MobileViT": {
        "image_size": SIDE, "hidden_sizes": [16, 24, 32],
        "neck_hidden_sizes": [4, 8, 8, 12, 16, 16, 24],
    },
    "MobileViTV2": {"image_size": SIDE, "width_multiplier": 0.5},
    "MobileNetV1": {"depth_multiplier": 0.25, "image_size": SIDE},
    "MobileNetV2": {"depth_multiplier": 0.35, "image_size": SIDE},
    "EfficientNet": {"width_coefficient": 0.25, "depth_coefficient": 0.25, "image_size": SIDE,
                     "hidden_dim": 320},
    "Segformer": {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
    "SwiftFormer": {"depths": [1, 1, 1, 1], "embed_dims": [8, 16, 24, 32]},
    "Levit": {
        "image_size": SIDE, "hidden_sizes": [16, 32, 48], "num_attention_heads": [2, 2, 2],
        "depths": [1, 1, 1], "key_dim": [8, 8, 8],
    },
    "TextNet": {},
    "PPLCNet": {"scale": 0.25},
    "HGNetV2": {},
}  # fmt: skip


def networks() -> Iterator[tuple[str, Callable[[], nn.Module], int]]:
    """Name, how it is built, side in pixels."""
    import transformers

    for name, smaller in SMALLER.items():
        config = getattr(transformers, f"{name}Config", None)
        kind = getattr(transformers, f"{name}ForImageClassification", None)
        if config is None or kind is None:
            continue

        def build(config=config, kind=kind, smaller=smaller) -> nn.Module:
            labels = {number: f"class {number}" for number in range(CLASSES)}
            return kind(config(id2label=labels, **smaller))

        yield f"transformers {name}", build, SIDE
