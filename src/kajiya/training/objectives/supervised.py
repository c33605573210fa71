"""The supervised objective: cross-entropy on the labels of a batch, and nothing else computed.

The body of the model runs over every token; the output matrix only over positions that have a label.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from kajiya.training.batches import IGNORED, Batch
from kajiya.training.objectives.cross_entropy import linear_cross_entropy


def causal_parts(model: Any) -> tuple[nn.Module, Tensor, float | None]:
    """The body, the output matrix `[vocabulary, width]` and the logits' soft cap of a causal model."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    softcap = getattr(inner.config, "final_logit_softcapping", None)
    return inner.model, inner.get_output_embeddings().weight, softcap


def supervised_loss(model: Any, batch: Batch) -> Tensor:
    """Sum over the labels of `batch` of the negative log-likelihood, in nats; a scalar in fp32."""
    body, output, softcap = causal_parts(model)
    options = {} if batch.position_ids is None else {"position_ids": batch.position_ids}
    hidden = body(input_ids=batch.input_ids, use_cache=False, **options).last_hidden_state
    targets = batch.labels[:, 1:].reshape(-1)
    chosen = (targets != IGNORED).nonzero().squeeze(-1)
    rows = hidden[:, :-1].reshape(-1, hidden.shape[-1]).index_select(0, chosen)
    return linear_cross_entropy(rows, output, targets.index_select(0, chosen), softcap)
