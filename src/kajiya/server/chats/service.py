"""What the pages of the chat work with, put together for one gateway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from kajiya.server.chats.answering import Answering
from kajiya.server.chats.conversations import Conversations
from kajiya.server.chats.preferences import Preferences
from kajiya.server.gateway import Gateway
from kajiya.server.serving import Serving


@dataclass(frozen=True)
class Chats:
    """Conversations, the answers being written in them, and what people thought of them."""

    conversations: Conversations
    answering: Answering
    preferences: Preferences

    @classmethod
    def open(cls, gateway: Gateway, serving: Serving) -> Self:
        """In the database where the gateway's keys and usage are; `serving` brings models that are coming."""
        conversations = Conversations(gateway.gate.database)
        return cls(
            conversations,
            Answering(gateway, conversations, serving.arrival),
            Preferences(gateway.gate.database, conversations),
        )
