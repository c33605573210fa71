"""What can be chosen for a conversation: models, how they answer, who they are to be."""

from __future__ import annotations

from kajiya.core.config import Config, option
from kajiya.core.language import tr


class Sampling(Config):
    """How an answer is drawn; the names are those of the API."""

    temperature: float = option(
        0.7,
        en="Temperature",
        ja="温度",
        help=(
            "0 always says the likeliest; higher varies more.",
            "0 は最も確からしい回答。大きいほど変化します。",
        ),
        ge=0,
        le=2,
    )
    top_p: float = option(
        1.0,
        en="Top-p",
        ja="Top-p",
        help=(
            "Draws from the likeliest tokens that together have this probability.",
            "確率の合計がこの値になるまでの、上位の候補から選びます。",
        ),
        ge=0,
        le=1,
    )
    min_p: float = option(
        0.0,
        en="Min-p",
        ja="Min-p",
        help=(
            "Leaves out tokens less likely than this share of the likeliest.",
            "最有力の候補に対してこの割合より確率の低い候補を除きます。",
        ),
        ge=0,
        le=1,
    )
    frequency_penalty: float = option(
        0.0,
        en="Frequency penalty",
        ja="頻度ペナルティ",
        help=("Against saying the same words often.", "同じ言葉の繰り返しを減らします。"),
        ge=-2,
        le=2,
    )
    presence_penalty: float = option(
        0.0,
        en="Presence penalty",
        ja="出現ペナルティ",
        help=("Against saying a word again at all.", "一度出た言葉を出にくくします。"),
        ge=-2,
        le=2,
    )
    max_tokens: int = option(
        512,
        en="Longest answer in tokens",
        ja="回答の最大トークン数",
        ge=1,
        le=32_768,
    )
    seed: int | None = option(
        None,
        en="Seed",
        ja="乱数の種",
        help=("The same seed gives the same answer.", "同じ値なら同じ回答になります。"),
        ge=0,
        le=2**31 - 1,
    )


class Character(Config):
    """Whom the model is to play, said in a system prompt."""

    name: str = option("", en="Name", ja="名前", max_length=100)
    first_person: str = option(
        "",
        en="Calls itself",
        ja="一人称",
        help=("What it says for “I”.", "私、ぼく、わし など。"),
        max_length=50,
    )
    manner: str = option(
        "",
        en="Manner",
        ja="性格と話し方",
        help=(
            "Temper, way of speaking, what it likes.",
            "性格、口調、語尾、好きなものなど。",
        ),
        max_length=4000,
    )
    examples: str = option(
        "",
        en="Examples of what it says",
        ja="せりふの例",
        help=("One a line.", "1 行に 1 つ書きます。"),
        max_length=8000,
    )

    def prompt(self) -> str:
        """The instruction, in the language in use; empty if nothing was filled in."""
        lines = []
        if self.name:
            lines.append(tr(f"You are {self.name}.", f"あなたは「{self.name}」です。"))
        if self.first_person:
            lines.append(
                tr(
                    f"You call yourself “{self.first_person}”.",
                    f"一人称は「{self.first_person}」です。",
                )
            )
        if self.manner:
            lines.append(tr(f"Your manner: {self.manner}", f"性格と話し方: {self.manner}"))
        said = [f"- {line.strip()}" for line in self.examples.splitlines() if line.strip()]
        if said:
            lines += [tr("Examples of what you say:", "せりふの例:"), *said]
        if lines:
            lines.append(
                tr(
                    "Stay this character in every answer.",
                    "どの回答でも、この人物になりきって話してください。",
                )
            )
        return "\n".join(lines)


class ChatSettings(Config):
    """One conversation's. `models` are names as the API takes them, mixtures included; two are compared."""

    models: tuple[str, ...] = option((), en="Models", ja="モデル", max_length=2)
    system: str = option(
        "",
        en="System prompt",
        ja="システムプロンプト",
        help=(
            "Instruction that comes before the conversation.",
            "会話の前に置く指示。",
        ),
        max_length=16_000,
    )
    character: Character = option(Character, en="Character", ja="キャラクター")
    sampling: Sampling = option(Sampling, en="Sampling", ja="生成の設定")

    def instruction(self) -> str:
        """The whole system message; empty if there is none."""
        return "\n\n".join(text for text in (self.character.prompt(), self.system) if text)
