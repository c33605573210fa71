"""What people think of answers: better than another, good or bad, or how it should have been said.

Each row holds the conversation before the answer and what made it, so it can be learnt from after the
conversation and even the model are gone. Rows go one by one, by person, or by age.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import RowMapping, delete, func, insert, select

from kajiya.core.errors import ConfigError, ConflictError, NotFoundError
from kajiya.core.language import tr
from kajiya.server.access import clock
from kajiya.server.chats.conversations import ChatMessage, Conversations, prompt_of
from kajiya.store.database import Database
from kajiya.store.tables import PREFERENCES

Kind = Literal["comparison", "rating", "correction"]
# Of a comparison: which side was better; of a rating: whether it was good.
Verdict = Literal["a", "b", "tie", "up", "down", ""]
_LONGEST = 100_000  # characters of a correction


@dataclass(frozen=True)
class Preference:
    """One opinion on `answer`, which came after `prompt` (messages with role and content).

    `other_answer` is what it was compared with, or what it was corrected to.
    """

    id: str
    kind: Kind
    verdict: Verdict
    user_id: str
    message_id: str
    prompt: tuple[dict[str, str], ...]
    answer: str
    made_by: dict[str, Any]
    other_answer: str | None
    other_made_by: dict[str, Any] | None
    created_at: str


PreferenceList: TypeAlias = list[Preference]  # `list` is a method below


class Preferences:
    """The table of preferences. Safe between threads and processes."""

    def __init__(self, database: Database, conversations: Conversations) -> None:
        self._database = database
        self._conversations = conversations

    def compare(self, user_id: str, message_id: str, verdict: Literal["a", "b", "tie"]) -> None:
        """Which of the answers beside each other is better; said again, it replaces what was said.

        Raises `ConflictError` where there are not two that have ended.
        """
        conversation, message = self._conversations.message(user_id, message_id)
        messages = self._conversations.messages(conversation)
        both = [each for each in messages if each.position == message.position and each.is_answer]
        if len(both) < 2:
            raise ConflictError(tr("there is nothing to compare it with", "比べる回答がありません"))
        for each in both:
            _check_ended(each)
        self._keep("comparison", verdict, user_id, messages, both[0], both[1])
        self._conversations.choose(both[verdict == "b"])

    def rate(self, user_id: str, message_id: str, verdict: Literal["up", "down", ""]) -> None:
        """Whether an answer is good; the empty verdict takes back what was said."""
        conversation, message = self._conversations.message(user_id, message_id)
        _check_ended(message)
        messages = self._conversations.messages(conversation)
        if verdict:
            self._keep("rating", verdict, user_id, messages, message)
        else:
            self._take_back("rating", user_id, message_id)

    def correct(self, user_id: str, message_id: str, text: str) -> None:
        """How an answer should have been said; the same as it was takes the correction back."""
        conversation, message = self._conversations.message(user_id, message_id)
        _check_ended(message)
        if not text.strip() or len(text) > _LONGEST:
            raise ConfigError(
                tr(
                    f"a correction has 1 to {_LONGEST:,} characters",
                    f"修正文は 1〜{_LONGEST:,} 文字にしてください",
                ),
                where="text",
            )
        if text == message.content:
            self._take_back("correction", user_id, message_id)
            return
        messages = self._conversations.messages(conversation)
        self._keep("correction", "", user_id, messages, message, corrected=text)

    def of_messages(
        self, user_id: str, message_ids: list[str]
    ) -> dict[tuple[str, Kind], Preference]:
        """What somebody said of these answers."""
        here = PREFERENCES.c.message_id.in_(message_ids) & (PREFERENCES.c.user_id == user_id)
        with self._database.read() as connection:
            rows = connection.execute(select(PREFERENCES).where(here)).mappings().all()
        return {(row["message_id"], row["kind"]): _preference(row) for row in rows}

    def list(self, kind: Kind | None = None, limit: int | None = None) -> PreferenceList:
        """What everybody said, the newest first."""
        query = select(PREFERENCES).order_by(PREFERENCES.c.created_at.desc(), PREFERENCES.c.id)
        if kind:
            query = query.where(PREFERENCES.c.kind == kind)
        with self._database.read() as connection:
            rows = connection.execute(query.limit(limit)).mappings().all()
        return [_preference(row) for row in rows]

    def counts(self) -> dict[Kind, int]:
        """How many there are of each kind."""
        query = select(PREFERENCES.c.kind, func.count()).group_by(PREFERENCES.c.kind)
        with self._database.read() as connection:
            return {row[0]: row[1] for row in connection.execute(query)}

    def remove(self, id: str) -> None:
        """Forget one; `NotFoundError` if there is none."""
        if not self._remove(PREFERENCES.c.id == id):
            raise NotFoundError(tr("there is no such preference", "その評価はありません"), where=id)

    def remove_of(self, user_id: str) -> int:
        """Forget all that somebody said; returns how many."""
        return self._remove(PREFERENCES.c.user_id == user_id)

    def remove_before(self, moment: str) -> int:
        """Forget what is older than `moment` (ISO 8601 in UTC); returns how many."""
        return self._remove(PREFERENCES.c.created_at < moment)

    def _remove(self, condition: Any) -> int:
        with self._database.write() as connection:
            return connection.execute(delete(PREFERENCES).where(condition)).rowcount

    def _take_back(self, kind: Kind, user_id: str, message_id: str) -> None:
        self._remove(_said(kind, user_id, message_id))

    def _keep(
        self,
        kind: Kind,
        verdict: Verdict,
        user_id: str,
        messages: Sequence[ChatMessage],
        answer: ChatMessage,
        other: ChatMessage | None = None,
        corrected: str | None = None,
    ) -> None:
        made_by = answer.made_by
        prompt = prompt_of(messages, answer, made_by.get("system", ""), made_by.get("forgotten", 0))
        values = {
            "id": f"pref-{secrets.token_hex(8)}",
            "kind": kind,
            "verdict": verdict,
            "user_id": user_id,
            "message_id": answer.id,
            "prompt": [asdict(message) for message in prompt],
            "answer": answer.content,
            "made_by": made_by,
            "other_answer": other.content if other else corrected,
            "other_made_by": other.made_by if other else None,
            "created_at": clock.moment(clock.now()),
        }
        with self._database.write() as connection:
            connection.execute(delete(PREFERENCES).where(_said(kind, user_id, answer.id)))
            connection.execute(insert(PREFERENCES).values(**values))


def _said(kind: Kind, user_id: str, message_id: str) -> Any:
    return (
        (PREFERENCES.c.kind == kind)
        & (PREFERENCES.c.user_id == user_id)
        & (PREFERENCES.c.message_id == message_id)
    )


def _preference(row: RowMapping) -> Preference:
    return Preference(**{**row, "prompt": tuple(row["prompt"])})


def _check_ended(message: ChatMessage) -> None:
    if not message.is_answer or message.status in ("running", "failed") or not message.content:
        raise ConflictError(
            tr("this is no finished answer", "まだ評価できる回答ではありません"),
            fix=tr("wait until it is there", "回答が終わってからお試しください"),
        )
