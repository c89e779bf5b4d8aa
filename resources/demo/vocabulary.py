"""The tokenizer: a small BPE of bytes in CLIP's format. Every byte has two units (inside and at the end of a word), so
that any text tokenises; the merges make whole tokens of the words that `prompts` uses."""

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import prompts
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"


def byte_units() -> list[str]:
    """CLIP's and GPT-2's printable stand-ins for the 256 bytes."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    extra = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + k) for k in range(len(extra))]


def learn_merges(text: str, limit: int = 700) -> list[tuple[str, str]]:
    counts = Counter("".join(c if c.isalnum() else " " for c in text.lower()).split())
    words = {word: [*word[:-1], word[-1] + "</w>"] for word in counts}
    merges = []
    while len(merges) < limit:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in words.items():
            for pair in pairwise(parts):
                pairs[pair] += counts[word]
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        for word, parts in words.items():
            joined: list[str] = []
            k = 0
            while k < len(parts):
                if tuple(parts[k : k + 2]) == best:
                    joined.append(parts[k] + parts[k + 1])
                    k += 2
                else:
                    joined.append(parts[k])
                    k += 1
            words[word] = joined
    return merges


def write(folder: Path) -> dict[str, int]:
    folder.mkdir(parents=True, exist_ok=True)
    units, merges = byte_units(), learn_merges(prompts.all_words())
    tokens = units + [unit + "</w>" for unit in units] + ["".join(pair) for pair in merges]
    vocabulary = {token: k for k, token in enumerate(dict.fromkeys(tokens))}
    vocabulary[START], vocabulary[END] = len(vocabulary), len(vocabulary) + 1
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                **special,
                "add_prefix_space": False,
                "do_lower_case": True,
                "errors": "replace",
                "model_max_length": 77,
                "tokenizer_class": "CLIPTokenizer",
            },
            indent=2,
        )
        + "\n"
    )
    return vocabulary


def load(folder: Path) -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(str(folder))
