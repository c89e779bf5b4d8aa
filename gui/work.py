"""How much work a video is, counted in evaluations of the network. Some steps take nearly two, others one."""

from __future__ import annotations

from i2v_mlx.parts.thinning import both_branches
from i2v_mlx.request import Request

BOTH = 1.91                    # what the two branches of guidance share is computed once: a tenth of the network


def of_steps(request: Request) -> list[float]:
    """For each step."""
    guided = request.guidance_scale > 1
    return [BOTH if guided and both else 1.0
            for both in both_branches(request.num_inference_steps, request.guidance_refresh)]
