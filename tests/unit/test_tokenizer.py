"""The tokenizer, on a small vocabulary in the layout of the hub, against the call that diffusers' pipeline makes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from i2v_mlx.errors import I2VError
from i2v_mlx.parts.tokenizer import Tokenizer

MERGES = ["c a", "ca t</w>", "d o", "do g</w>", "t h", "th e</w>", "ca t"]
START, END = "<|startoftext|>", "<|endoftext|>"

TEXTS = {
    "empty": "",
    "spaces": " \t\n ",
    "words": "A Cat, the DOG's cat!  42 dogs",
    "accents": "Ünï cöde e\u0301",
    "emoji": "cat 🐱👩‍👩‍👧 dog",
    "cjk": "猫が走る 고양이",
    "arabic": "قطة تجري",
    "nul": "cat\0dog",
    "control": "cat\x1cdog\x85the\u200bcat",
    "special tokens": f"cat {END} dog {START}",
    "exactly full": "cat " * 75,
    "one too many": "cat " * 76,
    "long": "the cat saw a dog and " * 40,
    "one long word": "cat" * 500,
}


def save(folder: Path, *, length: int = 77) -> Path:
    """As in the hub: the dictionaries are those that transformers 4 wrote, and there is no tokenizer.json."""
    alphabet = sorted(ByteLevel.alphabet())
    pieces = [*alphabet, *(a + "</w>" for a in alphabet), *(m.replace(" ", "") for m in MERGES), START, END]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}))
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]))

    def token(content: str) -> dict:
        return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}

    special = {"bos_token": START, "eos_token": END, "unk_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps({
        **{name: {"__type": "AddedToken", **token(content)} for name, content in special.items()},
        "pad_token": END, "model_max_length": length, "do_lower_case": True, "add_prefix_space": False,
        "clean_up_tokenization_spaces": True, "tokenizer_class": "CLIPTokenizer", "errors": "replace",
    }))  # fmt: skip
    (folder / "special_tokens_map.json").write_text(json.dumps({n: token(c) for n, c in special.items()}))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save(tmp_path_factory.mktemp("model") / "tokenizer")


@pytest.fixture(scope="module")
def tokenizer(folder) -> Tokenizer:
    return Tokenizer(folder)


@pytest.fixture(scope="module")
def reference(folder) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True, clean_up_tokenization_spaces=False)


def reference_ids(reference: CLIPTokenizer, texts: list[str]) -> np.ndarray:
    return reference(texts, padding="max_length", max_length=77, truncation=True, return_tensors="np").input_ids


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_ids_are_those_of_the_reference(tokenizer, reference, text):
    ids = tokenizer.encode([text]).ids
    assert ids.dtype == np.int32
    np.testing.assert_array_equal(ids, reference_ids(reference, [text]))


def test_several_prompts(tokenizer, reference):
    texts = list(TEXTS.values())
    np.testing.assert_array_equal(tokenizer.encode(texts).ids, reference_ids(reference, texts))


def test_layout_of_a_row(tokenizer):
    ids = tokenizer.encode(["cat dog"]).ids[0].tolist()
    cat, dog = 512 + 1, 512 + 3  # after the alphabet and the alphabet at a word's end
    start, end = 512 + len(MERGES), 512 + len(MERGES) + 1
    assert ids == [start, cat, dog, *[end] * 74]


def test_the_original_pads_with_zero(folder, tokenizer):
    padded = Tokenizer(folder, pad_token_id=0).encode(["cat dog"]).ids[0]
    np.testing.assert_array_equal(padded[:4], tokenizer.encode(["cat dog"]).ids[0, :4])
    assert padded[4:].tolist() == [0] * 73


def test_words_that_do_not_fit_come_back_as_typed(tokenizer):
    fits = "cat " * 75
    assert tokenizer.encode([fits, fits + "The Dog🐱  ran", "cat"]).dropped == ["", "The Dog🐱  ran", ""]


def test_count(tokenizer):
    assert [tokenizer.count(text) for text in ("", "cat", "the cat dog", "cat " * 76)] == [0, 1, 3, 76]


def test_text_that_is_no_unicode(tokenizer):
    found = tokenizer.encode(["\ud800 cat \udfff", "\ud83d\udc31", "cat " * 80 + "\udc00"])
    expected = tokenizer.encode(["\ufffd cat \ufffd", "🐱", "cat " * 80 + "\ufffd"])
    np.testing.assert_array_equal(found.ids, expected.ids)
    assert found.dropped == expected.dropped


@pytest.mark.parametrize(
    "text", ["The cat " * 130_000, " " * 1_000_000 + "cat dog", "cat " + " " * 1_000_000 + "dog " * 2000]
)
def test_a_megabyte_of_text(tokenizer, reference, text):
    found = tokenizer.encode([text])
    np.testing.assert_array_equal(found.ids, reference_ids(reference, [text]))
    assert text.strip().endswith(found.dropped[0])
    assert tokenizer.count(text) <= 1000


def test_a_folder_that_transformers_5_wrote(tmp_path, reference, tokenizer):
    reference.save_pretrained(tmp_path / "tokenizer")
    assert not (tmp_path / "tokenizer" / "vocab.json").exists()
    texts = list(TEXTS.values())
    np.testing.assert_array_equal(Tokenizer(tmp_path / "tokenizer").encode(texts).ids, tokenizer.encode(texts).ids)


@pytest.mark.parametrize("name", ["vocab.json", "merges.txt", "tokenizer_config.json"])
def test_a_missing_file_is_named(tmp_path, name):
    (save(tmp_path / "tokenizer") / name).unlink()
    with pytest.raises(I2VError, match=name) as caught:
        Tokenizer(tmp_path / "tokenizer")
    assert caught.value.code == "model_incomplete"


def test_a_missing_folder(tmp_path):
    with pytest.raises(I2VError) as caught:
        Tokenizer(tmp_path / "nothing")
    assert caught.value.code == "model_incomplete"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer_config.json", b"{"), ("tokenizer_config.json", b"[]"), ("tokenizer_config.json", b"{}"),
        ("tokenizer_config.json", b"\xff"), ("tokenizer_config.json", b'{"model_max_length": 1e30}'),
        ("vocab.json", b"{"), ("vocab.json", b"[]"), ("vocab.json", b'{"a": "b"}'), ("vocab.json", b"\xff"),
        ("merges.txt", b"no_pair\n"), ("merges.txt", b"#version\nq unknown\n"),
    ],
)  # fmt: skip
def test_a_broken_file(tmp_path, name, content):
    (save(tmp_path / "tokenizer") / name).write_bytes(content)
    with pytest.raises(I2VError) as caught:
        Tokenizer(tmp_path / "tokenizer").check(positions=77, vocab_size=600)
    assert caught.value.code == "tokenizer_unreadable"


def test_check(folder, tokenizer, tmp_path):
    size = 512 + len(MERGES) + 2
    tokenizer.check(positions=77, vocab_size=size)
    for wrong, positions, vocab_size in (
        (tokenizer, 77, size - 1),
        (tokenizer, 76, size),
        (Tokenizer(save(tmp_path / "tokenizer", length=78)), 77, size),
        (Tokenizer(folder, pad_token_id=size), 77, size),
    ):
        with pytest.raises(I2VError) as caught:
            wrong.check(positions, vocab_size)
        assert caught.value.code == "tokenizer_mismatch"


def test_counting_needs_neither_mlx_nor_torch(folder):
    code = (
        "import sys; from i2v_mlx.parts.tokenizer import Tokenizer; t = Tokenizer(sys.argv[1])\n"
        "assert 'transformers' not in sys.modules\n"
        "assert t.count('the cat') == 2\n"
        "assert not {'mlx', 'mlx.core', 'torch'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
