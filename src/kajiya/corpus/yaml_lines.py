"""YAML files whose mistakes are told with file, line and field.

Plain data only (the safe loader). A key that stands twice is refused: YAML would silently take the
last.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import yaml

from kajiya.core.errors import ConfigError, NotFoundError
from kajiya.core.language import tr

_LARGEST = 1_000_000  # bytes


class YamlLines:
    """What a YAML file holds: its `values`, and the line on which each of them stands.

    `path` names it in errors.
    """

    def __init__(self, raw: bytes, path: Path) -> None:
        self.path = path
        self._lines: dict[tuple[str, ...], int] = {}
        self._walked: set[int] = set()
        if len(raw) > _LARGEST:
            raise self.error(tr("this is no recipe: too large", "レシピにしては大きすぎます"))
        try:
            text = raw.decode("utf-8")
            root = yaml.compose(text, yaml.SafeLoader)
            self.values: Any = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            mark = getattr(error, "problem_mark", None)
            reason = getattr(error, "problem", None) or str(error)
            raise self.error(
                tr(f"not valid YAML: {reason}", f"YAML として読めません: {reason}"),
                line=mark.line + 1 if mark else None,
            ) from None
        if root is not None:
            self._walk(root, ())

    @classmethod
    def load(cls, path: Path) -> Self:
        """The file at `path`. Raises `NotFoundError` or `ConfigError` if it cannot be read."""
        try:
            with path.open("rb") as file:
                raw = file.read(_LARGEST + 1)
        except FileNotFoundError:
            raise NotFoundError(
                tr("there is no such file", "ファイルがありません"), where=str(path)
            ) from None
        except OSError as error:
            raise ConfigError(
                tr(f"cannot be read: {error.strerror}", f"読めません: {error.strerror}"),
                where=str(path),
            ) from None
        return cls(raw, path)

    def where(self, field: tuple[str, ...]) -> str:
        """`recipe.yaml:12: rules.preset`; the nearest line that is known."""
        name = [".".join(field)] if field else []
        for length in range(len(field), -1, -1):
            if field[:length] in self._lines:
                return ": ".join([f"{self.path}:{self._lines[field[:length]]}", *name])
        return ": ".join([str(self.path), *name])

    def error(self, message: str, *, line: int | None = None) -> ConfigError:
        """A mistake in the file."""
        return ConfigError(message, where=f"{self.path}:{line}" if line else str(self.path))

    def _walk(self, node: yaml.Node, field: tuple[str, ...]) -> None:
        self._lines.setdefault(field, node.start_mark.line + 1)
        if id(node) in self._walked:  # by a reference; references to references grow like powers
            return
        self._walked.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            for number, child in enumerate(node.value):
                self._walk(child, (*field, str(number)))
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, child in node.value:
                name, line = str(key.value), key.start_mark.line + 1
                if name in seen:
                    raise self.error(
                        tr(f"{name} stands twice", f"{name} が重複しています"), line=line
                    )
                seen.add(name)
                self._lines[(*field, name)] = line
                self._walk(child, (*field, name))
