"""Trains a SentencePiece Unigram vocabulary: fewest tokens for Japanese, any text round-trips.

SentencePiece does the training; the last step, which pieces stay, is ours: none is longer than wanted,
none goes on after a 。 (so texts can be read a sentence at a time), and domain terms are among them.
The result lies in the folder twice: `tokenizer.model` for SentencePiece, `tokenizer.json` for all else.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import psutil
from tokenizers import Tokenizer

from kajiya.core.errors import ConfigError, DataError, FormatError, ResourceError
from kajiya.core.files import atomic_file, write_text
from kajiya.core.hardware import GIB
from kajiya.core.language import tr
from kajiya.tokenizer.batch import MODEL_FILE
from kajiya.tokenizer.presplit import MARK, cut_into_words
from kajiya.tokenizer.sample import Sample
from kajiya.tokenizer.sentencepiece_model import NORMAL, SPACE, ModelPiece, read_model, write_model
from kajiya.tokenizer.settings import TokenizerConfig
from kajiya.tokenizer.train import END, write_settings
from kajiya.tokenizer.unigram_json import unigram_tokenizer

Tell = Callable[[str, float, float], None]  # stage, done, total

_STEP = 256  # scores are multiples of 1/256: sums of thousands of them are exact even in 32 bits
_SPARE = 1.05  # pieces trained for each that is wanted, to choose from
_MEMORY = 60  # bytes that SentencePiece takes a character, measured
_SENTENCES, _PREFIX = "sentences.txt", "unigram"
_THREADS = 8  # always: what SentencePiece makes depends on it
_ASCII = "".join(map(chr, range(0x21, 0x7F)))
_JAPANESE = re.compile(r"[\u3005-\u3007\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f]")
_SIZE = re.compile(r" size=(\d+) ")
_PROGRAM = "import json, sys, sentencepiece; sentencepiece.SentencePieceTrainer.Train(**json.load(sys.stdin))"


def train_unigram(
    sample: Sample,
    folder: Path,
    config: TokenizerConfig,
    terms: Sequence[str] = (),
    tell: Tell = lambda stage, done, total: None,
) -> Tokenizer:
    """Train on `sample` and write the tokenizer's files into `folder`.

    Each of `terms` becomes one piece. Raises `ConfigError` for a vocabulary too small for the text's
    characters, `DataError` for a sample without text, `ResourceError` if there is too little memory
    or room on the disk.
    """
    _check_memory(sample)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".training.") as scratch:
        _write_sentences(sample, Path(scratch) / _SENTENCES, config, tell)
        model = _train(Path(scratch), config, terms, tell)
    try:
        pieces, rest = read_model(model)
    except FormatError:
        raise ResourceError(
            tr(
                "SentencePiece could not write its model whole, most likely because the disk is full",
                "SentencePiece がモデルを書き切れませんでした (ディスクの空き不足と思われます)",
            ),
            where=str(folder),
            fix=tr("make room and try again", "空きを作ってやり直してください"),
        ) from None
    pieces = choose_pieces(pieces, config, terms)
    model = write_model(pieces, rest)
    tokenizer = unigram_tokenizer(pieces)
    with atomic_file(folder / MODEL_FILE) as file:
        file.write(model)
    write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=True) + "\n")
    write_settings(folder, "<unk>")
    return tokenizer


def _check_memory(sample: Sample) -> None:
    available = psutil.virtual_memory().available
    if _MEMORY * sample.characters > available:
        most = available // _MEMORY
        raise ResourceError(
            tr(
                f"training on {sample.characters:,} characters takes about"
                f" {_MEMORY * sample.characters / GIB:.1f} GB of memory, and {available / GIB:.1f} are free",
                f"{sample.characters:,} 文字の学習には約 {_MEMORY * sample.characters / GIB:.1f} GB の"
                f"メモリが必要ですが、空きは {available / GIB:.1f} GB です",
            ),
            fix=f"--sample-characters {most}",
        )


def _write_sentences(sample: Sample, path: Path, config: TokenizerConfig, tell: Tell) -> None:
    done = 0
    some = False
    with path.open("w", encoding="utf-8", newline="\n") as file:
        lines: Iterable[str] = (sentence.rstrip("\r\n") for sentence in sample.sentences)
        if config.presplit == "sudachi":
            lines = map(MARK.join, cut_into_words(lines))
        for number, line in enumerate(lines):
            # What SentencePiece would take for the end of a line or of a text.
            cleaned = line.replace("\0", "").replace("\r", "")
            if cleaned.strip():
                some = True
                file.write(cleaned + "\n")
            done += len(line)
            if number % 10_000 == 0:
                tell("presplit", done, sample.characters)
    if not some:
        raise DataError(tr("there is no text to learn from", "学習できる文書がありません"))


def _train(scratch: Path, config: TokenizerConfig, terms: Sequence[str], tell: Tell) -> bytes:
    """SentencePiece's own training, in a process of its own that gives its memory back."""
    wanted = math.ceil(config.vocab_size * _SPARE)
    options = {
        "input": _SENTENCES,  # what is said here is written into the model: no path of this machine
        "model_prefix": _PREFIX,
        "model_type": "unigram",
        "vocab_size": wanted,
        "hard_vocab_limit": False,
        "byte_fallback": True,
        "split_digits": True,
        "normalization_rule_name": "identity",
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "allow_whitespace_only_pieces": True,
        "max_sentencepiece_length": config.longest,
        "max_sentence_length": 1 << 16,
        "required_chars": "".join(sorted({*_ASCII, SPACE, *"".join(terms).replace(" ", "")})),
        "pretokenization_delimiter": MARK if config.presplit == "sudachi" else "",
        "eos_id": 0,
        "eos_piece": END,
        "unk_id": 1,
        "bos_id": -1,
        "pad_id": -1,
        "num_threads": _THREADS,
    }
    # -P: nothing that lies in the working folder can stand in for a module.
    with subprocess.Popen(
        [sys.executable, "-P", "-c", _PROGRAM],
        cwd=scratch,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as child:
        assert child.stdin is not None and child.stderr is not None
        try:
            child.stdin.write(json.dumps(options))
            child.stdin.close()
            last = _watch(child.stderr, wanted, tell)
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        raise _failure(child.returncode, last, config)
    return (scratch / f"{_PREFIX}.model").read_bytes()


def _watch(lines: Iterable[str], wanted: int, tell: Tell) -> str:
    """Tell how far it is: each round prunes the pieces by a quarter, down to those wanted."""
    first, last = 0, ""
    for line in lines:
        last = line.strip() or last
        if found := _SIZE.search(line):
            size = int(found[1])
            first = first or size
            rounds = math.log(max(first, wanted + 1) / wanted)
            tell("train", max(0.0, math.log(first / size)), rounds)
    return last


def _failure(status: int, last: str, config: TokenizerConfig) -> Exception:
    if status < 0:
        return ResourceError(
            tr(
                "the training was killed, most likely for want of memory",
                "学習が強制終了されました (メモリ不足と思われます)",
            ),
            fix=tr(
                "choose a smaller --sample-characters", "--sample-characters を小さくしてください"
            ),
        )
    if "required_chars" in last or "Vocabulary size" in last:
        return ConfigError(
            tr(
                f"a vocabulary of {config.vocab_size:,} is too small or too large for this text: {last}",
                f"語彙 {config.vocab_size:,} 個はこの文書に対して小さすぎるか大きすぎます: {last}",
            ),
            where="vocab_size",
        )
    return DataError(
        tr(f"SentencePiece cannot learn from it: {last}", f"SentencePiece で学習できません: {last}")
    )


def choose_pieces(
    trained: Sequence[ModelPiece], config: TokenizerConfig, terms: Sequence[str] = ()
) -> list[ModelPiece]:
    """The vocabulary: all that are no text, all single characters, the terms, then the likeliest.

    Raises `ConfigError` if the first three alone are more than `vocab_size`.
    """
    wanted = {term.replace(" ", SPACE) for term in terms}
    meta = [piece for piece in trained if piece.kind != NORMAL]
    usable = [_rounded(p) for p in trained if p.kind == NORMAL and _is_wanted(p.text, config)]
    single = [piece for piece in usable if len(piece.text) == 1]
    longer = [piece for piece in usable if len(piece.text) > 1 and piece.text not in wanted]
    needed = len(meta) + len(single) + sum(len(term) > 1 for term in wanted)
    if needed > config.vocab_size:
        raise ConfigError(
            tr(
                f"bytes, characters and terms alone are {needed:,} pieces",
                f"バイト・文字・用語だけで {needed:,} 個になります",
            ),
            where="vocab_size",
            fix=tr(f"choose {needed:,} or more", f"{needed:,} 以上にしてください"),
        )
    scores = {piece.text: piece.score for piece in single}
    longer.sort(key=lambda piece: -piece.score)
    scores |= {piece.text: piece.score for piece in longer[: config.vocab_size - needed]}
    for term in sorted(wanted, key=lambda term: (len(term), term)):
        if len(term) > 1:
            # Better than any other way to write it, so that the term alone is one token.
            scores[term] = _best_score(term, scores) + 1 / _STEP
    chosen = sorted(scores.items(), key=lambda item: (-item[1], item[0]))
    return [*meta, *(ModelPiece(text, score) for text, score in chosen)]


def _is_wanted(text: str, config: TokenizerConfig) -> bool:
    if "。" in text[:-1]:
        return False
    return len(text) <= config.longest_japanese or not _JAPANESE.search(text)


def _rounded(piece: ModelPiece) -> ModelPiece:
    return ModelPiece(piece.text, round(piece.score * _STEP) / _STEP)


def _best_score(text: str, scores: dict[str, float]) -> float:
    """The score of the best way to write `text` in pieces; all its characters are pieces."""
    best = [0.0]
    for end in range(1, len(text) + 1):
        best.append(max(best[start] + scores[piece] for start, piece in _ending(text, end, scores)))
    return best[-1]


def _ending(text: str, end: int, scores: dict[str, float]) -> Iterator[tuple[int, str]]:
    for start in range(end):
        if text[start:end] in scores:
            yield start, text[start:end]
