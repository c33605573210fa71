"""The World vocabulary of the released RWKV models, as a tokenizer in the ecosystem's format.

65,529 byte strings with the ids 1…65529, read greedily; id 0 ends a document, and models have rows for
65,536. The list comes with the `rwkv` package on PyPI; none of that package's code is run.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from tokenizers import Tokenizer

from kajiya.core.errors import FormatError, ResourceError
from kajiya.core.files import write_json, write_text
from kajiya.core.language import tr
from kajiya.tokenizer.greedy import greedy_tokenizer

END_OF_TEXT, END_ID = "<|endoftext|>", 0
VOCAB_SIZE = 65_536  # rows of a released model's embedding; the last six stand for nothing
TURN_END = "\n\n"
# A turn ends with an empty line, so there can be none inside one.
CHAT_TEMPLATE = """\
{%- set names = {'system': 'System', 'user': 'User', 'assistant': 'Assistant'} -%}
{%- for message in messages -%}
    {{- names[message['role']] + ':' -}}
    {%- for line in (message['content'] | trim).replace('\\r\\n', '\\n').split('\\n') if line -%}
        {{- (' ' if loop.first else '\\n') + line -}}
    {%- endfor -%}
    {{- '\\n\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{- 'Assistant:' -}}
{%- endif -%}
"""
_PACKAGE = "rwkv"
_FILE = "rwkv/rwkv_vocab_v20230424.txt"
_SHA256 = "8324476023347dec2964625ccb2075c864d250a9c6d9a74f36daba628de8c008"


@functools.cache
def world_vocabulary() -> dict[int, bytes]:
    """Id → bytes of the 65,529 entries. Raises `ResourceError` without the `rwkv` package,
    `FormatError` if its list is not the one that released models were trained with."""
    try:
        path = Path(str(distribution(_PACKAGE).locate_file(_FILE)))
        data = path.read_bytes()
    except (PackageNotFoundError, OSError):
        raise ResourceError(
            tr("the World vocabulary is not installed", "World 語彙が入っていません"),
            where=_FILE,
            fix="pip install rwkv==0.8.32",
        ) from None
    if hashlib.sha256(data).hexdigest() != _SHA256:
        raise FormatError(
            tr("this is not the World vocabulary", "World 語彙の内容が違います"),
            where=str(path),
            fix="pip install --force-reinstall --no-deps rwkv==0.8.32",
        )
    return dict(map(_entry, data.decode().splitlines()))


def _entry(line: str) -> tuple[int, bytes]:
    """`33 ' ' 1` → (33, b" "): an id, a Python literal of text or bytes, its length in bytes."""
    index, rest = line.split(" ", 1)
    entry = ast.literal_eval(rest.rsplit(" ", 1)[0])
    return int(index), entry.encode() if isinstance(entry, str) else entry


def world_tokenizer() -> Tokenizer:
    """The tokenizer of released RWKV models: 65,530 tokens. Takes about a second to make."""
    return greedy_tokenizer(world_vocabulary(), END_OF_TEXT, END_ID)


def write_world_tokenizer(folder: Path) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and `chat_template.jinja` into `folder`."""
    write_text(folder / "tokenizer.json", world_tokenizer().to_str())
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": END_OF_TEXT,
        "pad_token": END_OF_TEXT,
        "clean_up_tokenization_spaces": False,
    }
    write_json(folder / "tokenizer_config.json", settings)
    write_text(folder / "chat_template.jinja", CHAT_TEMPLATE)
