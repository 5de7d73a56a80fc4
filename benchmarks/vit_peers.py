"""One vision transformer as every library writes it: the same random weights behind each of them.

``twins`` makes ours, timm's and transformers'; ``others`` open_clip's and torch's own; ``compiled`` and ``exported``
what needs seconds to minutes before its first answer. Each peer is a function of the pixels that returns the tokens.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

import unimodal

__all__ = ["compiled", "exported", "others", "twins"]

Run = Callable[[Tensor], Tensor]


def twins(width: int, depth: int, heads: int) -> tuple[Any, Any, Any]:
    """transformers' ViT with random weights, timm's and ours with the same."""
    import timm
    import transformers

    config = transformers.ViTConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        layer_norm_eps=1e-6,
    )
    theirs = transformers.ViTModel(config, add_pooling_layer=False).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    with tempfile.TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        ours = unimodal.load(f"transformers:{folder}")
    other = timm.create_model(
        "vit_tiny_patch16_224", embed_dim=width, depth=depth, num_heads=heads, num_classes=0
    ).eval()
    other.load_state_dict(_as_timm(ours, theirs))
    return theirs, other, ours


def others(timm: Any, width: int, depth: int, heads: int) -> dict[str, Run]:
    """open_clip's vision tower and torch.nn.TransformerEncoder with timm's weights."""
    from open_clip.transformer import VisionTransformer

    state = timm.state_dict()
    tower = VisionTransformer(224, 16, width, depth, heads, 4.0, no_ln_pre=True, output_tokens=True).eval()
    tower.proj = None
    last = nn.LayerNorm(width, eps=1e-6)
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", layer_norm_eps=1e-6, batch_first=True, norm_first=True
        ),
        depth,
        norm=last,
        enable_nested_tensor=False,
    ).eval()
    for blocks, word in ((tower.transformer.resblocks, "resblocks"), (encoder.layers, "layers")):
        for i, block in enumerate(blocks):
            block.load_state_dict(_as_torch(state, i, open_clip=word == "resblocks"))
    # open_clip's patches have no bias: it goes into their positions.
    bias, table = state["patch_embed.proj.bias"], state["pos_embed"][0].clone()
    with torch.no_grad():
        tower.conv1.weight.copy_(state["patch_embed.proj.weight"])
        tower.class_embedding.copy_(state["cls_token"][0, 0])
        table[1:] += bias
        tower.positional_embedding.copy_(table)
        for norm in (tower.ln_post, last):
            norm.load_state_dict({"weight": state["norm.weight"], "bias": state["norm.bias"]})
    for module in tower.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = 1e-6

    def of_open_clip(pixels: Tensor) -> Tensor:
        pooled, tokens = tower(pixels)
        return torch.cat([pooled[:, None], tokens], dim=1)

    def of_torch(pixels: Tensor) -> Tensor:
        return encoder(timm._pos_embed(timm.patch_embed(pixels)))

    return {"open_clip": of_open_clip, "nn.TransformerEncoder": of_torch}


def compiled(timm: Any) -> Run:
    """timm's model through torch.compile with its weights frozen into the program."""
    import torch._inductor.config as settings

    settings.freezing = True
    return torch.compile(timm.forward_features)


def exported(timm: Any, pixels: Tensor) -> tuple[dict[str, Run], dict[str, str]]:
    """timm's model by way of ONNX in onnxruntime and openvino (also in bfloat16), and why some are left out."""
    found: dict[str, Run] = {}
    absent: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "vit.onnx")
        try:
            torch.onnx.export(_Features(timm), (pixels,), file, dynamo=True, verbose=False, external_data=False)
        except Exception as error:  # no onnx, no onnxscript
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            return {}, dict.fromkeys(("onnxruntime", "openvino", "openvino bf16"), reason)
        for names, make in ((("onnxruntime",), _onnxruntime), (("openvino", "openvino bf16"), _openvino)):
            try:
                found |= make(file)
            except ImportError as error:
                absent |= dict.fromkeys(names, str(error))
    return found, absent


class _Features(nn.Module):
    def __init__(self, timm: Any) -> None:
        super().__init__()
        self.timm = timm

    def forward(self, pixels: Tensor) -> Tensor:
        return self.timm.forward_features(pixels)


def _onnxruntime(file: str) -> dict[str, Run]:
    import onnxruntime  # pyright: ignore[reportMissingImports]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return {"onnxruntime": lambda pixels: torch.from_numpy(session.run(None, {given.name: pixels.numpy()})[0])}


def _openvino(file: str) -> dict[str, Run]:
    import openvino  # pyright: ignore[reportMissingImports]

    core, found = openvino.Core(), {}
    model = core.read_model(file)
    for name, precision in (("openvino", "f32"), ("openvino bf16", "bf16")):
        settings = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": precision}
        program = core.compile_model(model, "CPU", settings | {"NUM_STREAMS": 1})
        found[name] = lambda pixels, program=program: torch.from_numpy(program([pixels.numpy()])[0])
    return found


def _as_timm(ours: Any, theirs: Any) -> dict[str, Tensor]:
    """Our tensors under timm's names; the class token and its position come from the peer, where they are apart."""
    words = {
        "transformer.": "",
        "norm_mixer": "norm1",
        "norm_ffn": "norm2",
        "mixer.to_qkv": "attn.qkv",
        "mixer.to_out": "attn.proj",
        "ffn.to_hidden": "mlp.fc1",
        "ffn.to_out": "mlp.fc2",
        "tokenizers.image.stem.project": "patch_embed.proj",
    }
    state = {}
    for name, tensor in ours.state_dict().items():
        for word, replacement in words.items():
            name = name.replace(word, replacement)
        state[name] = tensor
    del state["prefix.tokens"], state["positions.image.table"]
    embeddings = theirs.embeddings
    return state | {
        "cls_token": embeddings.cls_token.detach(),
        "pos_embed": embeddings.position_embeddings.detach(),
    }


def _as_torch(state: dict[str, Tensor], i: int, *, open_clip: bool) -> dict[str, Tensor]:
    """timm's block i under the names of torch's encoder layer, or of open_clip's block."""
    attention, norm, hidden, out = ("attn.", "ln_", "mlp.c_fc", "mlp.c_proj") if open_clip else (
        "self_attn.", "norm", "linear1", "linear2"
    )  # fmt: skip
    found = {}
    for kind in ("weight", "bias"):
        found |= {
            f"{attention}in_proj_{kind}": state[f"blocks.{i}.attn.qkv.{kind}"],
            f"{attention}out_proj.{kind}": state[f"blocks.{i}.attn.proj.{kind}"],
            f"{norm}1.{kind}": state[f"blocks.{i}.norm1.{kind}"],
            f"{norm}2.{kind}": state[f"blocks.{i}.norm2.{kind}"],
            f"{hidden}.{kind}": state[f"blocks.{i}.mlp.fc1.{kind}"],
            f"{out}.{kind}": state[f"blocks.{i}.mlp.fc2.{kind}"],
        }
    return found
