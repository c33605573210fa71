"""Personal data in a batch of documents: counted, masked, or the document dropped."""

from __future__ import annotations

from collections import Counter
from typing import Literal

import polars as pl

from kajiya.core.config import Config, option
from kajiya.corpus.personal.find import find_personal
from kajiya.corpus.personal.finding import KINDS, Finding, Kind

REASON = "personal"
Action = Literal["keep", "mask", "drop"]
_HELP = (
    "keep: only count; mask: put a mark such as [PHONE] in its place; drop: leave the document out",
    "keep: 数えるだけ、mask: [PHONE] などの印に置き換える、drop: 文書ごと除く",
)


class PersonalSettings(Config):
    """What is done with each kind of personal data."""

    email: Action = option("mask", en="E-mail addresses", ja="メールアドレス", help=_HELP)
    card: Action = option("mask", en="Payment cards", ja="クレジットカード番号", help=_HELP)
    my_number: Action = option("mask", en="My Numbers", ja="マイナンバー", help=_HELP)
    bank_account: Action = option("mask", en="Bank accounts", ja="銀行口座番号", help=_HELP)
    phone: Action = option("mask", en="Telephone numbers", ja="電話番号", help=_HELP)
    postal_code: Action = option("mask", en="Postal codes", ja="郵便番号", help=_HELP)
    address: Action = option("mask", en="Addresses", ja="住所", help=_HELP)
    name: Action = option(
        "keep", en="Names before a title", ja="敬称や肩書きの付いた氏名", help=_HELP
    )


def mask_text(text: str, findings: list[Finding], kinds: set[Kind]) -> str:
    """The text with a mark in the place of each finding of `kinds`."""
    parts: list[str] = []
    at = 0
    for finding in findings:
        if finding.kind in kinds:
            parts += [text[at : finding.start], f"[{finding.kind.upper()}]"]
            at = finding.end
    return "".join([*parts, text[at:]])


def mask_frame(frame: pl.DataFrame, settings: PersonalSettings) -> pl.DataFrame:
    """The same documents, masked, with a column `personal.KIND` of counts for each kind.

    Documents that hold what is to be dropped get the `reason` `personal` if they had none, and keep
    their text.
    """
    actions: dict[Kind, Action] = {kind: getattr(settings, kind) for kind in KINDS}
    masked = {kind for kind, action in actions.items() if action == "mask"}
    dropped = [kind for kind, action in actions.items() if action == "drop"]
    texts: list[str] = []
    counts: list[Counter[Kind]] = []
    for text in frame["text"]:
        findings = find_personal(text)
        counts.append(Counter(finding.kind for finding in findings))
        drop = any(counts[-1][kind] for kind in dropped)
        texts.append(text if drop else mask_text(text, findings, masked))
    columns = [pl.Series("text", texts, pl.String)] + [
        pl.Series(f"personal.{kind}", [count[kind] for count in counts], pl.Int64) for kind in KINDS
    ]
    bad = pl.Series([any(count[kind] for kind in dropped) for count in counts], dtype=pl.Boolean)
    earlier = pl.col("reason") if "reason" in frame.columns else pl.lit(None, pl.String)
    reason = pl.coalesce(earlier, pl.when(bad).then(pl.lit(REASON)))
    return frame.with_columns(*columns, reason.alias("reason"))
