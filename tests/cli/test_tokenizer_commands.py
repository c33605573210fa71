"""`kajiya tokenizer`, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from kajiya.cli.main import cli
from kajiya.core.errors import ConfigError, DataError, FormatError, KajiyaError, NotFoundError
from kajiya.core.workspace import Workspace
from kajiya.store.artifacts import ArtifactStore
from kajiya.tokenizer.chat import ChatTokenizer
from support.corpora import make_model, make_tokenizer
from support.japanese import japanese_texts


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAJIYA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"text": text}, ensure_ascii=False) for text in japanese_texts()]
    Path("corpus.jsonl").write_text("\n".join(lines), encoding="utf-8")


def run(line: str) -> Result:
    return CliRunner().invoke(cli, line.split(), catch_exceptions=False)


def fails(line: str, kind: type[KajiyaError]) -> str:
    with pytest.raises(kind) as raised:
        run(line)
    store = ArtifactStore(Workspace.current())
    assert store.list("tokenizer") == []
    return str(raised.value)


TRAIN = "tokenizer train --text corpus.jsonl --vocab-size 2000"


def test_train_and_look(tmp_path: Path) -> None:
    Path("terms.txt").write_text("鍛冶屋の弟子\n")
    result = run(f"{TRAIN} --name ja --terms terms.txt --licence Apache-2.0")
    assert result.exit_code == 0
    assert "ja:1: unigram, 2,000 tokens" in result.output
    found = ArtifactStore(Workspace.current()).get("ja", "tokenizer")
    assert {"tokenizer.json", "tokenizer.model", "terms.txt"} <= found.manifest.files.keys()
    assert found.manifest.metrics["characters_per_token"] > 1
    assert found.manifest.config["algorithm"] == "unigram"
    (text,) = found.manifest.details["texts"]
    assert (text["name"], text["files"]) == ("corpus.jsonl", 1) and len(text["sha256"]) == 64
    assert [entry.name for entry in found.manifest.licence] == ["Apache-2.0"]
    assert len(ChatTokenizer.load(found.folder).encode("鍛冶屋の弟子")) == 1

    assert "ja:1" in run("models list --kind tokenizer").output
    assert "characters_per_token" in run("models card ja").output
    shown = run("tokenizer show ja").output
    assert "Unigram" in shown and "cannot be written to GGUF" in shown
    facts = json.loads(run("tokenizer show ja --json").output)
    assert (facts["vocab_size"], facts["artifact"]) == (2000, "ja:1")


def test_byte_level_can_be_exported_to_gguf() -> None:
    Path("terms.txt").write_text("鍛冶屋の弟子\n")
    run(f"{TRAIN} --name small --algorithm byte-bpe --terms terms.txt")
    facts = json.loads(run("tokenizer show small --json").output)
    assert (facts["kind"], facts["gguf"]) == ("BPE", "yes")
    found = ArtifactStore(Workspace.current()).get("small", "tokenizer")
    assert len(ChatTokenizer.load(found.folder).encode("鍛冶屋の弟子")) == 1


def test_a_new_model_with_it_names_it_as_its_parent() -> None:
    run(f"{TRAIN} --name ja")
    assert run("models create --arch llama --size 2x64 --tokenizer ja --name m").exit_code == 0
    tree = json.loads(run("models lineage m --json").output)
    assert [(p["kind"], p["reference"]) for p in tree["parents"]] == [("tokenizer", "ja:1")]
    model = ArtifactStore(Workspace.current()).get("m", "model")
    assert "tokenizer.model" in model.manifest.files


def test_extend_with_the_model(tmp_path: Path) -> None:
    make_tokenizer(tmp_path / "tok")
    make_model("llama", tmp_path / "tok", tmp_path / "base")
    assert run("models import ./base --name base").exit_code == 0
    line = "tokenizer extend base --text corpus.jsonl --add 300 --name more --model base-ja"
    result = run(line)
    assert result.exit_code == 0
    assert "300 tokens more" in result.output and "base-ja:1" in result.output
    store = ArtifactStore(Workspace.current())
    tokenizer, model = store.get("more", "tokenizer"), store.get("base-ja", "model")
    figures = tokenizer.manifest.metrics
    assert figures["tuned"]["characters_per_token"] > 1.5 * figures["base"]["characters_per_token"]
    assert [p.reference for p in tokenizer.manifest.parents] == ["base:1"]
    assert {(p.kind, p.reference) for p in model.manifest.parents} == {
        ("model", "base:1"),
        ("tokenizer", "more:1"),
    }
    assert ChatTokenizer.load(model.folder).vocab_size == 620


def test_lab_in_the_terminal_as_json_and_as_a_page(tmp_path: Path) -> None:
    make_tokenizer(tmp_path / "tok")
    line = "tokenizer lab world ./tok --text corpus.jsonl --yen 100 --yen world=50 --html lab.html"
    shown = run(line).output
    assert "world" in shown and "./tok" in shown and "51 characters, 38 tokens" in shown
    assert Path("lab.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    found = json.loads(run(f"{line} --json").output)
    world, tok = found["tokenizers"]
    assert world["characters"] == tok["characters"] == sum(map(len, japanese_texts()))
    assert world["yen_per_million_characters"] == pytest.approx(
        50 * world["tokens"] / world["characters"]
    )
    assert tok["yen_per_million_characters"] == pytest.approx(
        100 * tok["tokens"] / tok["characters"]
    )
    assert [p["text"] for p in found["pieces"]["world"]][:2] == ["大", "手"]


def test_lab_without_texts_shows_a_sentence() -> None:
    shown = run("tokenizer lab world --sentence 鍛冶屋").output
    assert "world: 3 characters, 3 tokens" in shown


def test_what_is_refused(tmp_path: Path) -> None:
    assert "--text" in fails("tokenizer train --name x", ConfigError)
    assert "none.txt" in fails("tokenizer train --text none.txt --name x", NotFoundError)
    assert "none.xz" in fails("tokenizer train --aozora none.xz --name x", NotFoundError)
    assert "vocab_size" in fails(
        "tokenizer train --text corpus.jsonl --name x --vocab-size 299", ConfigError
    )
    assert "vocab_size" in fails(
        "tokenizer train --text corpus.jsonl --name x --vocab-size 400", ConfigError
    )
    assert "presplit" in fails(
        f"{TRAIN} --name x --algorithm byte-bpe --presplit sudachi", ConfigError
    )
    fails("tokenizer train --text corpus.jsonl --name ../x", ConfigError)
    Path("empty.txt").write_text("\n\n")
    fails("tokenizer train --text empty.txt --name x", DataError)
    Path("terms.txt").write_text("改行。あり\n")
    assert "terms.txt:1" in fails(f"{TRAIN} --name x --terms terms.txt", DataError)
    (tmp_path / "uni").mkdir()
    kind = {
        "model": {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0]], "byte_fallback": False}
    }
    (tmp_path / "uni" / "tokenizer.json").write_text(json.dumps({"version": "1.0", **kind}))
    assert "byte-level" in fails(
        "tokenizer extend ./uni --text corpus.jsonl --add 9 --name x", FormatError
    )
    fails("tokenizer lab nothing-of-this-name", NotFoundError)
    assert run("tokenizer lab world --yen cheap").exit_code == 2
    assert run("tokenizer lab world --yen other=3").exit_code == 2
    assert not list((tmp_path / "home" / "artifacts").rglob("*.tmp"))
