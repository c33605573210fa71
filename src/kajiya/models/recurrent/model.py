"""What recurrent language models share around their layers: loading, state, logits, generation."""

from __future__ import annotations

from typing import Any, ClassVar

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import GenerationMixin, PreTrainedModel

from kajiya.models.recurrent.output import RecurrentCausalOutput, RecurrentOutput
from kajiya.models.recurrent.state import RecurrentState


class RecurrentModel(PreTrainedModel):  # type: ignore[misc]
    """The body: tokens to hidden states.

    A layer is called with the hidden states `[batch, time, width]`, what layer 0 hands to all others
    (None in layer 0), the layer's `LayerState` or None, and `starts` `[batch, time]` or None; it
    returns the first two and its new `LayerState`. Layer 0 has a norm `ln0` for the embeddings.
    """

    supports_gradient_checkpointing = True
    _is_stateful = True
    base_model_prefix = "model"
    block: ClassVar[type[nn.Module]]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.emb = nn.Embedding(config.vocab_size, config.hidden_size)
        self.blocks = nn.ModuleList(self.block(config, i) for i in range(config.num_hidden_layers))
        self.ln_out = nn.LayerNorm(config.hidden_size, config.norm_eps)
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        """The token embedding."""
        return self.emb

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        """Replace the token embedding."""
        self.emb = value

    def forward(
        self,
        input_ids: Tensor,
        position_ids: Tensor | None = None,
        state: RecurrentState | None = None,
        use_cache: bool = False,
        **_: Any,
    ) -> RecurrentOutput:
        """Tokens `[batch, time]` to hidden states `[batch, time, width]`.

        A position id of 0 starts a document: nothing before it in its row, `state` included, is seen
        from there on. `state` is what an earlier call with `use_cache` returned. Padding belongs on
        the right, where it is seen by nothing.
        """
        starts = None if position_ids is None else (position_ids == 0).expand(input_ids.shape)
        bottom: Any = self.blocks[0]
        x = bottom.ln0(self.emb(input_ids))
        first = None
        layers = []
        for index, block in enumerate(self.blocks):
            past = None if state is None else state.layer(index)
            x, first, after = block(x, first, past, starts)
            if use_cache:
                layers.append(after)
        return RecurrentOutput(
            last_hidden_state=self.ln_out(x),
            state=RecurrentState.from_layers(layers) if use_cache else None,
        )


class RecurrentForCausalLM(PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """The language model: the body and an output matrix."""

    supports_gradient_checkpointing = True
    _is_stateful = True
    base_model_prefix = "model"
    body: ClassVar[type[RecurrentModel]]

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.model = self.body(config)
        self.head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_output_embeddings(self) -> nn.Linear:
        """The output matrix."""
        return self.head

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Replace the output matrix."""
        self.head = new_embeddings

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        state: RecurrentState | None = None,
        labels: Tensor | None = None,
        use_cache: bool = False,
        logits_to_keep: int = 0,
        **_: Any,
    ) -> RecurrentCausalOutput:
        """As the body; logits of the last `logits_to_keep` positions (0: all) `[batch, kept, vocabulary]`.

        An `attention_mask` `[batch, time]` is only looked at for padding on the left. With `labels`
        `[batch, time]` (−100: none), also the mean loss of predicting each from what is before it.
        """
        if position_ids is None and attention_mask is not None and state is None:
            position_ids = _positions(attention_mask[:, -input_ids.shape[1] :])
        out = self.model(input_ids, position_ids, state, bool(use_cache))
        hidden = out.last_hidden_state
        kept = hidden[:, -logits_to_keep:]  # all, if 0
        # As a matrix: multiplying a cut in three dimensions, torch copies the whole output matrix.
        logits = self.head(kept.reshape(-1, kept.shape[-1])).view(*kept.shape[:2], -1)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].float().flatten(0, 1), labels[:, 1:].flatten())
        return RecurrentCausalOutput(loss=loss, logits=logits, state=out.state)

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        state: RecurrentState | None = None,
        attention_mask: Tensor | None = None,
        use_cache: bool | None = True,
        **_: Any,
    ) -> dict[str, Any]:
        """For `generate`: the whole prompt first, then one token at a time from the state."""
        return {
            "input_ids": input_ids if state is None else input_ids[:, -1:],
            "attention_mask": attention_mask if state is None else None,
            "state": state,
            "use_cache": use_cache,
            "logits_to_keep": 1,
        }


def _positions(mask: Tensor) -> Tensor | None:
    """Position ids that start each row's document at its first real token; None without left padding."""
    return None if bool(mask[:, 0].all()) else (mask.cumsum(-1) - 1).clamp(min=0)
