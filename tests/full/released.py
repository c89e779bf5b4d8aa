"""The released model's configuration, as its config.json files have it (ali-vilab/i2vgen-xl at 39e1979)."""

from __future__ import annotations

from typing import Any

CONFIGS: dict[str, dict[str, Any]] = {
    "text_encoder": {
        "vocab_size": 49408, "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24,
        "num_attention_heads": 16, "max_position_embeddings": 77, "hidden_act": "gelu", "layer_norm_eps": 1e-5,
        "projection_dim": 1024,
    },
    "image_encoder": {
        "hidden_size": 1280, "intermediate_size": 5120, "num_hidden_layers": 32, "num_attention_heads": 16,
        "image_size": 224, "patch_size": 14, "num_channels": 3, "hidden_act": "gelu", "layer_norm_eps": 1e-5,
        "projection_dim": 1024,
    },
    "unet": {
        "in_channels": 4, "out_channels": 4, "block_out_channels": [320, 640, 1280, 1280],
        "down_block_types": ["CrossAttnDownBlock3D"] * 3 + ["DownBlock3D"],
        "up_block_types": ["UpBlock3D"] + ["CrossAttnUpBlock3D"] * 3,
        "layers_per_block": 2, "norm_num_groups": 32, "cross_attention_dim": 1024, "attention_head_dim": 64,
        "num_attention_heads": 64, "sample_size": 32,
    },
    "vae": {
        "in_channels": 3, "out_channels": 3, "latent_channels": 4, "block_out_channels": [128, 256, 512, 512],
        "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
        "layers_per_block": 2, "norm_num_groups": 32, "act_fn": "silu", "sample_size": 768,
        "scaling_factor": 0.18125,
    },
    "scheduler": {
        "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "squaredcos_cap_v2",
        "prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "leading",
        "steps_offset": 1, "set_alpha_to_one": True, "clip_sample": False,
    },
    "feature_extractor": {
        "crop_size": {"height": 224, "width": 224}, "size": {"shortest_edge": 224}, "resample": 3,
        "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711],
    },
}  # fmt: skip
