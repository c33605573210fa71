"""Brings a base model into the workspace: a starter, a GGUF or .pth file, a folder, or a hub's repository.

Every source ends as the same folder: `config.json`, `*.safetensors`, tokenizer, chat template, and
`base.gguf` where the source was GGUF, since quantised weights are served as they came. Run as a
program (`python -m kajiya.models.importing REFERENCE`) so that callers need not import torch.
"""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import AbstractContextManager
from pathlib import Path

from kajiya.core.errors import FormatError, NotFoundError, ResourceError
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.models.child import report
from kajiya.models.formats.families import family_of_config
from kajiya.models.formats.gguf_reader import import_gguf
from kajiya.models.resolve import GGUF_FILE, HUB, source_sha256
from kajiya.models.starters import PREFIX, Starter, assemble, find_starter, locate, unpack
from kajiya.store.artifacts import Artifact, ArtifactStore
from kajiya.store.draft import Draft
from kajiya.store.manifest import Licence
from kajiya.tokenizer.chat import ChatTokenizer, default_template

_COPIED = ("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "COPYING*", "USE_POLICY*")


def import_model(source: str, name: str, workspace: Workspace, licence: str = "") -> Artifact:
    """Import `source` (`starter:…`, `hf:org/repo`, a `.gguf` or `.pth` file, a folder) as model `name`.

    `licence` names the licence where the source does not. Raises `FormatError` for a family or file
    that is not supported, `NotFoundError` if the source is not there; nothing is then registered.
    """
    if source.startswith(PREFIX):
        return _import_starter(find_starter(source), name, workspace)
    if source.startswith(HUB):
        return _import_folder(_download(source.removeprefix(HUB)), name, workspace, source, licence)
    path = Path(source).expanduser()
    if path.is_dir():
        return _import_folder(path, name, workspace, path.name, licence)
    if path.is_file():
        return _import_file(path, name, workspace, licence)
    raise NotFoundError(
        tr("there is no such file or folder", "ファイルもフォルダもありません"), where=source
    )


def _import_starter(starter: Starter, name: str, workspace: Workspace) -> Artifact:
    terms = Licence(name=starter.licence, source=starter.licence_source)
    with ArtifactStore(workspace).draft(
        "model", name, licence=[terms], description=starter.description
    ) as draft:
        if starter.form == "gguf":
            assemble(starter, draft.folder / GGUF_FILE)
        else:
            unpack(starter, draft.folder)
        for part in starter.licence_files:
            shutil.copyfile(locate(starter, part), draft.folder / Path(part.path).name)
        text = Path(starter.licence_files[0].path).name
        draft.licence = [terms.model_copy(update={"text_file": text})]
        if starter.form == "gguf":
            import_gguf(draft.folder / GGUF_FILE, draft.folder)
        _finish(draft, f"{PREFIX}{starter.name}")
        draft.config["source_sha256"] = starter.sha256
    return draft.artifact


def _import_file(path: Path, name: str, workspace: Workspace, licence: str) -> Artifact:
    if path.suffix == ".pth":
        from kajiya.models.formats.rwkv.pth import read_pth
        from kajiya.models.importing_rwkv import add_rwkv

        checkpoint = read_pth(path)
        with _draft(name, workspace, path.name, licence) as draft:
            add_rwkv(draft.folder, checkpoint, path)
            _finish(draft, path.name)
            draft.config["source_sha256"] = source_sha256(path)
        return draft.artifact
    if path.suffix != ".gguf":
        raise FormatError(
            tr(
                f"a {path.suffix or 'nameless'} file is not a model that can be imported",
                f"{path.suffix or '拡張子のない'} ファイルはモデルとして取り込めません",
            ),
            where=str(path),
            fix=tr(
                "give a .gguf or .pth file, or a folder with config.json and *.safetensors",
                ".gguf か .pth のファイル、または config.json と *.safetensors のあるフォルダを指定してください",
            ),
        )
    with _draft(name, workspace, path.name, licence) as draft:
        shutil.copyfile(path, draft.folder / GGUF_FILE)
        _convert(draft, path.name, source_sha256(draft.folder / GGUF_FILE))
    return draft.artifact


def _convert(draft: Draft, source: str, sha256: str) -> None:
    import_gguf(draft.folder / GGUF_FILE, draft.folder)
    _finish(draft, source)
    draft.config["source_sha256"] = sha256


def _import_folder(
    folder: Path, name: str, workspace: Workspace, source: str, licence: str
) -> Artifact:
    from kajiya.models.importing_rwkv import add_rwkv, read_rwkv_folder

    checkpoint = read_rwkv_folder(folder)
    if checkpoint is None:
        _check_folder(folder)
    with _draft(name, workspace, source, licence) as draft:
        patterns = _LICENCES if checkpoint else (*_COPIED, *_TOKENIZER, *_LICENCES)
        for pattern in patterns:
            for file in sorted(folder.glob(pattern)):
                shutil.copyfile(file, draft.folder / file.name)
        if checkpoint is not None:
            add_rwkv(draft.folder, checkpoint, folder)
        _finish(draft, source)
        draft.config["source_sha256"] = source_sha256(folder)
    return draft.artifact


def _draft(
    name: str, workspace: Workspace, source: str, licence: str
) -> AbstractContextManager[Draft]:
    terms = [Licence(name=licence, source=source)] if licence else []
    return ArtifactStore(workspace).draft("model", name, licence=terms)


def _check_folder(folder: Path) -> None:
    """Refuse what cannot be loaded safely, before anything is copied."""
    from safetensors import SafetensorError, safe_open

    for needed in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        if not (folder / needed).is_file():
            raise FormatError(
                tr(f"{needed} is missing", f"{needed} がありません"),
                where=str(folder),
                fix=tr(
                    "give a model folder in the transformers layout",
                    "transformers 形式のフォルダを指定してください",
                ),
            )
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise FormatError(
            tr(
                "there are no *.safetensors weights; pickled weights (.bin, .pt, .pkl) are not read",
                "*.safetensors がありません (.bin .pt .pkl は安全のため読みません)",
            ),
            where=str(folder),
        )
    for file in files:
        try:
            with safe_open(file, framework="np") as tensors:
                list(tensors.keys())
        except (SafetensorError, OSError) as error:
            raise FormatError(
                tr(
                    f"not a complete safetensors file ({error})",
                    f"safetensors として読めません ({error})",
                ),
                where=str(file),
            ) from None
    ChatTokenizer.load(folder)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        family_of_config(str(config["model_type"]))
        brings_code = "auto_map" in config
    except (ValueError, KeyError, TypeError, RecursionError):
        raise FormatError(
            tr("not a model configuration", "モデルの設定ではありません"),
            where=str(folder / "config.json"),
        ) from None
    if brings_code:
        raise FormatError(
            tr(
                "the model wants to run its own code (auto_map), which Kajiya never does",
                "独自のコード (auto_map) を必要とするモデルです。Kajiya は実行しません",
            ),
            where=str(folder / "config.json"),
        )


def _finish(draft: Draft, source: str) -> None:
    """The parts that every import has: a chat template and a description of the model."""
    from tokenizers import Tokenizer

    folder = draft.folder
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    template = folder / "chat_template.jinja"
    if not template.exists():
        text = settings.get("chat_template") or default_template(
            Tokenizer.from_file(str(folder / "tokenizer.json"))
        )
        template.write_text(text, encoding="utf-8")
    draft.config["source"] = source
    draft.config["model_type"] = config["model_type"]
    draft.details["parameters"] = _count_parameters(folder)
    draft.details["context_length"] = config.get("max_position_embeddings")
    draft.details["vocab_size"] = config.get("vocab_size")


def _count_parameters(folder: Path) -> int:
    from math import prod

    from safetensors import safe_open

    total = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, framework="np") as tensors:
            total += sum(prod(tensors.get_slice(name).get_shape()) for name in tensors.keys())  # noqa: SIM118
    return total


def _download(repository: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        patterns = [*_COPIED, *_TOKENIZER, *_LICENCES]
        return Path(snapshot_download(repository, allow_patterns=patterns))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ResourceError(
            tr(f"the hub did not give it: {error}", f"ハブから取得できませんでした: {error}"),
            where=f"{HUB}{repository}",
            fix=tr(
                "check the name and the network, or give a folder that you copied here",
                "名前と通信を確かめるか、コピー済みのフォルダを指定してください",
            ),
        ) from None


def main(arguments: list[str]) -> int:
    """`python -m kajiya.models.importing SOURCE NAME [LICENCE]`: prints the new reference."""
    source, name, licence = (*arguments, "")[:3]
    return report(lambda: import_model(source, name, Workspace.current(), licence).reference)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
