"""Trains a byte-level BPE vocabulary on a corpus: any text round-trips, nothing is ever unknown.

Words are cut as SmolLM does (single digits; letters, punctuation and spaces apart; a newline a token),
which in Japanese means between punctuation marks, and which llama.cpp knows under the same name, so a
model with this tokenizer can be exported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer

from kajiya.core.errors import ConfigError
from kajiya.core.files import write_json, write_text
from kajiya.core.language import tr

END = "<|endoftext|>"  # id 0: before each document, and after an answer
SMALLEST = 257  # all bytes and the end of text
_LONGEST = 12  # characters; longer pieces are quotations, learnt by heart
# Labels that a model of Japanese text has seen; single characters, so no token is spent on them.
_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '\\n\\n' }}"
    "{% elif message['role'] == 'user' %}{{ '問：' + message['content'] + '\\n' }}"
    "{% else %}{{ '答：' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '答：' }}{% endif %}"
)


def train_tokenizer(
    texts: Iterable[str],
    vocab_size: int,
    folder: Path,
    *,
    longest: int = _LONGEST,
    terms: Sequence[str] = (),
) -> Tokenizer:
    """Train on `texts` and write `tokenizer.json`, its configuration and a chat template to `folder`.

    The vocabulary has at most `vocab_size` entries, none of more bytes than `longest` kanji; fewer
    if the texts do not hold enough to merge. Each of `terms` becomes a token of its own, which text
    is searched for first. Raises `ConfigError` for a size below 257 and the terms.
    """
    smallest = SMALLEST + len(terms)
    if vocab_size < smallest:
        raise ConfigError(
            tr(
                f"a byte-level vocabulary has at least {smallest} entries",
                f"バイト単位の語彙には少なくとも {smallest} 個必要です",
            ),
            where="vocab_size",
        )
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocab_size - len(terms),
        min_frequency=2,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=3 * longest,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_tokens([AddedToken(term, special=False, normalized=False) for term in terms])
    write_text(folder / "tokenizer.json", tokenizer.to_str(pretty=True) + "\n")
    write_settings(folder)
    return tokenizer


def write_settings(folder: Path, unknown: str | None = None) -> None:
    """Write the configuration and the chat template of a tokenizer whose end of text is `END`."""
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": END,
            "eos_token": END,
            "pad_token": END,
            **({} if unknown is None else {"unk_token": unknown}),
            "add_bos_token": False,
        },
    )
    write_text(folder / "chat_template.jinja", _TEMPLATE)
