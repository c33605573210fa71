"""Corpora over HTTP: recipes that may not be followed, hostile documents, filters, the report apart, take-down."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
import yaml

import kajiya.server.console.pages.corpora as package
from kajiya.core.workspace import Workspace
from kajiya.corpus.mixture_search_config import MixtureSearchConfig
from kajiya.corpus.removal import find
from kajiya.forge.mixture_plan import start_mixture_search
from kajiya.jobs.status import State
from kajiya.jobs.supervisor import Supervisor
from kajiya.server.access.audit import Audit, Entry
from kajiya.server.access.gate import open_accounts
from kajiya.store.artifacts import ArtifactStore
from support.console import PASSWORD, Reader, RunningConsole, images, running_console
from support.recipes import follow, make_sources, register

XSS = "<script>alert(1)</script><img src=x onerror=alert(1)>"
JSON = {"Accept": "application/json"}
ONE = "/corpora/mixed/versions/1"


def hostile_rows() -> str:
    rows = [
        {
            "id": f'../x"{XSS}{number}',
            "text": f"{number}番の文書です。{XSS}" * 9 + f"{'それぞれ違う文' * number}",
            "title": f"{XSS} {number}",
            "url": f"javascript:alert({number})",
            "licence": f'"{XSS}',
        }
        for number in range(12)
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


HOSTILE = """
sources:
  - {kind: table, name: '<b>bad</b>', path: bad.jsonl, columns: {id: id, licence: licence}}
rules: rules.yaml
"""


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that recipes may read."""
    folder = make_sources(tmp_path_factory.mktemp("ground") / "texts").parent
    (folder / "bad.jsonl").write_text(hostile_rows(), "utf-8")
    (folder / "hostile.yaml").write_text(HOSTILE, "utf-8")
    return folder


@pytest.fixture(scope="module")
def console(ground: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    home = tmp_path_factory.mktemp("corpora") / "home"
    store = ArtifactStore(Workspace(home).create())
    work = tmp_path_factory.mktemp("work")
    register(store, follow(ground / "recipe.yaml", work / "mixed"), "mixed")
    register(store, follow(ground / "hostile.yaml", work / "hostile"), "hostile")
    with running_console(home) as made:
        owner = made.reader().first_start(made.first_url)
        owner.see("/corpora/new")
        named = owner.submit("/corpora/reach", folders=f"{ground}\r\n\r\n", hosts="example.com")
        assert named.status_code == 303, named.text
        owner.close()
        yield made


@pytest.fixture
def recipe(ground: Path) -> str:
    return (ground / "recipe.yaml").read_text("utf-8")


def part(reader: Reader, path: str, **fields: str) -> str:
    reader.see("/corpora/new")
    found = reader.post(path, data=fields, headers=JSON)
    assert found.status_code == 200, found.text
    return str(found.json()["html"])


def test_the_list_and_one_corpus(owner: Reader) -> None:
    assert f'href="{ONE}"' in owner.see("/corpora").text
    page = owner.see(ONE).text
    for words in ("What was left out", "The same text again"):
        assert words in page
    assert "books" in page
    assert f'href="{ONE}/documents?side=dropped&amp;why=rules%2Flength"' in page
    assert "kind: table" in page  # its recipe
    assert re.search(r"<dd>\d+</dd>", page)


@pytest.mark.parametrize(
    "path",
    [
        *("/corpora/none/versions/1", "/corpora/mixed/versions/9", "/corpora/mixed/versions/x"),
        *(
            "/corpora/..%2f..%2fetc/versions/1",
            f"{ONE}/files/key",
            f"{ONE}/files/..%2fmanifest.json",
        ),
        *(f"{ONE}/document?side=kept&id=w1", f"{ONE}/document?side=../x&source=web&id=w1"),
        f"{ONE}/files/tokenizer",
    ],
)
def test_what_there_is_not(owner: Reader, path: str) -> None:
    assert owner.see(path).status_code in (400, 404)


def test_both_examples_are_recipes(owner: Reader, ground: Path) -> None:
    for file in sorted(Path(package.__file__).parent.glob("recipe.*.yaml")):
        text = file.read_text("utf-8")
        assert "can be followed" in part(owner, "/corpora/check", recipe=text, base=str(ground))
    with_all = yaml.safe_load(text)
    assert set(with_all) >= {"sources", "rules", "personal", "duplicates", "tokenizer", "shards"}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("sources: [", 1, "YAML"),
        ("", 0, "mapping"),
        ("sources:\n  - {kind: files, path: .}\nruels: x\n", 3, "no such setting"),
        ("sources:\n  - kind: files\n    path: /etc\n", 3, "folders that recipes may read"),
        (f"sources:\n  - {{kind: files, path: .}}\n{XSS}: 1\n", 3, "no such setting"),
        ("sources:\n  - kind: files\n    path: .\nrules: |\n  " + XSS + "\n", 4, "folders"),
        ("sources: &a [*a]", 1, "Input should be"),
        ("!!python/object/apply:os.system [id]", 1, "YAML"),
        (
            "sources:\n  - kind: feed\n    urls: [http://127.0.0.1/]\n"
            "    hosts: [127.0.0.1]\n    folder: kept\n",
            4,
            "not among the hosts",
        ),
    ],
)
def test_what_is_wrong_with_a_recipe_is_told_with_its_line(
    owner: Reader, ground: Path, text: str, line: int, says: str
) -> None:
    for path in ("/corpora/check", "/corpora/look"):
        html = part(owner, path, recipe=text, base=str(ground))
        assert says in html
        assert "<script>" not in html
        assert not images(html)
        if line:
            assert f"recipe.yaml:{line}" in html
            assert f'data-line="{line}"' in html
    started = owner.submit("/corpora", recipe=text, base=str(ground), name="wrong")
    assert started.status_code == 400
    assert "<script>alert" not in started.text  # what was written is there again, as text


def test_a_recipe_that_is_much_too_large(owner: Reader, ground: Path) -> None:
    assert "too large" in part(owner, "/corpora/check", recipe="# x\n" * 300_000, base=str(ground))
    large = owner.post("/corpora/check", data={"recipe": "x" * (5 << 20)}, headers=JSON)
    assert large.status_code == 413


def test_a_look_says_how_much_is_kept(owner: Reader, ground: Path, recipe: str) -> None:
    html = part(owner, "/corpora/look", recipe=recipe, base=str(ground))
    assert "books" in html
    assert re.search(r"\d+ %", html)
    missing = recipe.replace("books.jsonl", "nothing.jsonl")
    assert "no such file" in part(owner, "/corpora/look", recipe=missing, base=str(ground))


def test_a_run_is_a_job_that_ends_in_a_corpus(
    console: RunningConsole, owner: Reader, ground: Path, recipe: str
) -> None:
    owner.see("/corpora/new")
    for name in ("", "../x", "a b", "あ"):
        refused = owner.submit("/corpora", recipe=recipe, base=str(ground), name=name)
        assert refused.status_code == 400
    sent = owner.submit("/corpora", recipe=recipe, base=str(ground), name="built")
    assert sent.status_code == 303, sent.text
    job = sent.headers["location"]
    assert "built" in owner.see("/corpora").text
    page = owner.see(job).text
    assert 'id="stages"' in page
    assert 'id="chart"' not in page
    jobs = Supervisor(Workspace(console.home))
    assert jobs.wait(job.removeprefix("/jobs/")).state is State.SUCCEEDED
    page = owner.see(job).text
    assert 'href="/corpora/built/versions/1"' in page
    assert "kind: table" in page  # the recipe, as YAML
    assert owner.see("/corpora/built/versions/1").status_code == 200
    actions = [entry.action for entry in audit(console)]
    assert "job.started" in actions
    assert "corpus.reach" in actions


def audit(console: RunningConsole) -> list[Entry]:
    return Audit(open_accounts(Workspace(console.home))).entries(limit=50)


@pytest.mark.parametrize("side", ["", "kept", "dropped"])
def test_hostile_documents_are_text(owner: Reader, side: str) -> None:
    here = "/corpora/hostile/versions/1"
    pages = [here, f"{here}/documents?side={side}", f"{here}/documents?words=javascript"]
    text = owner.see(pages[1]).text
    pages += re.findall(r'href="(/corpora/hostile/versions/1/document\?[^"]+)"', text)[:2]
    pages.append(f"{here}/removal?{urlencode({'what': chr(34) + XSS})}")
    pages.append(f"{here}/documents?{urlencode({'words': XSS, 'source': XSS, 'why': XSS})}")
    for path in pages:
        response = owner.see(path.replace("&amp;", "&"))
        assert response.status_code == 200, path
        assert "<script>alert" not in response.text
        assert not images(response.text)
        assert 'href="javascript' not in response.text
        assert "<b>bad" not in response.text


def test_filters_are_in_the_address(owner: Reader) -> None:
    short = owner.see(f"{ONE}/documents?side=dropped&why=rules%2Flength").text
    assert short.count('<article class="document">') > 3
    assert "短い。" in short
    assert short.count("Characters") >= short.count('<article class="document">')
    both = owner.see(f"{ONE}/documents?words=w5").text
    assert "side=dropped&amp;words=w5" in both or "words=w5&amp;side=dropped" in both
    none = owner.see(f"{ONE}/documents?words=nowhere").text
    assert none.count("None.") == 2
    second = owner.see(f"{ONE}/documents?side=kept&page=2").text
    assert "Page 2 of" in second
    for number in ("99999999", "0", "-1", "x", "٣"):
        page = owner.see(f"{ONE}/documents?side=kept&page={number}").text
        assert '<article class="document">' in page


def test_the_report_stands_apart(owner: Reader) -> None:
    response = owner.see("/corpora/hostile/versions/1/report")
    policies = response.headers.get_list("content-security-policy")
    assert len(policies) == 1
    assert "sandbox allow-scripts;" in policies[0] + ";"
    assert "allow-same-origin" not in policies[0]
    assert policies[0].startswith("default-src 'none'; ")
    assert response.headers["x-frame-options"] == "DENY"
    assert "<script>alert" not in response.text
    assert owner.headers["X-CSRF-Token"] not in response.text
    assert owner.get("/corpora").headers["content-security-policy"].startswith("default-src 'self'")


def test_files_are_taken_away(owner: Reader) -> None:
    for file in ("documents.jsonl", "dropped.jsonl", "report.html", "report.json", "recipe.yaml"):
        response = owner.get(f"{ONE}/files/{file}")
        assert response.status_code == 200
        assert response.headers["content-disposition"] == f'attachment; filename="mixed-1-{file}"'
        assert not response.headers["content-type"].startswith("text/html")
    lines = owner.get(f"{ONE}/files/documents.jsonl").text.splitlines()
    assert {json.loads(line)["source"] for line in lines} == {"web", "books"}


def test_a_take_down_is_shown_asked_and_noted(console: RunningConsole, owner: Reader) -> None:
    owner.see(ONE)
    for what in ("", "nothing-like-this"):
        assert owner.submit(f"{ONE}/removal", what=what).status_code == 404
    preview = owner.see(f"{ONE}/removal?what=CC-BY-4.0").text
    assert "Take out" in preview
    assert "mixed:1" in preview
    sent = owner.submit(f"{ONE}/removal", what="https://example.com/1/")
    assert sent.status_code == 303
    job = Supervisor(Workspace(console.home)).wait(sent.headers["location"].removeprefix("/jobs/"))
    assert job.state is State.SUCCEEDED
    assert job.result is not None
    assert job.result["reference"] == "mixed:2"
    assert job.result["seen"] == ["corpus mixed:1"]
    page = owner.see(sent.headers["location"]).text
    assert 'href="/corpora/mixed/versions/2"' in page
    page = owner.see("/corpora/mixed/versions/2").text
    assert "https://example.com/1/" in page
    store = ArtifactStore(Workspace(console.home))
    assert not find(store.get("mixed:2", "corpus").folder, "https://example.com/1/")
    gone = owner.see("/corpora/mixed/versions/2/removal?what=https://example.com/1/").text
    assert "No document of mixed:2 is meant" in gone
    assert "mixed:1" in gone
    entry = next(entry for entry in audit(console) if entry.action == "corpus.taken-down")
    assert entry.detail["what"] == "https://example.com/1/"
    assert entry.detail["documents"] > 0


def test_a_search_for_a_mixture_is_a_job_whose_result_is_shown(
    console: RunningConsole, owner: Reader
) -> None:
    workspace = Workspace(console.home)
    small = MixtureSearchConfig(runs=4, tokens=2000, size="1x64", context=64)
    job = Supervisor(workspace).wait(start_mixture_search("mixed:1", small, workspace).id)
    assert job.state is State.SUCCEEDED, job.error
    assert job.result is not None
    page = owner.see(f"/jobs/{job.id}").text
    for share in (*job.result["natural"], *job.result["best"]):
        assert f"{100 * share:.1f} %" in page
    assert f"{job.result['bits_per_byte']['best']:.4f}" in page
    assert "Mixture search" in owner.see("/jobs").text
    assert job.id not in owner.see("/corpora").text  # it makes none


def test_only_an_administrator_says_what_is_read(
    owner: Reader, ground: Path, console: RunningConsole
) -> None:
    for role in ("trainer", "viewer"):
        owner.see("/settings/people")
        made = owner.submit("/settings/people", name=role, password=PASSWORD, role=role)
        assert made.status_code == 303
    with console.reader() as reader:
        reader.sign_in("trainer")
        page = reader.see("/corpora/new").text
        assert 'action="/corpora/reach"' not in page
        assert reader.submit("/corpora/reach", folders="/etc").status_code == 403
        assert "can be followed" in part(
            reader, "/corpora/check", recipe="sources: [{kind: files, path: .}]", base=str(ground)
        )
    with console.reader() as reader:
        reader.sign_in("viewer")
        assert reader.see(ONE).status_code == 200
        assert 'href="/corpora/new"' not in reader.see("/corpora").text
        for path in ("/corpora/new", f"{ONE}/removal", f"{ONE}/files/documents.jsonl"):
            assert reader.see(path).status_code == 403
    owner.see("/corpora/new")
    for folders in ("/", "relative", str(console.home), str(console.home.parent), "/etc/passwd"):
        refused = owner.submit("/corpora/reach", folders=folders, hosts="")
        assert refused.status_code == 400
    assert owner.submit("/corpora/reach", folders=str(ground), hosts="a b").status_code == 400
