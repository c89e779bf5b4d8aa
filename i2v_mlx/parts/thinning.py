"""Guidance with fewer evaluations: the unconditional branch rests in some of the later steps.

Guidance is v = v_- + s (v_+ - v_-), equation 6 of arXiv 2207.12598. The difference changes little once the video's
layout is settled, so it is held there, in v space, and measured anew on chosen steps (as the CFG cache of arXiv
2410.19355). It is never dropped: that would make another video.
"""

from __future__ import annotations


def both_branches(steps: int, refresh: int) -> list[bool]:
    """Whether step i evaluates both branches: all of the first half do, and of the others every `refresh`-th.

    With `refresh` 1 all do, which is the reference. With 3, of 16 steps the first 8 and 9, 12 and 15 do (from 0).
    """
    dense = (steps + 1) // 2
    rest = min(1, refresh - 1)    # the step after a dense half has a fresh difference to hold
    return [i < dense or (i - dense) % refresh == rest for i in range(steps)]
