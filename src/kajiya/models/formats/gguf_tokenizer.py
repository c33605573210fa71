"""Tokenizers between GGUF metadata and the ecosystem's `tokenizer.json`.

Two kinds exist in the families supported: SentencePiece-style BPE ("llama": pieces with scores and
byte fallback) and byte-level BPE ("gpt2": pieces with merges and a named pre-tokenizer). Anything
else is refused rather than guessed, since a wrong pre-tokenizer is silent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from kajiya.core.errors import FormatError
from kajiya.core.files import write_json
from kajiya.core.language import tr

CONTROL, USER_DEFINED = 3, 4
_LONGEST_PIECE = 1024  # characters; the ways to cut a piece grow with the square of its length
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _byte_level(name: str) -> pre_tokenizers.PreTokenizer:
    """The pre-tokenizer that llama.cpp calls `name` (`tokenizer.ggml.pre`)."""
    plain = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if name in ("default", "gpt-2"):
        return plain
    if name == "smollm":
        return pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), plain])
    if name == "llama-bpe":
        return pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(_LLAMA3), behavior="isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    raise FormatError(
        tr(f"pre-tokenizer {name!r} is not supported", f"事前分割 {name!r} には対応していません"),
        where="tokenizer.ggml.pre",
        fix=tr(
            "import the model's original folder (safetensors with tokenizer.json) instead",
            "元のモデルのフォルダ (safetensors と tokenizer.json) を取り込んでください",
        ),
    )


def build_tokenizer(meta: Mapping[str, Any]) -> Tokenizer:
    """A fast tokenizer equal to llama.cpp's, from GGUF metadata `tokenizer.ggml.*`."""
    tokens: list[str] = meta["tokenizer.ggml.tokens"]
    kind = meta["tokenizer.ggml.model"]
    if not isinstance(tokens, list) or not all(
        isinstance(token, str) and len(token) <= _LONGEST_PIECE for token in tokens
    ):
        raise FormatError(
            tr("this is no list of tokens", "トークンの一覧ではありません"),
            where="tokenizer.ggml.tokens",
        )
    vocabulary = {token: index for index, token in enumerate(tokens)}
    if kind == "llama":
        tokenizer = _sentencepiece_bpe(meta, tokens, vocabulary)
    elif kind == "gpt2":
        merges = [_pair(merge) for merge in meta["tokenizer.ggml.merges"]]
        tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=merges, fuse_unk=False))
        tokenizer.pre_tokenizer = _byte_level(meta.get("tokenizer.ggml.pre", "default"))
        tokenizer.decoder = decoders.ByteLevel()
    else:
        raise FormatError(
            tr(
                f"tokenizer kind {kind!r} is not supported",
                f"トークナイザ {kind!r} には対応していません",
            ),
            where="tokenizer.ggml.model",
        )
    kinds = meta.get("tokenizer.ggml.token_type") or [1] * len(tokens)
    pairs = list(zip(tokens, kinds, strict=True))
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t, k in pairs if k == CONTROL]
    )
    tokenizer.add_tokens(
        [AddedToken(t, special=False, normalized=False) for t, k in pairs if k == USER_DEFINED]
    )
    return tokenizer


def _sentencepiece_bpe(
    meta: Mapping[str, Any], tokens: list[str], vocabulary: dict[str, int]
) -> Tokenizer:
    unknown = tokens[meta.get("tokenizer.ggml.unknown_token_id", 0)]
    tokenizer = Tokenizer(
        BPE(
            vocab=vocabulary,
            merges=_merges_from_scores(tokens, meta["tokenizer.ggml.scores"], vocabulary),
            unk_token=unknown,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    prefix = meta.get("tokenizer.ggml.add_space_prefix", True)
    spaces = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = (
        normalizers.Sequence([normalizers.Prepend("▁"), spaces]) if prefix else spaces
    )
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if prefix:
        steps.append(decoders.Strip(" ", 1, 0))
    tokenizer.decoder = decoders.Sequence(steps)
    return tokenizer


def _merges_from_scores(
    tokens: list[str], scores: list[float], vocabulary: dict[str, int]
) -> list[tuple[str, str]]:
    """Merges in the order in which SentencePiece would apply them: best-scored result first.

    Every way to cut a piece into two known pieces is a merge; ties keep the order of the parts' ids.
    """
    ranked: list[tuple[float, int, int, str, str]] = []
    for piece, score in zip(tokens, scores, strict=True):
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut:]
            if left in vocabulary and right in vocabulary:
                ranked.append((-score, vocabulary[left], vocabulary[right], left, right))
    ranked.sort()
    return [(left, right) for *_, left, right in ranked]


def _pair(merge: str) -> tuple[str, str]:
    left, right = merge.split(" ", 1)
    return left, right


def save_tokenizer(meta: Mapping[str, Any], folder: Path, chat_template: str | None) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja` into `folder`."""
    tokenizer = build_tokenizer(meta)
    tokens: list[str] = meta["tokenizer.ggml.tokens"]

    def token(role: str) -> str | None:
        index = meta.get(f"tokenizer.ggml.{role}_token_id")
        return None if index is None else tokens[index]

    adds_bos = bool(meta.get("tokenizer.ggml.add_bos_token", False))
    if adds_bos:
        _add_bos(tokenizer, token("bos"))
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": token("bos"),
        "eos_token": token("eos"),
        "unk_token": token("unknown"),
        "pad_token": token("padding") or token("eos"),
        "add_bos_token": adds_bos,
        "clean_up_tokenization_spaces": False,
    }
    write_json(folder / "tokenizer_config.json", {k: v for k, v in config.items() if v is not None})
    if chat_template:
        (folder / "chat_template.jinja").write_text(chat_template, encoding="utf-8")


def _add_bos(tokenizer: Tokenizer, bos: str | None) -> None:
    from tokenizers.processors import TemplateProcessing

    if bos is None:
        return
    tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A",
        pair=f"{bos} $A {bos} $B",
        special_tokens=[(bos, tokenizer.token_to_id(bos))],
    )


def tokenizer_metadata(folder: Path, vocab_size: int) -> dict[str, Any]:
    """GGUF metadata `tokenizer.ggml.*` for the tokenizer in `folder` (the inverse of `save_tokenizer`).

    The list of tokens is padded to `vocab_size`, the rows of the embedding. Raises `FormatError` where the pre-tokenizer is not one that llama.cpp has a name for.
    """
    state = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    model = state["model"]
    if model["type"] != "BPE":
        raise FormatError(
            tr(
                f"a {model['type']} tokenizer cannot be written to GGUF",
                f"{model['type']} 方式のトークナイザは GGUF に書き出せません",
            ),
            where=str(folder / "tokenizer.json"),
        )
    added = {entry["id"]: entry for entry in state["added_tokens"]}
    size = max([vocab_size - 1, *model["vocab"].values(), *added]) + 1
    tokens = [f"[PAD{index}]" for index in range(size)]
    kinds = [5] * size  # unused, until named below
    for piece, index in model["vocab"].items():
        tokens[index], kinds[index] = piece, 1
    for index, entry in added.items():
        tokens[index], kinds[index] = (
            entry["content"],
            CONTROL if entry["special"] else USER_DEFINED,
        )
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    meta: dict[str, Any] = {
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.add_bos_token": bool(config.get("add_bos_token", False)),
    }
    if model.get("byte_fallback"):
        meta |= _sentencepiece_metadata(state, tokens, kinds, model)
    else:
        meta |= {
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": _pre_tokenizer_name(state["pre_tokenizer"]),
            "tokenizer.ggml.token_type": kinds,
            "tokenizer.ggml.merges": merges,
        }
    index_of = {token: index for index, token in enumerate(tokens)}
    for role in ("bos", "eos", "unk", "pad"):
        token = config.get(f"{role}_token")
        text = token["content"] if isinstance(token, dict) else token
        if text in index_of:
            name = {"unk": "unknown", "pad": "padding"}.get(role, role)
            meta[f"tokenizer.ggml.{name}_token_id"] = index_of[text]
    return meta


def _sentencepiece_metadata(
    state: dict[str, Any], tokens: list[str], kinds: list[int], model: dict[str, Any]
) -> dict[str, Any]:
    for index, token in enumerate(tokens):
        if kinds[index] == 1 and len(token) == 6 and token.startswith("<0x"):
            kinds[index] = 6  # byte
        elif token == model.get("unk_token"):
            kinds[index] = 2  # unknown
    # A piece's score only has to order the merges: the first merge that makes it decides.
    scores = [0.0 if kind != 1 else -1e9 for kind in kinds]
    vocabulary = model["vocab"]
    for rank, merge in enumerate(model["merges"]):
        left, right = _pair(merge) if isinstance(merge, str) else merge
        index = vocabulary[left + right]
        scores[index] = max(scores[index], -float(rank))
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.scores": scores,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.add_space_prefix": "Prepend" in json.dumps(state["normalizer"]),
    }


def _pre_tokenizer_name(state: Any) -> str:
    for name in ("default", "smollm", "llama-bpe"):
        probe = Tokenizer(BPE())
        probe.pre_tokenizer = _byte_level(name)
        known = json.loads(probe.to_str())["pre_tokenizer"]
        if _shape(known) == _shape(state):
            return name
    raise FormatError(
        tr(
            "llama.cpp has no name for this pre-tokenizer that Kajiya knows",
            "この事前分割に対応する llama.cpp の名前がわかりません",
        ),
        where="tokenizer.json: pre_tokenizer",
    )


def _shape(state: Any) -> Any:
    """A pre-tokenizer without the fields that do not change how text is cut."""
    if isinstance(state, dict):
        return {k: _shape(v) for k, v in state.items() if k != "trim_offsets"}
    if isinstance(state, list):
        return [_shape(v) for v in state]
    return state
