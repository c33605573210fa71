"""The registry over HTTP: lists, cards of hostile artifacts, exports, deleting."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from urllib.parse import unquote

import pytest

from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import ServableModel
from kajiya.jobs.spec import JobSpec
from kajiya.jobs.status import CONFIG_FILE, State, Status, write_status
from kajiya.jobs.supervisor import Supervisor
from kajiya.store.artifacts import ArtifactStore
from support.console import Reader, RunningConsole, images
from support.studio import have_served, running_studio
from support.tiny_artifacts import register_adapter

HOSTILE = "<script>alert(1)</script>![x](http://evil.example/x.png)"


@pytest.fixture(scope="module")
def console(
    tiny_model: ServableModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningConsole]:
    with running_studio(tmp_path_factory.mktemp("workspace") / "home", tiny_model) as made:
        store = ArtifactStore(Workspace(made.home))
        with store.draft("model", "hostile", description=HOSTILE, config={HOSTILE: HOSTILE}):
            pass
        with store.draft("dataset", "faq", description="よくある質問"):
            pass
        yield made


def test_the_list_is_searched(owner: Reader) -> None:
    page = owner.see("/models").text
    for name in ("village:1", "legal:1", "hostile:1"):
        assert name in page
    assert "faq:1" not in page
    assert "<script>alert" not in page
    assert "faq:1" in owner.see("/models?kind=dataset").text
    found = owner.see("/models?q=LEGAL").text
    assert "legal:1" in found
    assert "hostile:1" not in found
    nothing = owner.see(f"/models?q={HOSTILE}").text
    assert "<script>alert" not in nothing


def test_a_card_is_text(owner: Reader) -> None:
    page = owner.see("/models/model/hostile/1").text
    assert "<script>alert" not in page
    assert not images(page)
    assert 'class="lineage"' in page


def test_the_lineage_leads_on(owner: Reader) -> None:
    page = owner.see("/models/adapter/legal/1").text
    assert 'href="/models/model/village/1"' in page
    assert "/models/adapter/legal/1" in owner.see("/models/model/village/1").text


@pytest.mark.parametrize(
    "path",
    [
        *("/models/model/nothing/1", "/models/model/village/9", "/models/model/village/x"),
        *("/models/model/village/-1", "/models/x/village/1", "/models/model/..%2f..%2fetc/1"),
        *("/models/exports/none/download", "/models/exports/..%2f..%2fkey/download"),
    ],
)
def test_what_there_is_not(owner: Reader, path: str) -> None:
    assert owner.see(path).status_code in (400, 404)


def test_an_export_is_taken_away(console: RunningConsole, owner: Reader) -> None:
    owner.see("/models/model/village/1")
    for form in ("gguf", "ollama"):
        sent = owner.submit("/models/model/village/1/export", form=form, precision="")
        assert sent.status_code == 303
    jobs = Supervisor(Workspace(console.home))
    made = {job.spec.options["form"]: jobs.wait(job.id) for job in jobs.list() if job.spec}
    gguf = owner.get(f"/models/exports/{made['gguf'].id}/download")
    assert "village-1.gguf" in gguf.headers["content-disposition"]
    base = ArtifactStore(Workspace(console.home)).get("village", "model")
    assert gguf.content == (base.folder / "base.gguf").read_bytes()
    archive = zipfile.ZipFile(
        io.BytesIO(owner.get(f"/models/exports/{made['ollama'].id}/download").content)
    )
    assert {name.partition("/")[2] for name in archive.namelist()} == {
        *("Modelfile", "model.gguf", "card.md"),
    }
    page = owner.see("/models/model/village/1").text
    assert "village-1-ollama.zip" in page
    stream = owner.get(f"/models/exports/{made['gguf'].id}/events").text
    assert "event: end" in stream
    for job in made.values():
        back = "/models/model/village/1"
        removed = owner.submit(f"/models/exports/{job.id}/delete", back=back)
        assert removed.headers["location"] == back
    assert jobs.list() == []


def test_only_what_can_be_exported(owner: Reader) -> None:
    owner.see("/models/model/village/1")
    for form in ("adapter", "pth", "", "exe", "gguf+merge"):
        sent = owner.submit("/models/model/village/1/export", form=form)
        assert sent.status_code == 400
    assert owner.submit("/models/dataset/faq/1/export", form="gguf").status_code == 400


def test_other_jobs_are_no_exports(console: RunningConsole, owner: Reader) -> None:
    jobs = Supervisor(Workspace(console.home))
    job = jobs.start(JobSpec(kind="tune", name="x"))
    jobs.wait(job.id)
    assert owner.see(f"/models/exports/{job.id}/download").status_code == 404
    assert owner.submit(f"/models/exports/{job.id}/delete").status_code == 404
    jobs.remove(job.id)


def test_a_result_leads_to_its_own_version(
    console: RunningConsole, owner: Reader, tiny_model: ServableModel
) -> None:
    workspace = Workspace(console.home)
    base = ArtifactStore(workspace).get("village", "model")
    job = workspace.jobs / "20261122-1000-forge-made"

    def leads_to(reference: str) -> str:
        (job / "result.json").write_text(json.dumps({"reference": reference}), encoding="utf-8")
        found = re.search(r'href="/chat\?model=([^"]+)"', owner.see(f"/jobs/{job.name}").text)
        assert found
        assert f'value="{unquote(found[1])}"' in owner.see(f"/chat?model={found[1]}").text
        return unquote(found[1])

    register_adapter(workspace, base, tiny_model, "song", " legal")
    job.mkdir(parents=True)
    JobSpec(kind="forge", name="song").save(job / CONFIG_FILE)
    write_status(job, Status(state=State.SUCCEEDED, created=1.0, started=1.0, finished=2.0))
    assert leads_to("song:1") == "song"
    have_served(owner, "song")
    register_adapter(workspace, base, tiny_model, "song", " dog")
    assert leads_to("song:1") == "song"  # which goes on being served
    assert leads_to("song:2") == "song:2"
    assert owner.submit("/serving/models/remove", name="song").status_code == 303
    assert leads_to("song:1") == "song:1"
    assert leads_to("song:2") == "song"


def test_deleting_minds_what_depends_on_it(owner: Reader) -> None:
    owner.see("/models")
    refused = owner.submit("/models/model/village/1/delete")
    assert refused.status_code == 409
    assert "legal:1" in refused.text
    have_served(owner, "tone")
    assert owner.submit("/models/adapter/tone/1/delete").status_code == 409
    assert owner.submit("/models/model/village/1/delete", force="true").status_code == 409
    assert owner.submit("/serving/models/remove", name="tone").status_code == 303
    assert owner.submit("/models/adapter/tone/1/delete").status_code == 303
    assert "tone:1" not in owner.see("/models").text
    assert owner.submit("/models/model/hostile/1/delete").status_code == 303
    assert owner.submit("/models/model/village/1/delete", force="true").status_code == 303
    assert "removed" in owner.see("/models/adapter/legal/1").text
