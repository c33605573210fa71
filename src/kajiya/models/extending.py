"""Gives a model the rows of an extended tokenizer: embedding and output weights for the new tokens.

A new row starts as the mean of the rows of the old tokens that wrote the same string, so the model
begins about where it was. Old rows, and so the logits of old tokens, stay as they are. Run as a
program (`python -m kajiya.models.extending MODEL TOKENIZER NAME`, two references and a name) so that
callers need not import torch.
"""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path

from tokenizers import Tokenizer

from kajiya.core.language import tr
from kajiya.core.workspace import Workspace
from kajiya.models.architectures import register
from kajiya.models.child import report
from kajiya.models.converting import TOKENIZER_FILES
from kajiya.store.artifacts import Artifact, ArtifactStore
from kajiya.tokenizer.extend import old_pieces

_MULTIPLE = 64  # of the vocabulary, for the speed of the output matrix


def extend_model(model: Path, tokenizer: Path, target: Path) -> int:
    """Write the model folder `model` with the tokenizer of the folder `tokenizer` into `target`.

    Returns the number of parameters. Raises `FormatError` unless the tokenizer is the model's own
    with more tokens.
    """
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    old, new = (Tokenizer.from_file(str(f / "tokenizer.json")) for f in (model, tokenizer))
    pieces = old_pieces(old, new)
    logging.disable_progress_bar()
    register()
    extended = AutoModelForCausalLM.from_pretrained(
        model, dtype="auto", use_safetensors=True, local_files_only=True
    )
    rows = extended.get_input_embeddings().weight.shape[0]
    wanted = math.ceil(new.get_vocab_size(with_added_tokens=True) / _MULTIPLE) * _MULTIPLE
    if wanted > rows:
        extended.resize_token_embeddings(wanted, mean_resizing=False)
    with torch.no_grad():
        layers = [extended.get_input_embeddings()]
        output = extended.get_output_embeddings()
        if output is not None and output.weight is not layers[0].weight:
            layers.append(output)
        for layer in layers:
            for weight in layer.parameters():  # [tokens, width], and [tokens] for a bias
                means = weight[:rows].float()
                weight[rows:] = means.mean(0).to(weight.dtype)  # rows that stand for nothing
                for index, parts in pieces.items():
                    weight[index] = means[parts].mean(0).to(weight.dtype)
    extended.save_pretrained(target)
    for name in TOKENIZER_FILES:
        source = next((f / name for f in (tokenizer, model) if (f / name).is_file()), None)
        if source is not None:
            shutil.copyfile(source, target / name)
    return int(extended.num_parameters())


def register_extended(model: str, tokenizer: str, name: str, workspace: Workspace) -> Artifact:
    """`extend_model` as the next version of model `name`; `model` and `tokenizer` are references."""
    store = ArtifactStore(workspace)
    base, vocabulary = store.get(model, "model"), store.get(tokenizer, "tokenizer")
    parents = [base.as_parent("base"), vocabulary.as_parent("tokenizer")]
    description = tr(
        f"{base.reference} with the tokens of {vocabulary.reference}, new rows not trained yet",
        f"{base.reference} に {vocabulary.reference} の語彙を加えたもの (新しい行は未学習)",
    )
    with store.draft("model", name, parents=parents, description=description) as draft:
        parameters = extend_model(base.folder, vocabulary.folder, draft.folder)
        draft.config = {"source": "extended", "model_type": base.manifest.config.get("model_type")}
        size = Tokenizer.from_file(str(draft.folder / "tokenizer.json")).get_vocab_size()
        draft.details = {
            **base.manifest.details,
            "parameters": parameters,
            "vocab_size": size,
        }
    return draft.artifact


def main(arguments: list[str]) -> int:
    """Extend as the arguments say; prints the new reference."""
    model, tokenizer, name = arguments

    def work() -> str:
        return register_extended(model, tokenizer, name, Workspace.current()).reference

    return report(work)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
