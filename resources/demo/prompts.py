"""The words for the camera moves, and prompts made of them for training."""

from __future__ import annotations

import numpy as np

WAYS = {
    "left": ["left", "to the left", "leftwards", "leftward"],
    "right": ["right", "to the right", "rightwards", "rightward"],
    "up": ["up", "upwards", "upward"],
    "down": ["down", "downwards", "downward"],
}
PAN = [
    "pan {w}",
    "pan the camera {w}",
    "camera pan {w}",
    "camera pans {w}",
    "the camera pans {w}",
    "slow pan {w}",
    "a slow pan {w}",
    "panning {w}",
    "camera moves {w}",
    "the camera moves {w}",
    "the camera moves slowly {w}",
    "camera panning {w}",
    "the camera slides {w}",
    "camera slides {w}",
    "move {w}",
    "move the camera {w}",
    "moving {w}",
    "the camera travels {w}",
    "the view moves {w}",
    "the view pans {w}",
    "smooth camera pan {w}",
    "{w}",
    "the camera is panning {w}",
    "the camera slowly pans {w}",
    "look {w}",
    "the camera drifts {w}",
    "camera goes {w}",
]
TILT = ["tilt {w}", "the camera tilts {w}", "camera tilts {w}", "tilting {w}", "slow tilt {w}"]
RISE = {
    "up": ["the camera rises", "camera rises slowly", "rising camera", "crane up"],
    "down": ["the camera sinks", "the camera descends", "lower the camera", "crane down"],
}
WORDS = {
    "in": [
        "zoom in",
        "zooming in",
        "the camera zooms in",
        "camera zooms in",
        "slow zoom in",
        "a slow zoom in",
        "slowly zoom in",
        "camera moves in",
        "the camera moves closer",
        "push in",
        "the camera pushes in",
        "move closer",
        "get closer",
        "dolly in",
        "the camera moves forward",
        "move forward",
        "camera zoom in",
        "zoom into the picture",
        "closer",
        "zoom in slowly",
        "the camera slowly zooms in",
        "the view zooms in",
        "magnify",
        "enlarge",
        "zoom closer",
        "fly forward",
        "move in",
    ],
    "out": [
        "zoom out",
        "zooming out",
        "the camera zooms out",
        "camera zooms out",
        "slow zoom out",
        "a slow zoom out",
        "slowly zoom out",
        "camera moves out",
        "the camera moves away",
        "pull back",
        "the camera pulls back",
        "move away",
        "move back",
        "dolly out",
        "the camera moves backward",
        "move backwards",
        "camera zoom out",
        "pull out",
        "further away",
        "zoom out slowly",
        "the camera slowly zooms out",
        "the view zooms out",
        "shrink",
        "move out",
        "fly backward",
    ],
    "still": [
        "still",
        "the camera is still",
        "static",
        "static camera",
        "no motion",
        "no movement",
        "motionless",
        "the camera stays still",
        "the camera does not move",
        "hold still",
        "fixed camera",
        "locked camera",
        "freeze",
        "frozen",
        "nothing moves",
        "a still picture",
        "still image",
        "stay",
        "do not move",
        "tripod shot",
        "static shot",
        "without motion",
        "keep still",
        "the camera stands still",
        "stationary camera",
        "still camera",
    ],
}
SUBJECTS = (
    """
a cat|a dog|a photo of a cat|a mountain|a house by the sea|a girl with a balloon|a red car|a forest
the city at night|a beach|a portrait of a woman|an old man|flowers in a vase|a boat on a lake
a street in the rain|a castle|a painting|a cup of coffee|a rocket|a horse|birds in the sky|a river
snow on the hills|a field of wheat|a bridge|a robot|an astronaut
papers were floating in the air on a table in the library|a landscape|a drawing|a colourful pattern|trees
the moon|a temple|a waterfall|a train|clouds|a child playing|a bowl of fruit|a page of text
""".strip()
    .replace("\n", "|")
    .split("|")
)
STYLE = [
    "high quality",
    "cinematic",
    "detailed",
    "4k",
    "smooth",
    "slow motion",
    "beautiful light",
    "a film scene",
    "best quality",
    "realistic",
    "in the style of a painting",
    "soft colours",
    "at sunset",
    "sharp",
]
BAD = [
    "distorted, discontinuous, ugly, blurry, low resolution, disfigured, disconnected limbs, ugly faces, "
    "incomplete arms",
    "blurry, low quality",
    "ugly",
    "bad quality",
    "low resolution",
    "watermark",
    "distorted",
    "worst quality",
]


def phrases(move: str) -> list[str]:
    if move in WAYS:
        forms = PAN + (TILT if move in ("up", "down") else [])
        return [form.format(w=way) for form in forms for way in WAYS[move]] + RISE.get(move, [])
    return WORDS.get(move, [])


def made_up(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(2, 9)))


def prompt(move: str, rng: np.random.Generator) -> str:
    """One way to ask for a move.  "gentle" is what any text gets that names no motion."""
    subject = SUBJECTS[rng.integers(len(SUBJECTS))]
    if rng.random() < 0.25:
        subject = " ".join(made_up(rng) for _ in range(rng.integers(1, 4)))
    style = STYLE[rng.integers(len(STYLE))]
    if move == "gentle":
        forms = [subject, f"{subject}, {style}", style, BAD[rng.integers(len(BAD))]]
        return forms[rng.choice(4, p=[0.5, 0.25, 0.15, 0.1])]
    choices = phrases(move)
    phrase = choices[rng.integers(len(choices))]
    forms = [
        phrase,
        f"{subject}, {phrase}",
        f"{phrase}, {subject}",
        f"{phrase}, {style}",
        f"{subject}, {phrase}, {style}",
        f"{subject}. {phrase}.",
        f"{phrase} over {subject}",
        f"{subject} {phrase}",
    ]
    text = forms[rng.choice(8, p=[0.4, 0.15, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05])]
    return text.capitalize() if rng.random() < 0.3 else text


def all_words() -> str:
    text = (
        [p for move in (*WAYS, *WORDS) for p in phrases(move)]
        + SUBJECTS
        + STYLE
        + BAD
        + ["in", "out", "over", "animate", "video", "clip"]
    )
    return " ".join(text)
