"""What stages, rules and kinds of personal data are called on the page: (English, Japanese)."""

from __future__ import annotations

from typing import Any

from kajiya.corpus.personal.mask import PersonalSettings
from kajiya.corpus.rules.settings import Rules

STAGES = {
    "rules": ("Rules", "選別の規則"),
    "personal": ("Personal data", "個人情報"),
    "exact": ("Exact duplicates", "完全一致の重複"),
    "near": ("Near-duplicates", "類似文書の重複"),
    "lines": ("Repeated lines", "繰り返される行"),
    "contamination": ("Evaluation items", "評価問題の混入"),
    "removed": ("Taken down", "削除依頼"),
}
REASONS = {
    "characters": ("Characters", "文字数"),
    "personal": ("Holds personal data", "個人情報を含む"),
    "exact-duplicate": ("The same text again", "同一の文書"),
    "near-duplicate": ("Almost the same text", "ほぼ同一の文書"),
    "repeated-lines": ("Nothing but repeated lines", "繰り返される行だけの文書"),
    "contamination": ("Holds an evaluation item", "評価問題を含む"),
    "removed": ("Taken down on request", "依頼により削除"),
}


def _titles(settings: Any) -> dict[str, tuple[str, str]]:
    fields = settings.model_fields.items()
    titles = ((name, field.json_schema_extra["title"]) for name, field in fields)
    return {name: (title["en"], title["ja"]) for name, title in titles}


KINDS = _titles(PersonalSettings)
RULES = _titles(Rules)


def reason(name: str) -> tuple[str, str]:
    """What a reason or a rule's statistic is called; itself if it has no other name."""
    return REASONS.get(name) or RULES.get(name) or (name, name)
