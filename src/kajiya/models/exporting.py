"""Takes models and adapters out of the workspace, in the formats that other programs read.

Nothing here imports torch: what must be computed is computed by `converting`, in its own process.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from kajiya.core.errors import ConfigError, ConflictError, FormatError
from kajiya.core.files import atomic_folder, replacing, write_text
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.models.child import run_module
from kajiya.models.ollama import modelfile
from kajiya.models.resolve import GGUF_FILE, STATE_FILE, base_of, resolve
from kajiya.models.state_commands import export_state
from kajiya.store.artifacts import Artifact
from kajiya.store.manifest import CARD_FILE
from kajiya.tokenizer.chat import ChatTokenizer

Format = Literal["safetensors", "gguf", "ollama", "adapter", "pth"]
Precision = Literal["q8_0", "f16", "bf16", "f32"]
_GGUF = {"model": GGUF_FILE, "adapter": "adapter.gguf"}
_OLLAMA_CONTEXT = 4096  # tokens at most: memory grows with it, and Ollama takes it all at once
_MADE = "q8_0"  # where no precision is asked for and there is no file to copy
_ADAPTER_FILES = (
    "adapter_config.json",
    "adapter_model.safetensors",
    STATE_FILE,
    "state_config.json",
)
_MODEL_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "chat_template.jinja",
)


def export(
    reference: str,
    target: Path,
    workspace: Workspace,
    form: Format,
    *,
    precision: Precision | None = None,
    merge: bool = False,
    force: bool = False,
) -> Path:
    """Write the model or adapter `reference` to `target`; returns `target`.

    `safetensors` and `adapter` make a folder with the licence texts and the card, `gguf` and `pth` a
    file; `ollama` makes a folder with a Modelfile beside the GGUF (of an adapter, its base's and its own,
    or with `merge` one). A model's GGUF is the one that it came as, unless `precision` is given; its `pth` is the
    official layout of RWKV weights. An adapter is exported alone (as `pth`, its initial state), or with
    `merge` as one model together with its base.

    Raises `ConfigError` if the options contradict each other, `ConflictError` if `target` exists and
    not `force`, `NotFoundError` for an unknown reference. `target` appears whole or not at all.
    """
    artifact = resolve(reference, workspace)
    _check_options(artifact, form, precision, merge)
    _check_target(target, force, folder=form not in ("gguf", "pth"))
    target = target.absolute()
    if form in ("gguf", "pth"):
        _export_file(artifact, target, workspace, form, precision, merge)
        return target
    with _folder(target) as folder:
        if form == "ollama":
            _export_ollama(artifact, folder, workspace, precision, merge)
        elif merge:
            base = base_of(artifact, workspace)
            _convert(base, artifact, "safetensors", folder, artifact.name, workspace)
        else:
            patterns = _ADAPTER_FILES if form == "adapter" else _MODEL_FILES
            for pattern in patterns:
                for file in sorted(artifact.folder.glob(pattern)):
                    shutil.copyfile(file, folder / file.name)
        _copy_papers(artifact, folder)
    return target


def _check_options(
    artifact: Artifact, form: Format, precision: Precision | None, merge: bool
) -> None:
    problem = None
    has_state = (artifact.folder / STATE_FILE).is_file()
    if form == "pth" and artifact.kind == "adapter" and not has_state and not merge:
        problem = (
            tr("it has no initial state to write", "書き出せる初期状態がありません"),
            "--format adapter, --format gguf, --format pth --merge",
        )
    elif has_state and (merge or form in ("gguf", "ollama")):
        problem = (
            tr(
                "an initial state has no place in the weights, and GGUF has none for it",
                "初期状態は重みに統合できず、GGUF にも入れられません",
            ),
            "--format adapter, --format pth",
        )
    elif artifact.kind == "model" and form == "adapter":
        problem = (
            tr("a base model is not an adapter", "基のモデルはアダプタではありません"),
            "--format safetensors, --format gguf",
        )
    elif artifact.kind == "model" and merge:
        problem = tr("only an adapter can be merged", "統合できるのはアダプタだけです"), ""
    elif form == "adapter" and merge:
        problem = (
            tr("a merged adapter is a model", "統合したアダプタはモデルになります"),
            "--format safetensors --merge, --format gguf --merge",
        )
    elif artifact.kind == "adapter" and form == "safetensors" and not merge:
        problem = (
            tr("an adapter alone is not a model", "アダプタだけではモデルになりません"),
            "--format adapter, --format safetensors --merge",
        )
    elif precision and not (
        form == "ollama" or (form == "gguf" and (artifact.kind == "model" or merge))
    ):
        problem = (
            tr(
                "a precision is chosen for a whole model in GGUF",
                "精度を選べるのはモデル全体の GGUF だけです",
            ),
            "--format gguf --precision q8_0",
        )
    if problem is not None:
        raise ConfigError(problem[0], where=artifact.reference, fix=problem[1])


def _check_target(target: Path, force: bool, *, folder: bool) -> None:
    if not target.exists() and not target.is_symlink():
        return
    if not force:
        raise ConflictError(
            tr("it exists already", "すでにあります"),
            where=str(target),
            fix=tr(
                "choose another place, or add --force", "別の場所にするか --force を付けてください"
            ),
        )
    earlier = (target / CARD_FILE).is_file() if folder else target.is_file()
    if not earlier or target.is_symlink():
        raise ConflictError(
            tr(
                "only an earlier export can be replaced, and this is something else",
                "置き換えられるのは以前に書き出したものだけですが、これは違います",
            ),
            where=str(target),
            fix=tr("choose another place", "別の場所にしてください"),
        )


def _export_file(
    artifact: Artifact,
    target: Path,
    workspace: Workspace,
    form: Format,
    precision: Precision | None,
    merge: bool,
) -> None:
    with replacing(target) as scratch:
        if form == "gguf":
            _write_gguf(artifact, scratch, workspace, precision, merge)
        elif merge:
            base = base_of(artifact, workspace)
            _convert(base, artifact, "pth", scratch, artifact.name, workspace)
        elif artifact.kind == "model":
            _convert(artifact, None, "pth", scratch, artifact.name, workspace)
        else:
            export_state(artifact, scratch, workspace)


def _write_gguf(
    artifact: Artifact, target: Path, workspace: Workspace, precision: Precision | None, merge: bool
) -> None:
    ready = artifact.folder / _GGUF[artifact.kind]
    made = precision or _MADE
    if merge:
        base = base_of(artifact, workspace)
        _convert(base, artifact, made, target, artifact.name, workspace)
    elif precision is None and ready.is_file():
        shutil.copyfile(ready, target)
    elif artifact.kind == "model":
        _convert(artifact, None, made, target, artifact.name, workspace)
    else:
        raise FormatError(
            tr(f"it has no {ready.name}", f"{ready.name} がありません"),
            where=artifact.reference,
        )


def _export_ollama(
    artifact: Artifact, folder: Path, workspace: Workspace, precision: Precision | None, merge: bool
) -> None:
    base = base_of(artifact, workspace)
    beside = artifact.kind == "adapter" and not merge
    _write_gguf(base if beside else artifact, folder / "model.gguf", workspace, precision, merge)
    if beside:
        _write_gguf(artifact, folder / _GGUF["adapter"], workspace, None, False)
    licences = [
        (artifact.folder / entry.text_file).read_text("utf-8", "replace")
        for entry in artifact.manifest.licence
        if entry.text_file
    ]
    context = int(base.manifest.details.get("context_length") or _OLLAMA_CONTEXT)
    text = modelfile(
        ChatTokenizer.load(base.folder),
        "model.gguf",
        adapter=_GGUF["adapter"] if beside else "",
        context_length=min(context, _OLLAMA_CONTEXT),
        licences=licences,
    )
    write_text(folder / "Modelfile", text)


def _convert(
    base: Artifact,
    adapter: Artifact | None,
    form: str,
    target: Path,
    name: str,
    workspace: Workspace,
) -> None:
    run_module(
        "kajiya.models.converting",
        str(base.folder),
        str(adapter.folder) if adapter else "",
        form,
        str(target),
        name,
        workspace=workspace,
    )


@contextmanager
def _folder(target: Path) -> Iterator[Path]:
    """`atomic_folder`, moving an earlier export out of the way once the new one is whole."""
    grave: Path | None = None
    with atomic_folder(target) as folder:
        yield folder
        if target.exists():
            grave = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.old."))
            target.rename(grave / target.name)
    if grave is not None:
        shutil.rmtree(grave)


def _copy_papers(artifact: Artifact, folder: Path) -> None:
    """The card and the licence texts, which must go wherever the weights go."""
    names = {entry.text_file for entry in artifact.manifest.licence if entry.text_file}
    # A starter brings several texts, of which the manifest's entry names the first.
    names |= {
        name
        for name in artifact.manifest.files
        if Path(name).name.upper().startswith(("LICEN", "NOTICE", "COPYING", "USE_POLICY"))
    }
    for name in sorted(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(artifact.folder / name, folder / name)
    shutil.copyfile(artifact.folder / CARD_FILE, folder / CARD_FILE)
