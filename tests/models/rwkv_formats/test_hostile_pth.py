"""`.pth` files that would do harm, or are not what they say, are refused with the reason."""

from __future__ import annotations

import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kajiya.core.errors import FormatError, NotFoundError
from kajiya.core.workspace import Workspace
from kajiya.models.formats.rwkv.pth import read_pth
from kajiya.models.importing import import_model
from kajiya.store.artifacts import ArtifactStore

Tensors = dict[str, Any]
Damaged = Callable[..., Path]


class Touch:
    """What runs when it is unpickled: a file appears."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


def refused(path: Path, match: str) -> FormatError:
    with pytest.raises(FormatError, match=match) as caught:
        read_pth(path)
    assert str(path) in caught.value.where and caught.value.fix
    return caught.value


def test_the_canary_would_be_written(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    torch.save({"emb.weight": Touch(canary)}, tmp_path / "evil.pth")
    torch.load(tmp_path / "evil.pth", weights_only=False)
    assert canary.exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_not_run(
    damaged: Damaged, workspace: Workspace, tmp_path: Path, zipped: bool
) -> None:
    canary = tmp_path / "canary"

    def poison(tensors: Tensors) -> Tensors:
        return {**tensors, "blocks.0.att.r_k": Touch(canary)}

    path = damaged(poison)
    if not zipped:
        torch.save(poison({}), path, _use_new_zipfile_serialization=False)
    assert "system" in refused(path, "more than tensors").message
    with pytest.raises(FormatError, match="could run as code"):
        import_model(str(path), "evil", workspace)
    assert not canary.exists()
    assert ArtifactStore(workspace).list() == []


def test_a_bare_pickle_is_not_run(tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(Touch(canary)))
    refused(path, "more than tensors|no .pth file")
    assert not canary.exists()


def set_to(name: str, change: Callable[[Any], Any]) -> Callable[[Tensors], None]:
    def apply(tensors: Tensors) -> None:
        tensors[name] = change(tensors[name])

    return apply


def turned(tensor: Any) -> Any:
    return tensor.transpose(-2, -1).contiguous()


@pytest.mark.parametrize(
    "name",
    [
        *("emb.weight", "head.weight", "blocks.1.att.w1", "blocks.1.att.w2", "blocks.0.att.a1"),
        *("blocks.2.att.v2", "blocks.0.att.g1", "blocks.1.ffn.key.weight"),
        *("blocks.1.ffn.value.weight", "blocks.0.att.r_k"),
    ],
)
def test_matrices_the_wrong_way_round(damaged: Damaged, name: str) -> None:
    error = refused(damaged(set_to(name, turned)), "wrong way round")
    assert error.where.endswith(name)


@pytest.mark.parametrize(
    "name",
    ["att.time_maa_w1", "att.time_maa_w2", "att.time_decay_w1", "att.time_faaaa", "ffn.key.weight"],
)
def test_matrices_of_rwkv6_the_wrong_way_round(damaged: Damaged, name: str) -> None:
    name = f"blocks.0.{name}"
    error = refused(damaged(set_to(name, turned), "rwkv6"), "wrong way round")
    assert error.where.endswith(name)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.pop("blocks.1.att.k_a"), "this tensor is missing"),
        (lambda t: t.pop("head.weight"), "this tensor is missing"),
        (lambda t: t.update({"blocks.4.ln1.weight": t["ln_out.weight"]}), "missing"),
        (lambda t: t.update({"blocks.9999.ln1.weight": t["ln_out.weight"]}), "10000 layers"),
        (lambda t: t.update({"blocks.0.ffn.s_emb.weight": t["ln_out.weight"]}), "no such tensor"),
        (lambda t: t.update({"blocks.0.att.time_state": torch.ones(2, 64, 64)}), "no such tensor"),
        (set_to("blocks.1.att.x_r", lambda t: t[..., :100]), r"\[1, 1, 128\] is expected"),
        (set_to("ln_out.weight", lambda t: t[:100]), "heads of 64 in a width of 100"),
        (set_to("blocks.1.att.key.weight", lambda t: t[:, :64]), r"\[128, 128\] is expected"),
        (set_to("blocks.1.att.w1", lambda t: t[:, :16]), r"\[128, 24\] is expected"),
        (
            set_to("blocks.1.att.w1", lambda t: t[:1].view([1] * 20 + [24])),
            r"\[128, 24\] is expected",
        ),
        (set_to("blocks.1.ln1.bias", lambda t: t * float("nan")), "NaN"),
        (set_to("emb.weight", lambda t: t * float("inf")), "infinite"),
        (set_to("emb.weight", lambda t: t.to(torch.int8)), "floating-point"),
        (set_to("emb.weight", lambda t: t.to_sparse()), "more than tensors|plain"),
        (set_to("emb.weight", lambda t: t.tolist()[:1]), "no plain tensor"),
        (lambda t: [t], "no named tensors"),
        (lambda t: {}, "no named tensors"),
        (lambda t: {"model": t}, "no plain tensor"),
        (lambda t: {1: t["emb.weight"]}, "no plain tensor"),
        (lambda t: {"emb.weight": t["emb.weight"]}, "not weights of RWKV-7 or RWKV-6"),
        (lambda t: {"blocks.0.att.time_state": torch.zeros(2, 64, 64)}, "initial state"),
        (lambda t: {"a": torch.zeros(1).expand(1 << 40)}, "larger than the file"),
        (lambda t: {"a": torch.empty(1 << 40, device="meta")}, "plain|more than tensors"),
    ],
)
def test_what_makes_no_model(damaged: Damaged, change: Any, reason: str) -> None:
    def apply(tensors: Tensors) -> Any:
        result = change(tensors)
        return result if isinstance(result, dict | list) else None

    refused(damaged(apply), reason)


def test_memory_shared_many_times_over(damaged: Damaged) -> None:
    def share(tensors: Tensors) -> Tensors:
        return {str(number): tensors["emb.weight"] for number in range(1000)}

    refused(damaged(share), "larger than the file")


def test_a_compressed_archive(damaged: Damaged, tmp_path: Path) -> None:
    path = damaged(lambda tensors: None)
    packed = tmp_path / "packed.pth"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w") as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member), zipfile.ZIP_DEFLATED)
    refused(packed, "is compressed")


def test_cut_anywhere(rwkv_folder: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "cut.pth"
    shutil.copyfile(rwkv_folder("rwkv7") / "official.pth", path)
    size = path.stat().st_size
    for length in [size - 1, size - 30, *range(size * 9 // 10, 0, -size // 9), 3, 1, 0]:
        os.truncate(path, length)
        refused(path, "cut short, or no .pth file|no named tensors")


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
    tail=st.booleans(),
)
def test_changed_bytes(
    rwkv_folder: Callable[[str], Path],
    tmp_path: Path,
    changes: list[tuple[float, int]],
    tail: bool,
) -> None:
    """Where the pickle and the archive's directory are, any byte may change: refused, or read."""
    data = bytearray((rwkv_folder("rwkv7") / "official.pth").read_bytes())
    start, room = (len(data) - 20_000, 20_000) if tail else (0, 12_000)
    for place, value in changes:
        data[start + int(place * (room - 1))] = value
    path = tmp_path / "changed.pth"
    path.write_bytes(data)
    try:
        read_pth(path)
    except FormatError as error:
        assert error.message and error.where


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        read_pth(tmp_path / "none.pth")
