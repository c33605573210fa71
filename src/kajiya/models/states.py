"""Initial states in the workspace: imported from a file, mixed from others, written for other programs.

Run as a program (`python -m kajiya.models.states import|mix|export …`) so that callers need not import
torch; `state_commands` is the callers' side.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from kajiya.core.errors import ConfigError, FormatError
from kajiya.core.files import sha256_file
from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.models.child import report
from kajiya.models.recurrent.state_pth import read_state_pth, write_state_pth
from kajiya.models.recurrent.tuned import (
    TunedState,
    check_shape,
    load_state,
    mix_states,
    save_state,
    weights_sha256,
)
from kajiya.models.resolve import LORA_FILE, STATE_FILE, base_of, resolve
from kajiya.store.artifacts import Artifact, ArtifactStore
from kajiya.store.manifest import Licence


def import_state(
    path: Path, base: str, name: str, workspace: Workspace, licence: str = ""
) -> Artifact:
    """Register the initial state in `path` (`.pth` or `.safetensors`) as adapter `name` of model `base`.

    A `.pth` does not say which model it was learnt for, so only its shape is compared with `base`; a
    `.safetensors` must have been learnt for the very weights. Raises `FormatError` or `ConflictError`
    with the reason if it cannot be, and registers nothing.
    """
    model = base_of(resolve(base, workspace), workspace)
    config = json.loads((model.folder / "config.json").read_text(encoding="utf-8"))
    if "head_size" not in config:
        raise ConfigError(
            tr(
                f"{model.reference} is not a recurrent model and starts from no state",
                f"{model.reference} は RWKV ではないため、初期状態を持ちません",
            ),
            where="--base",
        )
    digest = weights_sha256(model.folder)
    if path.suffix == ".safetensors" or path.is_dir():
        state = load_state(path, digest)
    else:
        recipe = {"imported": path.name, "sha256": ""}
        values = read_state_pth(path)
        recipe["sha256"] = sha256_file(path)
        state = TunedState(values, config["model_type"], model.reference, digest, recipe)
    check_shape(state.values, config, str(path))
    return _register(state, model, name, workspace, path.name, licence)


def mix_adapters(parts: Sequence[tuple[str, float]], name: str, workspace: Workspace) -> Artifact:
    """Register the weighted sum of the states of the adapters `parts` as adapter `name`.

    Raises `FormatError` for an adapter without a state or with more than one, `ConflictError` if they
    have different bases.
    """
    adapters = [(resolve(reference, workspace), weight) for reference, weight in parts]
    mixed = mix_states([(state_of(adapter), weight) for adapter, weight in adapters])
    base = base_of(adapters[0][0], workspace)
    said = " + ".join(f"{weight:g} × {adapter.reference}" for adapter, weight in adapters)
    return _register(mixed, base, name, workspace, said, parents=[each for each, _ in adapters])


def state_of(adapter: Artifact) -> TunedState:
    """The initial state of an adapter that is nothing else; raises `FormatError` for another one."""
    has_lora = (adapter.folder / LORA_FILE).is_file()
    if not (adapter.folder / STATE_FILE).is_file() or has_lora:
        raise FormatError(
            tr("it is not an initial state alone", "初期状態だけのアダプタではありません"),
            where=adapter.reference,
            fix=tr(
                "choose adapters that were tuned with --method state",
                "--method state で学習したアダプタを選んでください",
            ),
        )
    return load_state(adapter.folder)


def _register(
    state: TunedState,
    base: Artifact,
    name: str,
    workspace: Workspace,
    source: str,
    licence: str = "",
    parents: Sequence[Artifact] = (),
) -> Artifact:
    terms = [Licence(name=licence, source=source)] if licence else []
    with ArtifactStore(workspace).draft(
        "adapter",
        name,
        parents=[base.as_parent("base"), *(parent.as_parent("mixed") for parent in parents)],
        licence=terms,
        config={"method": "state", "source": source},
        description=tr(
            f"initial state for {base.name}: {source}", f"{base.name} の初期状態: {source}"
        ),
    ) as draft:
        save_state(state, draft.folder)
    return draft.artifact


def main(arguments: list[str]) -> int:
    """`import FILE BASE NAME LICENCE`, `mix NAME REF WEIGHT …` or `export FOLDER TARGET`."""
    command, *rest = arguments
    workspace = Workspace.current()

    def work() -> str:
        if command == "import":
            file, base, name, licence = rest
            return import_state(Path(file), base, name, workspace, licence).reference
        if command == "mix":
            name, *parts = rest
            pairs = list(zip(parts[::2], map(float, parts[1::2]), strict=True))
            return mix_adapters(pairs, name, workspace).reference
        folder, target = rest
        write_state_pth(load_state(Path(folder)).values, Path(target))
        return target

    return report(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
