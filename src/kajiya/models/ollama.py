"""A Modelfile: what Ollama wants to know beside a GGUF file. Runs nothing and writes no file.

Ollama renders conversations with Go's templates, not Jinja. The Go template is worked out from what the
model's own template writes around each turn, and kept only if it writes the same for sample
conversations; without one, Ollama takes what it knows for the model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kajiya.core.errors import KajiyaError
from kajiya.tokenizer.chat import ChatTokenizer
from kajiya.tokenizer.messages import Message

_SYSTEM, _ASKED, _ANSWERED, _ASKED_AGAIN = "kjSYSTEMkj", "kjASKEDkj", "kjANSWEREDkj", "kjAGAINkj"
_QUOTE = '"""'


@dataclass(frozen=True)
class Turns:
    """What a chat template writes around the contents of turns."""

    begin: str  # before the first question
    before_system: str
    after_system: str  # up to the first question
    to_answer: str
    to_question: str

    def written(self, messages: Sequence[Message]) -> str:
        """A conversation that ends with a question, as the Go template below writes it."""
        system = "\n\n".join(m.content for m in messages if m.role == "system")
        text = f"{self.before_system}{system}{self.after_system}" if system else self.begin
        for message in messages:
            if message.role == "user":
                text += message.content + self.to_answer
            elif message.role == "assistant":
                text += message.content + self.to_question
        return text

    def go_template(self) -> str:
        """The same in Go's language. Ollama gives the system messages as one text."""
        return (
            f"{{{{ if .System }}}}{self.before_system}{{{{ .System }}}}{self.after_system}"
            f"{{{{ else }}}}{self.begin}{{{{ end }}}}"
            "{{ range $i, $message := .Messages }}"
            f'{{{{ if eq .Role "user" }}}}{{{{ .Content }}}}{self.to_answer}'
            f'{{{{ else if eq .Role "assistant" }}}}{{{{ .Content }}}}'
            f"{{{{ if gt (len (slice $.Messages $i)) 1 }}}}{self.to_question}{{{{ end }}}}"
            "{{ end }}{{ end }}"
        )


def modelfile(
    tokenizer: ChatTokenizer,
    weights: str,
    *,
    adapter: str = "",
    context_length: int,
    licences: Iterable[str] = (),
) -> str:
    """The Modelfile for the files `weights` and `adapter` beside it."""
    lines = [f"FROM ./{weights}"]
    if adapter:
        lines.append(f"ADAPTER ./{adapter}")
    if turns := find_turns(tokenizer):
        lines.append(f"TEMPLATE {_QUOTE}{turns.go_template()}{_QUOTE}")
    lines.append(f"PARAMETER num_ctx {context_length}")
    ends = [tokenizer.tokenizer.id_to_token(index) for index in sorted(tokenizer.stop_ids)]
    for end in filter(None, [*ends, tokenizer.stop_text]):
        lines.append(f"PARAMETER stop {_QUOTE}{end}{_QUOTE}")
    lines += [f"LICENSE {_QUOTE}\n{text}\n{_QUOTE}" for text in licences if _QUOTE not in text]
    return "\n".join(lines) + "\n"


def find_turns(tokenizer: ChatTokenizer) -> Turns | None:
    """What the model's template writes around turns; None if it is not as regular as that."""
    plain = [
        Message("user", _ASKED),
        Message("assistant", _ANSWERED),
        Message("user", _ASKED_AGAIN),
    ]
    instructed = [Message("system", _SYSTEM), *plain]
    without = _between(_rendered(tokenizer, plain), [m.content for m in plain])
    with_system = _between(_rendered(tokenizer, instructed), [m.content for m in instructed])
    if without is None or with_system is None:
        return None
    turns = Turns(
        begin=_without_bos(tokenizer, without[0]),
        before_system=_without_bos(tokenizer, with_system[0]),
        after_system=with_system[1],
        to_answer=without[1],
        to_question=without[2],
    )
    samples = (plain[:1], plain, instructed[:2], instructed)
    texts = [_without_bos(tokenizer, _rendered(tokenizer, sample) or "") for sample in samples]
    parts = vars(turns).values()
    if any("{{" in part or _QUOTE in part for part in parts):
        return None
    return turns if [turns.written(sample) for sample in samples] == texts else None


def _rendered(tokenizer: ChatTokenizer, messages: Sequence[Message]) -> str | None:
    try:
        pieces = tokenizer.render(messages, add_generation_prompt=True)
    except KajiyaError:
        return None
    return "".join(piece.text for piece in pieces)


def _between(text: str | None, contents: Sequence[str]) -> list[str] | None:
    """The texts before, between and after these contents; None if they do not come once each, in order."""
    parts = []
    for content in contents:
        if text is None or text.count(content) != 1:
            return None
        before, _, text = text.partition(content)
        parts.append(before)
    return [*parts, text or ""]


def _without_bos(tokenizer: ChatTokenizer, text: str) -> str:
    """Ollama puts the token that begins a text by itself, so the template must not."""
    bos = tokenizer.tokenizer.id_to_token(tokenizer.bos_id) if tokenizer.bos_id is not None else ""
    writes_it = "bos_token" in tokenizer.template.source
    return text.removeprefix(bos) if bos and writes_it else text
