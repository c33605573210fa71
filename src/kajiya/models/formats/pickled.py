"""Reads named tensors from a `.pth` file without ever running what is in it.

`torch.load(weights_only=True)` makes nothing but tensors; what is checked here besides is that a small
file cannot claim a large one's memory, and that every refusal says why.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from kajiya.core.errors import FormatError, NotFoundError
from kajiya.core.language import tr

if TYPE_CHECKING:
    from torch import Tensor

_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")


def read_pickled(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth` file by name, memory-mapped, as they are stored.

    Raises `NotFoundError` if there is none and `FormatError`, with the reason, for a file that holds
    anything but a flat dictionary of plain tensors, or is damaged.
    """
    if not path.is_file():
        raise NotFoundError(tr("there is no such file", "ファイルがありません"), where=str(path))
    _check_container(path)
    found = _load(path)
    if not isinstance(found, dict) or not found:
        raise _refusal(path, tr("it holds no named tensors", "名前付きのテンソルが入っていません"))
    for name, value in found.items():
        _check_plain(path, name, value)
    # Tensors can share memory, and so claim to be far larger together than the file is.
    if sum(value.numel() * value.element_size() for value in found.values()) > path.stat().st_size:
        raise _refusal(
            path,
            tr(
                "its tensors claim to be larger than the file",
                "テンソルの大きさの合計がファイルより大きくなっています",
            ),
        )
    return found


def _check_container(path: Path) -> None:
    """Today's files are zip archives whose members are stored; a compressed one could be a bomb."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            packed = [m.filename for m in archive.infolist() if m.file_size > m.compress_size]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise _damaged(path, error) from None
    if packed:
        raise _refusal(
            path, tr(f"{packed[0]} in it is compressed", f"中の {packed[0]} が圧縮されています")
        )


def _load(path: Path) -> Any:
    import torch

    try:
        # Only archives can be mapped into memory; older files are read.
        mapped = zipfile.is_zipfile(path)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except UnpicklingError as error:
        code = _GLOBAL.search(str(error))
        if code is None:
            raise _damaged(path, error) from None
        raise FormatError(
            tr(
                f"it holds more than tensors: it asks for {code[1]}, which could run as code",
                f"テンソル以外のものが入っています: {code[1]} (プログラムとして実行されるおそれがあります)",
            ),
            where=str(path),
            fix=tr("get it from a source that you trust", "信頼できる配布元から入手してください"),
        ) from None
    except Exception as error:  # a damaged file makes torch raise anything
        raise _damaged(path, error) from None


def _check_plain(path: Path, name: Any, value: Any) -> None:
    import torch

    if not isinstance(name, str) or type(value) not in (torch.Tensor, torch.nn.Parameter):
        raise _refusal(
            path,
            tr(
                f"{str(name)[:80]} is no plain tensor ({type(value).__name__})",
                f"{str(name)[:80]} が普通のテンソルではありません ({type(value).__name__})",
            ),
        )
    if (
        value.layout is not torch.strided
        or value.device.type != "cpu"
        or not value.is_floating_point()
    ):
        raise _refusal(
            path,
            tr(
                f"{name[:80]} holds no plain floating-point numbers ({value.dtype}, {value.layout})",
                f"{name[:80]} が普通の浮動小数点数ではありません ({value.dtype}, {value.layout})",
            ),
        )


def _damaged(path: Path, error: Exception) -> FormatError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return FormatError(
        tr(
            f"it is cut short, or no .pth file ({reason})",
            f"途中で切れているか、.pth ではありません ({reason})",
        ),
        where=str(path),
        fix=tr("download or copy the file again", "ファイルをもう一度取得してください"),
    )


def _refusal(path: Path, reason: str) -> FormatError:
    return FormatError(
        reason,
        where=str(path),
        fix=tr(
            "give a file of the official layout (one tensor a name)",
            "公式の形式 (名前とテンソルの対応) のファイルを指定してください",
        ),
    )
