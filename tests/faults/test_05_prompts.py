"""Prompts and names: the tokens are the reference's whatever is typed, and text never becomes anything but text."""

from __future__ import annotations

import random
import re
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest
from driver import contents

from i2v_mlx.events import Done, Failed
from i2v_mlx.frames import read_recipe
from i2v_mlx.parts.tokenizer import Tokenizer

ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz ", "The cat's 42 DOGS, zoom-in! ", "àéîõüßçñøåÆŒİı ", "ãé́ﬁﬀ½²①Ｗｉｄｅ ",
    "猫が走る 고양이 汉字",
    "قطة تجري שלום \u200f\u202e ", "🐱👩\u200d👩\u200d👧🏳️\u200d🌈👍🏽🇩🇪 ", "\0\x01\x1b\x7f\x85\xa0\u200b\u2028\ufeff ",
    "<|startoftext|><|endoftext|></w> ", "\ud800\udfff\udc00\ud83d a", " \t\n\r\f\v\u3000",
    "".join(map(chr, range(32, 127))),
    "i\u0307ŉǰΐẖ ΑΣ ΣΑΣ",
)


def strings(count: int) -> list[str]:
    """A letter here and there from another alphabet; lengths from none to more than fits."""
    rng, made = random.Random(5), []
    for number in range(count):
        alphabet = ALPHABETS[number % len(ALPHABETS)]
        length = rng.choice([0, 1, 2, 3, 5, 8, 13, 40, 100, 300])
        letters = [chr(rng.randrange(1, 0x110000)) if rng.random() < 0.02 else rng.choice(alphabet)
                   for _ in range(length)]
        made.append("".join(letters))
    return made


def test_tokens_are_the_references(model, cases):
    """5,000 strings; the reference itself takes no halves of surrogate pairs: there they are U+FFFD."""
    from transformers import CLIPTokenizer

    reference = CLIPTokenizer.from_pretrained(model / "tokenizer", local_files_only=True,
                                              clean_up_tokenization_spaces=False)
    ours = Tokenizer(model / "tokenizer")
    texts = ["", *strings(4_990), *("a" * 10_000, "\0" * 500, "🐱" * 500, "é" * 500, "e\u0301" * 500),
             "the cat " * 131_072, " " * 2**20, "\ud800" * 1000, "a " * 1000]
    for start in range(0, len(texts), 100):
        some = texts[start:start + 100]
        valid = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in some]
        expected = reference(valid, padding="max_length", max_length=ours.max_length, truncation=True,
                             return_tensors="np").input_ids
        found = ours.encode(some)
        different = [text for text, row in zip(some, (found.ids != expected).any(1), strict=True) if row]
        assert different == []
        for text, left in zip(valid, found.dropped, strict=True):
            assert text.strip().endswith(left)
    assert np.array_equal(ours.encode(["\ud83d\ude00"]).ids, ours.encode(["\N{GRINNING FACE}"]).ids)
    assert len(texts) >= 5000
    cases(len(texts))


PROMPTS = (
    "", "   ", "../../escaped", "/etc/passwd", "-y", "-f null -", "--version", "; touch escaped", "$(touch escaped)",
    "`touch escaped`", "| touch escaped", "&& touch escaped", "tcp:127.0.0.1:9", "concat:/etc/passwd", "%d",
    "%(x)s {0} {x!r}",
    "\n[STREAM]\nescaped=1", ";FFMETADATA1\ncomment=escaped", "comment=escaped\\\nencoder=#;=", "C:\\CON", "~root",
    "<img src='http://127.0.0.1:9/x'>", "<b>bold</b>&amp;<script>x</script>", "\x1b[2J\x1b]0;escaped\x07", "\0", "a\0b",
    "\ud800", "\u202egpj.exe", "🐱" * 80, "a" * 10_000, '"},{"app":"evil"', "null", "\\", "'\"`$\\\n",
)


@pytest.fixture
def told(place, tmp_path):
    """An ffmpeg that writes down what it is started with; (environment, file)."""
    program, seen = tmp_path / "ffmpeg.sh", tmp_path / "told"
    real = imageio_ffmpeg.get_ffmpeg_exe()
    program.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" >>'{seen}'\nexec '{real}' \"$@\"\n")
    program.chmod(0o755)
    return {"IMAGEIO_FFMPEG_EXE": str(program)}, seen


def test_a_prompt_is_only_ever_a_prompt(place, told, tmp_path, cases):
    """Not a path, an option, a command, a line of a metadata file: it comes back from the recipe as it was typed."""
    environment, seen = told
    worker = place.worker(env=environment)
    around = {path for path in place.root.rglob("*") if place.out not in path.parents}
    arguments = None
    for number, prompt in enumerate(PROMPTS):
        request = place.request(prompt=prompt, negative_prompt=prompt, num_frames=2, num_inference_steps=1)
        name = "clip.mp4" if number % 3 == 0 or "\n" in prompt or prompt.startswith("-") else "clip"
        last = worker.run(request, f"job-{number}", name)
        assert isinstance(last, Done), (prompt, last)
        assert place.left() == {name}
        assert read_recipe(place.out / name)["request"]["prompt"] == prompt
        place.remove(name)
        if name == "clip.mp4":             # its encoder is told the same whatever the prompt is
            found = re.sub(r"\d+-[0-9a-f]{8}\.part", "", seen.read_text())        # the temporary name
            assert arguments in (None, found) and found.count("file:") > 2, prompt
            arguments = found
            seen.unlink()
    assert {path for path in place.root.rglob("*") if place.out not in path.parents} == {*around} | {
        path for path in place.tmp.rglob("*")}
    assert not Path("escaped").exists() and not list(place.root.parent.glob("**/escaped*"))
    place.check()
    cases(len(PROMPTS))


def test_a_prompt_of_a_megabyte_is_an_error_before_the_work(place):
    failed = place.worker().run(place.request(prompt="a cat " * 2**18), "a")
    assert isinstance(failed, Failed) and failed.code == "recipe_too_large"
    place.check()


NAMES = ("-x", "-x.mp4", "tcp:evil.mp4", "%d.mp4", "%04d", "concat:a|b.mp4", "a b.gif", "é.webp", "e\u0301.mov", "🎬",
         "new\nline.mp4", "'\"`$();&|.mp4", "\u202egpm.webp", "\x1b[2J", "a" * 200 + ".mp4", "é" * 100 + ".webp",
         "...mp4", "[0:v].mp4", "clip.WEBP", "a=b;#\\.mp4")


def test_a_name_is_only_ever_a_name(place, cases):
    """Not an option of ffmpeg, a protocol, a pattern: the file has exactly the name that was given."""
    worker = place.worker()
    for number, name in enumerate(NAMES):
        last = worker.run(place.request(num_inference_steps=1), f"job-{number}", name)
        assert isinstance(last, Done), (name, last)
        assert len(place.left()) == 1
        place.is_whole(name)
        place.remove(next(iter(place.left())))
    place.check()
    cases(len(NAMES))


def test_on_the_command_line_too(place, whole, cases):
    """Values that begin with a dash or hold a control character, and a note about words that did not fit."""
    process = place.cli(*place.generate_arguments("clip"), "--negative-prompt=-f null - \x9b\u202e", "--prompt",
                        "\x1b[2J zoom in " * 80)
    out, said = process.communicate(timeout=60)
    assert process.returncode == 0 and "\x1b" not in said + out and "\\x1b" in said
    assert contents(place.out / "clip").keys() == whole.keys()
    for file, code in (("out/clip", 0), ("\x1b[2J.mp4", 1)):
        process = place.cli("info", place.root / file)
        out, said = process.communicate(timeout=60)
        assert process.returncode == code and (out + said).replace("\n", "").isprintable()
    place.check("clip")
    cases(3)


def test_no_label_of_the_app_guesses_whether_it_is_markup():
    """Labels are of one class, which shows plain text, and a tool tip with somebody's words is escaped."""
    for path in (Path(__file__).parents[2] / "gui").glob("*.py"):
        text = path.read_text("utf-8")
        if path.name != "labels.py":
            assert not re.search(r"\bQLabel\(|RichText|setHtml|MarkdownText", text), path.name
