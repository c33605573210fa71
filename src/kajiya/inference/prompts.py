"""From what a request says to token ids, with the tokenizer of the model that it names."""

from __future__ import annotations

from collections.abc import Sequence

from kajiya.core.errors import KajiyaError
from kajiya.core.language import tr
from kajiya.inference.bundle import ServableModel
from kajiya.inference.protocol import EmbedRequest, GenerateRequest, RequestError
from kajiya.tokenizer.chat import ChatTokenizer


class Prompts:
    """The tokenizers of the models on one engine. May be shared between threads."""

    def __init__(self, models: Sequence[ServableModel]) -> None:
        self._tokenizers = {model.name: ChatTokenizer.load(model.folder) for model in models}

    def add(self, model: ServableModel) -> None:
        """Take prompts for one more model."""
        self._tokenizers[model.name] = ChatTokenizer.load(model.folder)

    def tokenizer(self, model: str) -> ChatTokenizer:
        """The one of `model`; `RequestError` for a model that is not there."""
        if model not in self._tokenizers:
            raise unknown_model(model)
        return self._tokenizers[model]

    def encode(self, request: GenerateRequest) -> list[int]:
        """The prompt as token ids; `RequestError` if it cannot be one."""
        tokenizer = self.tokenizer(request.model)
        if request.tokens is not None:
            tokens = list(request.tokens)
        elif request.text is not None:
            tokens = [*_beginning(tokenizer), *tokenizer.encode(request.text)]
        else:
            tokens = _encode_chat(tokenizer, request)
        if request.start is not None and tokens[:1] == [tokenizer.bos_id]:
            del tokens[:1]  # it began earlier
        if not tokens:
            raise RequestError(tr("the prompt is empty", "入力が空です"))
        return tokens

    def encode_texts(self, request: EmbedRequest, limit: int) -> list[list[int]]:
        """Texts as token ids, with what their tokenizer puts around a text of its own.

        `RequestError` for one of more than `limit` tokens; 0 means that there are no embeddings at all.
        """
        tokenizer = self.tokenizer(request.model)
        if not limit or request.adapters:
            raise no_embeddings(request.model)
        texts = [
            list(text) if isinstance(text, tuple) else tokenizer.tokenizer.encode(text).ids
            for text in request.inputs
        ]
        for number, tokens in enumerate(texts, 1):
            if not 0 < len(tokens) <= limit:
                raise RequestError(
                    tr(
                        f"text {number} has {len(tokens)} tokens; between 1 and {limit} make an embedding",
                        f"{number} 番目の文章は {len(tokens)} トークンです。埋め込みにできるのは 1 から {limit} トークンまでです",
                    )
                )
        return texts


def no_embeddings(model: str) -> RequestError:
    """The error for a model of which there are no embeddings."""
    return RequestError(
        tr(
            f"{model} makes no embeddings: GGUF models do that, without an adapter",
            f"{model} では埋め込みを作れません。アダプターのない GGUF モデルを使ってください",
        )
    )


def unknown_model(name: str) -> RequestError:
    """The error for a model that an engine does not have."""
    return RequestError(tr(f"no model {name!r}", f"モデル {name!r} はありません"))


def _beginning(tokenizer: ChatTokenizer) -> list[int]:
    """The beginning-of-text token, for models that were trained with one before every text."""
    first: list[int] = tokenizer.tokenizer.encode("").ids[:1]
    return first if first == [tokenizer.bos_id] else []


def _encode_chat(tokenizer: ChatTokenizer, request: GenerateRequest) -> list[int]:
    try:
        return tokenizer.encode_chat(request.messages or (), add_generation_prompt=True)
    except KajiyaError as error:  # such as a template that wants user and assistant in turn
        raise RequestError(error.message, where=error.where, fix=error.fix) from None
