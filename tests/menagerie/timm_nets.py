"""One network of every family of timm, with random parameters: the smallest that has a head."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import nn

SIDE = 96
FREE = [
    "halonet26t",
    "mobileone_s0",
    "convmixer_768_32",
    "test_convnext",
    "cpubone_nano",
    "csatv2",
    "cs3darknet_focus_s",
    "cspnext_tiny",
    "davit_tiny",
    "densenet121",
    "dla46x_c",
    "dpn48b",
    "edgenext_xx_small",
    "efficientnet_b0",
    "efficientvim_m1",
    "efficientvit_b0",
    "fasternet_t0",
    "fastvit_t8",
    "focalnet_tiny_srf",
    "ghostnet_050",
    "hardcorenas_b",
    "hgnetv2_b0",
    "hrnet_w18_small",
    "iformer_t",
    "inception_next_atto",
    "inception_resnet_v2",
    "inception_v3",
    "inception_v4",
    "lcnetv2_small",
    "lowformer_b0",
    "test_mambaout",
    "poolformerv2_s12",
    "mobilenetv3_small_050",
    "mobilevit_xxs",
    "nextvit_small",
    "test_nfnet",
    "pvt_v2_b0",
    "rdnet_tiny",
    "regnetx_002",
    "repghostnet_050",
    "repvit_m1",
    "res2next50",
    "resnest14d",
    "resnet10t",
    "resnetv2_18",
    "rexnet_100",
    "selecsls42",
    "legacy_seresnet18",
    "shvit_s1",
    "skresnet18",
    "starnet_s050",
    "tiny_vit_5m_224",
    "tresnet_m",
    "vgg11",
    "ese_vovnet19b_slim_dw",
    "legacy_xception",
    "xception41p",
    "convnextv2_atto",
    "resnet18d",
    "seresnet33ts",
    "ecaresnet26t",
    "efficientnet_lite0",
    "tf_efficientnetv2_b0",
    "mobilenetv4_conv_small",
    "mobilenetv2_035",
    "gernet_s",
    "lambda_resnet26t",
    "regnety_002",
]
"""Networks that take images of any size: `SIDE`."""

FIXED = [
    "beit_base_patch16_224",
    "cait_xxs24_224",
    "coat_tiny",
    "convit_tiny",
    "crossvit_tiny_240",
    "deit_tiny_patch16_224",
    "efficientformer_l1",
    "efficientformerv2_s0",
    "efficientvit_m0",
    "gcvit_xxtiny",
    "hiera_tiny_224",
    "levit_128s",
    "test_coatnet",
    "gmlp_ti16_224",
    "mvitv2_tiny",
    "nest_tiny",
    "pit_ti_224",
    "sequencer2d_s",
    "swiftformer_xs",
    "swin_tiny_patch4_window7_224",
    "swinv2_tiny_window8_256",
    "swinv2_cr_tiny_224",
    "tnt_s_legacy_patch16_224",
    "twins_svt_small",
    "visformer_tiny",
    "test_vit",
    "vit_tiny_r_s16_p8_224",
    "test_vit_relpos",
    "vitamin_small_224",
    "volo_d1_224",
    "xcit_nano_12_p8_224",
    "eva02_tiny_patch14_224",
    "vit_tiny_patch16_224",
    "vit_small_patch32_224",
    "deit3_small_patch16_224",
    "flexivit_small",
    "coatnet_pico_rw_224",
    "maxvit_rmlp_pico_rw_256",
    "mixer_s32_224",
    "resmlp_12_224",
    "deit_tiny_distilled_patch16_224",
    "crossvit_9_240",
]
"""Networks that are built for one size, which may be another than their own."""


def networks() -> Iterator[tuple[str, Callable[[], nn.Module], int]]:
    """Name, how it is built, side in pixels."""
    import timm

    for name in FREE:
        yield f"timm {name}", lambda name=name: timm.create_model(name, num_classes=10), SIDE
    for name in FIXED:
        side = timm.get_pretrained_cfg(name).input_size[1]
        yield f"timm {name}", lambda name=name: timm.create_model(name, num_classes=10), side
