"""Passwords as they are kept: scrypt with a salt and a cost of their own; and what one must be like."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import unicodedata

from kajiya.core.errors import ConfigError
from kajiya.core.language import tr

SHORTEST, LONGEST = 10, 200
# 32 MiB and a quarter of a second on a laptop: OWASP's second choice of cost (2^15, 8, 3).
_COST, _BLOCK, _LANES = 2**15, 8, 3
_MEMORY = 64 * 1024**2


def hash_password(password: str) -> str:
    """`scrypt$cost$block$lanes$salt$hash`; `ConfigError` if the password is too short, long or common."""
    plain = _normal(password)
    _check(plain)
    salt = os.urandom(16)
    parts = (_COST, _BLOCK, _LANES)
    made = _scrypt(plain, salt, *parts)
    return "$".join(["scrypt", *(str(part) for part in parts), _text(salt), _text(made)])


def verify_password(password: str, kept: str) -> bool:
    """Whether `kept` was made from this password; takes as long either way."""
    _, cost, block, lanes, salt, made = kept.split("$")
    plain = _normal(password)
    given = _scrypt(plain, base64.b64decode(salt), int(cost), int(block), int(lanes))
    return hmac.compare_digest(given, base64.b64decode(made))


def _normal(password: str) -> str:
    """The same letters typed on another keyboard may come in another form."""
    return unicodedata.normalize("NFKC", password[: 10 * LONGEST])


def _check(password: str) -> None:
    if not SHORTEST <= len(password) <= LONGEST:
        raise ConfigError(
            tr(
                f"A password has {SHORTEST} to {LONGEST} characters",
                f"パスワードは {SHORTEST}〜{LONGEST} 文字にしてください",
            ),
            where="password",
        )
    if len(set(password)) < 4:
        raise ConfigError(
            tr(
                "This password is too easy to guess: use at least four different characters",
                "このパスワードは推測されやすすぎます。4 種類以上の文字を使ってください",
            ),
            where="password",
        )


def _scrypt(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    plain = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(plain, salt=salt, n=cost, r=block, p=lanes, maxmem=_MEMORY, dklen=32)


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
