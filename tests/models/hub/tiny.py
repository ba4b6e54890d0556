"""Tiny models of the real classes, with random weights, as `save_pretrained` leaves them in a folder."""

import json

import open_clip
import torch
import transformers as hf
from safetensors.torch import save_file

SIDE = 32
SQUARE = {"height": SIDE, "width": SIDE}
VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "patch_size": 8,
    "image_size": SIDE,
}
SWIN = {
    "image_size": SIDE,
    "patch_size": 2,
    "embed_dim": 8,
    "depths": [1, 1, 1, 1],
    "num_heads": [1, 1, 1, 1],
    "window_size": 4,
    "out_features": ["stage1", "stage2", "stage3", "stage4"],
}
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "layer_type": "basic"}
DINO = {**VIT, "out_features": ["stage1", "stage1", "stage2", "stage2"], "reshape_hidden_states": False}
DECODER = {
    "d_model": 16,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 16,
    "decoder_ffn_dim": 16,
    "num_queries": 5,
}


def vit():
    return hf.ViTForImageClassification(hf.ViTConfig(**VIT, num_labels=4)), hf.ViTImageProcessor(size=SQUARE)


def clip_classifier():
    config = hf.CLIPConfig(**clip_towers(), num_labels=4)
    sides = {"size": {"shortest_edge": SIDE + 4}, "crop_size": SQUARE}
    return hf.CLIPForImageClassification(config), hf.CLIPImageProcessor(**sides)


def clip_towers():
    text = {"vocab_size": 600, "max_position_embeddings": 32, "eos_token_id": 1}
    tower = {name: value for name, value in VIT.items() if not name.endswith("size") or name[0] in "hi"}
    tower = {name: value for name, value in tower.items() if name != "image_size"}
    return {"vision_config": VIT, "text_config": {**tower, **text}, "projection_dim": 12}


def efficientnet():
    """Its image processor normalises twice."""
    config = hf.EfficientNetConfig(
        image_size=SIDE,
        width_coefficient=0.1,
        depth_coefficient=0.1,
        hidden_dim=128,
        num_labels=4,
        dropout_rate=0.0,
    )
    return hf.EfficientNetForImageClassification(config), hf.EfficientNetImageProcessor(size=SQUARE)


def segformer(labels=5):
    config = hf.SegformerConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[4, 8, 8, 8],
        num_attention_heads=[1, 1, 1, 1],
        mlp_ratios=[1, 1, 1, 1],
        decoder_hidden_size=8,
        num_labels=labels,
    )
    return hf.SegformerForSemanticSegmentation(config), hf.SegformerImageProcessor(size=SQUARE)


def beit():
    config = hf.BeitConfig(
        **{**VIT, "num_hidden_layers": 4},
        out_indices=[1, 2, 3, 4],
        pool_scales=[1, 2],
        num_labels=5,
        use_auxiliary_head=False,
    )
    return hf.BeitForSemanticSegmentation(config), hf.BeitImageProcessor(size=SQUARE, do_center_crop=False)


def upernet():
    config = hf.UperNetConfig(
        backbone_config=hf.SwinConfig(**SWIN), hidden_size=8, pool_scales=[1, 2], auxiliary_channels=8
    )
    config.num_labels, config.auxiliary_in_channels = 5, 32
    return hf.UperNetForSemanticSegmentation(config), hf.SegformerImageProcessor(size=SQUARE)


def mask2former():
    config = hf.Mask2FormerConfig(
        backbone_config=hf.SwinConfig(**SWIN),
        hidden_dim=32,
        feature_size=32,
        mask_feature_size=32,
        dim_feedforward=16,
        encoder_feedforward_dim=16,
        num_attention_heads=2,
        encoder_layers=1,
        decoder_layers=2,
        num_queries=5,
        num_labels=5,
    )
    processor = hf.Mask2FormerImageProcessor(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})
    return hf.Mask2FormerForUniversalSegmentation(config), processor


def maskformer():
    config = hf.MaskFormerConfig(
        backbone_config=hf.SwinConfig(**SWIN),
        decoder_config=hf.DetrConfig(
            **{**DECODER, "d_model": 32}, use_timm_backbone=False, backbone_config=hf.ResNetConfig()
        ),
        fpn_feature_size=32,
        mask_feature_size=32,
        num_labels=5,
    )
    processor = hf.MaskFormerImageProcessor(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})
    return hf.MaskFormerForInstanceSegmentation(config), processor


def neck():
    return {"neck_hidden_sizes": [4, 8, 8, 8], "fusion_hidden_size": 8}


def dpt():
    config = hf.DPTConfig(
        **{**VIT, "num_hidden_layers": 4}, backbone_out_indices=[0, 1, 2, 3], is_hybrid=False, **neck()
    )
    return hf.DPTForDepthEstimation(config), hf.DPTImageProcessor(size=SQUARE)


def depth_anything():
    backbone = hf.Dinov2Config(**{**VIT, "num_hidden_layers": 4}, out_indices=[1, 2, 3, 4])
    backbone.reshape_hidden_states = False
    config = hf.DepthAnythingConfig(
        backbone_config=backbone,
        **neck(),
        reassemble_hidden_size=16,
        head_hidden_size=4,
        patch_size=8,
        depth_estimation_type="metric",
        max_depth=20,
    )
    processor = hf.DPTImageProcessor(size=SQUARE, keep_aspect_ratio=True, ensure_multiple_of=8)
    return hf.DepthAnythingForDepthEstimation(config), processor


def zoedepth():
    backbone = hf.BeitConfig(
        **{**VIT, "num_hidden_layers": 4},
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
        use_relative_position_bias=True,
    )
    config = hf.ZoeDepthConfig(
        backbone_config=backbone,
        **neck(),
        bottleneck_features=8,
        num_relative_features=4,
        bin_embedding_dim=8,
        num_attractors=[2, 2, 2, 2],
        bin_configurations=[{"n_bins": 4, "min_depth": 0.001, "max_depth": 10.0}],
    )
    processor = hf.ZoeDepthImageProcessor(size=SQUARE, ensure_multiple_of=8, keep_aspect_ratio=True)
    return hf.ZoeDepthForDepthEstimation(config), processor


def glpn():
    config = hf.GLPNConfig(
        depths=[1, 1, 1, 1],
        hidden_sizes=[4, 8, 8, 8],
        num_attention_heads=[1, 1, 1, 1],
        mlp_ratios=[1, 1, 1, 1],
        decoder_hidden_size=8,
    )
    return hf.GLPNForDepthEstimation(config), hf.GLPNImageProcessor(size_divisor=32)


def detr(labels=91):
    config = hf.DetrConfig(
        **DECODER, use_timm_backbone=False, backbone_config=hf.ResNetConfig(**RESNET), num_labels=labels
    )
    if labels == 91:
        config.id2label = {place: "person" if place == 1 else f"class {place}" for place in range(91)}
    processor = hf.DetrImageProcessor(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})
    return hf.DetrForObjectDetection(config), processor


def conditional_detr(labels):
    config = hf.ConditionalDetrConfig(
        **DECODER, use_timm_backbone=False, backbone_config=hf.ResNetConfig(**RESNET), num_labels=labels
    )
    processor = hf.ConditionalDetrImageProcessor(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})
    return hf.ConditionalDetrForObjectDetection(config), processor


def yolos():
    config = hf.YolosConfig(**{**VIT, "image_size": [SIDE, SIDE]}, num_detection_tokens=5, num_labels=3)
    processor = hf.YolosImageProcessor(size={"shortest_edge": SIDE, "longest_edge": 2 * SIDE})
    return hf.YolosForObjectDetection(config), processor


def rt_detr():
    config = hf.RTDetrConfig(
        backbone_config=hf.RTDetrResNetConfig(**RESNET, out_features=["stage2", "stage3", "stage4"]),
        encoder_hidden_dim=16,
        encoder_in_channels=[8, 8, 8],
        encoder_ffn_dim=16,
        encoder_attention_heads=2,
        d_model=16,
        num_queries=5,
        decoder_in_channels=[16, 16, 16],
        decoder_ffn_dim=16,
        decoder_layers=2,
        decoder_attention_heads=2,
        decoder_n_points=2,
        hidden_expansion=0.5,
        num_labels=80,
    )
    config.id2label = {place: "person" if place == 0 else f"class {place}" for place in range(80)}
    return hf.RTDetrForObjectDetection(config), hf.RTDetrImageProcessor(size=SQUARE)


def dinov2():
    config = hf.Dinov2Config(**VIT)
    processor = hf.BitImageProcessor(size={"shortest_edge": SIDE + 4}, crop_size=SQUARE)
    return hf.Dinov2Model(config), processor


def vit_features():
    return hf.ViTModel(hf.ViTConfig(**VIT), add_pooling_layer=False), hf.ViTImageProcessor(size=SQUARE)


def clip():
    sides = {"size": {"shortest_edge": SIDE + 4}, "crop_size": SQUARE}
    return hf.CLIPModel(hf.CLIPConfig(**clip_towers())), hf.CLIPImageProcessor(**sides)


def siglip():
    towers = clip_towers()
    del towers["projection_dim"]
    towers["text_config"]["projection_size"] = 16
    return hf.SiglipModel(hf.SiglipConfig(**towers)), hf.SiglipImageProcessor(size=SQUARE)


def tokenizer():
    """Spells every word."""
    letters = [*"abcdefghijklmnopqrstuvwxyz."]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    return hf.CLIPTokenizer(vocab={word: place for place, word in enumerate(words)}, merges=[])


def save_open_clip(folder):
    """Write a model as open_clip's `push_to_hf_hub` does, and return its name."""
    torch.manual_seed(0)
    vision = {"image_size": SIDE, "layers": 2, "width": 16, "patch_size": 8, "head_width": 8}
    text = {"context_length": 20, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1}
    model = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    norm = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.4]}
    folder.mkdir()
    config = {"model_cfg": model, "preprocess_cfg": norm}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(open_clip.CLIP(**model).state_dict(), folder / "open_clip_model.safetensors")
    return f"local-dir:{folder}"


def save(make, folder, **options):
    """Write a model and its image processor to a folder, and return its path."""
    torch.manual_seed(0)
    network, processor = make(**options)
    path = folder / make.__name__
    for weight in network.parameters():
        if weight.ndim > 1:
            torch.nn.init.xavier_normal_(weight)  # as they begin, gradients nearly vanish
    network.eval().save_pretrained(path)
    processor.save_pretrained(path)
    if make in (clip, siglip):
        tokenizer().save_pretrained(path)
    return str(path)
