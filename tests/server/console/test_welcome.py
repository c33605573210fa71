"""The guided first run: how far it is, is read off what there is."""

from __future__ import annotations

from pathlib import Path

from kajiya.core.workspace import Workspace
from kajiya.data.uploads import Uploads
from kajiya.server.access.caller import KeySettings
from kajiya.server.access.gate import open_accounts
from kajiya.server.access.keyring import Keyring
from kajiya.server.console.pages import welcome
from support.console import PASSWORD, running_console

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "company-faq" / "faq.csv"


def test_the_example_in_the_package_is_the_one_of_the_documentation() -> None:
    packaged = Path(welcome.__file__).parent / "company-faq.csv"
    assert packaged.read_bytes() == EXAMPLE.read_bytes()


def test_the_tour_goes_on_where_it_was(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with running_console(home) as console, console.reader() as owner:
        owner.first_start(console.first_url)
        assert owner.get("/").headers["location"] == "/welcome"
        owner.see("/welcome")
        sent = owner.submit("/welcome/example")
        assert sent.status_code == 303
        address = sent.headers["location"]
        upload = address.rpartition("%3A")[2]
        uploads = Uploads(Workspace(home))
        assert uploads.path(uploads.get(upload)).read_bytes() == EXAMPLE.read_bytes()
        assert f'href="{address}"' in owner.see("/welcome").text
    with running_console(home, console.port) as again, again.reader() as owner:
        owner.sign_in()
        assert f'href="{address}"' in owner.see("/welcome").text
        uploads.remove(upload)
        assert f'href="{address}"' not in owner.see("/welcome").text
        assert owner.see("/welcome").text.count("badge good") == 0
        Keyring(open_accounts(Workspace(home))).create("wiki", KeySettings())
        owner.submit("/settings/people", name="ito", password=PASSWORD, role="viewer")
        with again.reader() as viewer:
            page = viewer.sign_in("ito").see("/welcome").text
            assert "/welcome/example" not in page
            assert "Somebody with the role Trainer" in page
        assert owner.submit("/welcome/finish").headers["location"] == "/"
        assert owner.get("/").headers["location"] == "/train"
