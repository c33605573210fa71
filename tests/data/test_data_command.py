"""`kajiya data` as people run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from kajiya.cli.data import data
from kajiya.core.workspace import Workspace
from kajiya.data.dataset import load_dataset
from kajiya.store.artifacts import ArtifactStore


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    monkeypatch.setenv("KAJIYA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "120")
    return Workspace.current()


def test_a_good_file_with_a_model(faq: Path, model_folder: Path, workspace: Workspace) -> None:
    result = CliRunner().invoke(
        data, ["check", str(faq), "--model", str(model_folder), "--rows", "1"]
    )
    assert result.exit_code == 0, result.output
    assert "question ← 質問" in result.output
    assert "<|im_start|>user\n本社の始業時刻は何時何分ですか。<|im_end|>" in result.output
    assert (
        "⟦本社の始業時刻は8時25分で、始業後すぐに各職場で体操を行います。<|im_end|>⟧"
        in result.output
    )
    assert "120 of 120 rows kept" in result.output
    assert "No findings" in result.output
    assert not workspace.home.exists()


def test_the_label_mask_is_in_colour(
    faq: Path, model_folder: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    arguments = ["check", str(faq), "--model", str(model_folder), "--rows", "1"]
    output = CliRunner().invoke(data, arguments, color=True).output
    assert "\x1b[32m本社の始業時刻は8時25分で" in output
    assert "\x1b[1;32m<|im_end|>" in output
    assert "⟦本社" not in output


def test_findings_of_a_bad_file(tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(
        '{"q": "a", "a": "[bold]\\u001b[31m赤"}\n{"q": "", "a": "b"}\n{"q": [1], "a": "b"}\n'
    )
    result = CliRunner().invoke(data, ["check", str(path)])
    assert result.exit_code == 1
    assert "error 1, warning 2" in result.output
    assert "the question is empty" in result.output
    assert "[bold]" in result.output and "\x1b" not in result.output


def test_json_for_programs(faq: Path, tmp_path: Path, workspace: Workspace) -> None:
    good = CliRunner().invoke(data, ["check", str(faq), "--json", "--rows", "2"])
    answer = json.loads(good.output)
    assert (good.exit_code, answer["ok"], len(answer["preview"])) == (0, True, 2)
    assert answer["statistics"]["kept"] == 120
    bad = CliRunner().invoke(data, ["check", str(tmp_path / "none.csv"), "--json"])
    answer = json.loads(bad.output)
    assert (bad.exit_code, answer["ok"], answer["error"]["code"]) == (1, False, "missing")


def test_columns_and_limit_by_option(tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "data.csv"
    path.write_text("甲,乙\n何時?,8時です\n")
    options = ["--column", "question=甲", "--column", "回答=乙"]
    assert CliRunner().invoke(data, ["check", str(path), *options]).exit_code == 0
    small = CliRunner().invoke(
        data, ["check", str(path), *options, "--limit-mb", "0.00001", "--json"]
    )
    assert json.loads(small.output)["error"]["code"] == "too_large"
    wrong = CliRunner().invoke(data, ["check", str(path), "--column", "question", "--json"])
    assert "ROLE=NAME" in json.loads(wrong.output)["error"]["message"]


def test_import_keeps_a_dataset(faq: Path, workspace: Workspace) -> None:
    result = CliRunner().invoke(data, ["import", str(faq), "--name", "faq"])
    assert result.exit_code == 0, result.output
    assert "faq:1: 120 of 120 rows kept" in result.output
    assert len(load_dataset(ArtifactStore(workspace).get("faq", "dataset").folder)) == 120


def test_a_bad_file_is_not_imported(tmp_path: Path, workspace: Workspace) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"q": [1], "a": "b"}')
    assert CliRunner().invoke(data, ["import", str(path), "--name", "bad"]).exit_code != 0
    assert not workspace.home.exists()


@pytest.mark.parametrize("arguments", [[], ["check"], ["import"]])
def test_help_has_examples(arguments: list[str]) -> None:
    result = CliRunner().invoke(data, [*arguments, "--help"])
    assert "Examples:\n" in result.output and "  kajiya data" in result.output


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, kajiya.cli.data; early = {'rich', 'pyarrow', 'tokenizers'} & sys.modules.keys();"
        "import kajiya.data.check, kajiya.data.dataset;"
        "late = {'torch', 'transformers', 'pyarrow', 'sqlalchemy'} & sys.modules.keys();"
        "sys.exit(f'{early} {late}' if early or late else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
