"""What kinds of artifacts, and the parts they play in another's making, are called."""

from __future__ import annotations

from kajiya.core.language import tr


def kind_words(kind: str) -> str:
    """A kind in the language in use; one that is not known here as it is."""
    known = {
        "model": tr("model", "モデル"),
        "adapter": tr("adapter", "アダプタ"),
        "dataset": tr("dataset", "データ"),
        "corpus": tr("corpus", "コーパス"),
        "tokenizer": tr("tokenizer", "トークナイザー"),
    }
    return known.get(kind, kind)


def role_words(role: str) -> str:
    """What a parent was for its child; a role that is not known here as it is."""
    known = {
        "base": tr("base", "もと"),
        "data": tr("data", "学習用"),
        "held-out": tr("held-out", "検証用"),
        "tokenizer": tr("tokenizer", "トークナイザー"),
    }
    return known.get(role, role)
