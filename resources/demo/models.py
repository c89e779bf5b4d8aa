"""The demo model's networks: their sizes, how they begin, and what is switched off while they learn."""

from __future__ import annotations

from types import MethodType

import torch
from diffusers import AutoencoderKL, DDIMScheduler, I2VGenXLUNet
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

WIDTH = 64  # of text states, image embedding and cross attention


def autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 32, 48),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=96,
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        scaling_factor=1.0,
    )


def unet() -> I2VGenXLUNet:
    return I2VGenXLUNet(
        sample_size=24,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 64, 64),
        layers_per_block=2,
        norm_num_groups=4,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        down_block_types=("DownBlock3D", "DownBlock3D", "CrossAttnDownBlock3D"),
        up_block_types=("CrossAttnUpBlock3D", "UpBlock3D", "UpBlock3D"),
    )


def text_encoder(vocabulary: dict[str, int]) -> CLIPTextModel:
    size = len(vocabulary)
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=size,
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=77,
            hidden_act="gelu",
            bos_token_id=vocabulary["<|startoftext|>"],
            eos_token_id=vocabulary["<|endoftext|>"],
            pad_token_id=vocabulary["<|endoftext|>"],
        )
    )


def image_encoder() -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=WIDTH,
            intermediate_size=2 * WIDTH,
            projection_dim=WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=56,
            patch_size=14,
            hidden_act="gelu",
        )
    )


def scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="leading",
        steps_offset=1,
        set_alpha_to_one=True,
        clip_sample=False,
    )


def time_layers(net: I2VGenXLUNet) -> list[torch.nn.Module]:
    """The layers that mix frames below the entrance: temporal convolutions and the blocks' temporal transformers."""
    blocks = [*net.down_blocks, net.mid_block, *net.up_blocks]
    return [
        layer for block in blocks for name in ("temp_convs", "temp_attentions") for layer in getattr(block, name, [])
    ]


def start_as_identity(net: I2VGenXLUNet) -> None:
    """Zero the last layer of every layer of `time_layers`, so that each frame begins as a picture of its own."""
    for layer in time_layers(net):
        last = layer.proj_out if hasattr(layer, "proj_out") else layer.conv4[-1]
        torch.nn.init.zeros_(last.weight)
        torch.nn.init.zeros_(last.bias)


def skip_time_layers(net: I2VGenXLUNet) -> None:
    """Those layers stay the identity and need not be computed."""
    for layer in time_layers(net):
        same = _same_in_tuple if hasattr(layer, "proj_out") else _same
        layer.forward = MethodType(same, layer)


def _same(_layer, x, *_, **__):
    return x


def _same_in_tuple(_layer, x, *_, **__):
    return (x,)


def start_as_average(vae: AutoencoderKL, constant: float = 3.0) -> None:
    """Begin as a plain resampler: latents 0-2 are colours averaged over 4x4 pixels, the decoder enlarges them smoothly.

    The residual branches start at zero. The two GroupNorms that stand in the main path are made harmless by groups of
    [u, -u, A, -A]: their mean is zero, A rules their deviation, and SiLU(u) - SiLU(-u) = u.
    """
    encoder, decoder = vae.encoder, vae.decoder
    smooth = torch.tensor([0.25, 0.5, 0.25])
    smooth = smooth[:, None] * smooth

    def passing(conv, count, kernel=None):
        """The first `count` channels go through `kernel` (3x3) or, without one, unchanged."""
        conv.weight.data.mul_(0.3)
        conv.bias.data.zero_()
        middle = conv.kernel_size[0] // 2
        for k in range(count):
            conv.weight.data[k] = 0
            if kernel is None:
                conv.weight.data[k, k, middle, middle] = 1
            else:
                conv.weight.data[k, k] = kernel

    def paired(conv, count, group):
        """1x1: the first `count` inputs become one group [u, -u, ..., A, -A] each."""
        conv.weight.data.mul_(0.3)
        conv.bias.data.zero_()
        for k in range(count):
            conv.weight.data[k * group : k * group + 2] = 0
            conv.weight.data[k * group, k], conv.weight.data[k * group + 1, k] = 1, -1
            for j, value in ((group - 2, constant), (group - 1, -constant)):
                conv.weight.data[k * group + j] = 0
                conv.bias.data[k * group + j] = value
        return constant * (2 / group) ** 0.5

    def gathering(conv, count, group, gain):
        conv.weight.data[:] *= 0.1
        conv.bias.data.zero_()
        for k in range(count):
            conv.weight.data[k] = 0
            conv.weight.data[k, k * group, 1, 1], conv.weight.data[k, k * group + 1, 1, 1] = gain, -gain

    for module in vae.modules():
        name = type(module).__name__
        if name == "ResnetBlock2D":
            torch.nn.init.zeros_(module.conv2.weight)
            torch.nn.init.zeros_(module.conv2.bias)
        elif name == "Attention":
            torch.nn.init.zeros_(module.to_out[0].weight)
            torch.nn.init.zeros_(module.to_out[0].bias)
    average = torch.zeros(3, 3)
    average[:2, :2] = 0.25
    passing(encoder.conv_in, 3)
    passing(encoder.down_blocks[0].downsamplers[0].conv, 3, average)
    passing(encoder.down_blocks[1].resnets[0].conv_shortcut, 3)
    passing(encoder.down_blocks[1].downsamplers[0].conv, 3, average)
    gathering(encoder.conv_out, 3, 12, paired(encoder.down_blocks[2].resnets[0].conv_shortcut, 3, 12) * 2)
    vae.quant_conv.weight.data.zero_()
    vae.quant_conv.bias.data.zero_()
    for k in range(4):
        vae.quant_conv.weight.data[k, k] = 1
    vae.quant_conv.bias.data[4:] = -9  # a posterior that is nearly a point
    vae.post_quant_conv.weight.data.zero_()
    vae.post_quant_conv.bias.data.zero_()
    for k in range(4):
        vae.post_quant_conv.weight.data[k, k] = 0.5 if k < 3 else 1
    passing(decoder.conv_in, 4)
    passing(decoder.up_blocks[0].upsamplers[0].conv, 4, smooth)
    passing(decoder.up_blocks[1].resnets[0].conv_shortcut, 4)
    passing(decoder.up_blocks[1].upsamplers[0].conv, 4, smooth)
    gathering(decoder.conv_out, 3, 4, paired(decoder.up_blocks[2].resnets[0].conv_shortcut, 3, 4))


@torch.no_grad()
def three_channels(vae: AutoencoderKL) -> None:
    """The fourth channel of the latents is always zero. What an autoencoder puts there is fine detail that does not
    move with the picture; the UNet could not carry it, and made speckle of it."""
    vae.quant_conv.weight[[3, 7]] = 0
    vae.quant_conv.bias[3], vae.quant_conv.bias[7] = 0, -20
    vae.post_quant_conv.weight[:, 3] = 0


def start_as_still(net: I2VGenXLUNet, read: torch.nn.Conv2d, constant: float = 3.0) -> None:
    """Begin with the answer of a camera that stands still and a sample that is all noise: v = -(the picture's latents).

    The last resnet sees the entrance's output through its skip connection; `read` finds the picture's latents there.
    Its 1x1 shortcut hands them on in groups of [u, -u, ..., A, -A], which the last norm leaves alone, see
    `start_as_average`.
    """
    last = net.up_blocks[-1].resnets[-1]
    short, channels = last.conv_shortcut, last.out_channels
    group = channels // net.config.norm_num_groups
    torch.nn.init.zeros_(last.conv2.weight)
    torch.nn.init.zeros_(last.conv2.bias)
    short.weight.data.mul_(0.3)
    short.bias.data.zero_()
    net.conv_out.weight.data.mul_(0.1)
    net.conv_out.bias.data.zero_()
    for k in range(4):
        weight, bias = read.weight.data[4 + k, :, 0, 0], read.bias.data[4 + k]
        for j, sign in ((0, 1), (1, -1)):
            short.weight.data[k * group + j] = 0
            short.weight.data[k * group + j, -channels:, 0, 0] = sign * weight
            short.bias.data[k * group + j] = sign * bias
            net.conv_out.weight.data[k, k * group + j, 1, 1] = -sign * constant * (2 / group) ** 0.5
        for j, sign in ((group - 2, 1), (group - 1, -1)):
            short.weight.data[k * group + j] = 0
            short.bias.data[k * group + j] = sign * constant


def quick_attention() -> None:
    """For thousands of sequences of four frames, torch's attention takes a third of a training step; this less."""
    usual = torch.nn.functional.scaled_dot_product_attention

    def attention(query, key, value, attn_mask=None, **options):
        if query.shape[-2] > 8 or key.shape[-2] > 8 or attn_mask is not None:
            return usual(query, key, value, attn_mask=attn_mask, **options)
        b, h, length, d = query.shape
        q, k, v = (t.permute(2, 3, 0, 1).reshape(t.shape[2], d, b * h) for t in (query, key, value))
        share = ((q[:, None] * k[None]).sum(2) * d**-0.5).softmax(1)
        return (share[:, :, None] * v[None]).sum(1).reshape(length, d, b, h).permute(2, 3, 0, 1)

    torch.nn.functional.scaled_dot_product_attention = attention
