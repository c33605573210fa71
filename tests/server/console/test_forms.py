"""Forms from configurations: what is shown, what is taken, and what is said about the rest."""

from __future__ import annotations

from typing import Literal

import pytest

from kajiya.core.config import Config, option
from kajiya.core.language import use
from kajiya.server.access.caller import KeySettings
from kajiya.server.console.csv_file import csv_response, safe_cell
from kajiya.server.console.forms import form_fields, read_form


class Oven(Config):
    heat: int = option(200, en="Heat", ja="温度", help=("°C", "摂氏"), ge=50, le=300)
    share: float = option(0.5, en="Share", ja="割合", gt=0, lt=1)
    fan: bool = option(True, en="Fan", ja="ファン")
    mode: Literal["bake", "grill"] = option(
        "bake", en="Mode", ja="モード", choices={"grill": ("from above", "上火")}
    )
    owner: str = option(en="Owner", ja="所有者", max_length=5)
    names: tuple[str, ...] = option((), en="Names", ja="名前")
    limit: int | None = option(None, en="Limit", ja="上限", ge=1)


def test_fields_are_what_the_options_say() -> None:
    heat, share, fan, mode, owner, names, limit = form_fields(Oven)
    assert (heat.title, heat.help, heat.kind, heat.value) == ("Heat", "°C", "integer", "200")
    assert (heat.minimum, heat.maximum, heat.required) == (50, 300, False)
    assert (share.kind, share.minimum, share.maximum) == ("number", 0, 1)
    assert (fan.kind, fan.checked) == ("switch", True)
    assert (mode.kind, mode.value) == ("choice", "bake")
    assert mode.choices == (("bake", "bake"), ("grill", "from above"))
    assert (owner.kind, owner.required, owner.longest, owner.value) == ("text", True, 5, "")
    assert (names.kind, names.value, names.longest) == ("list", "", None)
    assert (limit.kind, limit.minimum, limit.value) == ("integer", 1, "")
    with use("ja"):
        assert [(field.title, field.help) for field in form_fields(Oven, only=["heat"])] == [
            ("温度", "摂氏")
        ]
        assert dict(form_fields(Oven, only=["mode"])[0].choices)["grill"] == "上火"


def test_a_form_comes_back_as_it_was_filled_in() -> None:
    oven = Oven(heat=99, share=0.25, fan=False, mode="grill", owner="me", names=("a", "b"), limit=3)
    sent = {field.name: field.value for field in form_fields(Oven, oven)}
    assert read_form(Oven, sent) == (oven, {})
    assert read_form(Oven, {"owner": "me"}) == (Oven(owner="me", fan=False), {})


def test_every_wrong_field_is_named() -> None:
    sent = {
        "heat": "20",
        "share": "1",
        "mode": "fry",
        "owner": "toolong",
        "limit": "x",
        "evil": "1",
    }
    oven, errors = read_form(Oven, sent)
    assert oven is None
    assert errors == {
        "heat": "At least 50",
        "share": "Less than 1.0",
        "mode": "Choose one of the list",
        "owner": "5 at most",
        "limit": "A whole number is needed",
    }
    with use("ja"):
        assert read_form(Oven, {"heat": "20"})[1] == {
            "heat": "50 以上にしてください",
            "owner": "入力してください",
        }
    shown = form_fields(Oven, sent, errors)
    assert (shown[0].value, shown[0].error) == ("20", "At least 50")


def test_what_is_not_in_the_form_keeps_its_default() -> None:
    oven, errors = read_form(Oven, {"owner": "me", "heat": "60"}, only=["owner"])
    assert errors == {}
    assert oven == Oven(owner="me")


def test_real_settings_make_a_form() -> None:
    settings, errors = read_form(KeySettings, {"models": "a, b", "rpm_limit": "60"})
    assert settings == KeySettings(models=("a", "b"), rpm_limit=60)
    assert errors == {}
    assert read_form(KeySettings, {"models": "a,,b"})[1] == {"models": "a name is empty"}


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", "＝1"])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert safe_cell(cell) == f"'{cell}"


def test_a_table_for_a_spreadsheet() -> None:
    response = csv_response("監査.csv", ("a", "b"), [("x", -1), ("=cmd|' /C calc'!A0", '"')])
    text = bytes(response.body).decode("utf-8-sig")
    assert text.splitlines() == ["a,b", "x,-1", '\'=cmd|\' /C calc\'!A0,""""']
    assert bytes(response.body).startswith(b"\xef\xbb\xbf")
    assert "filename*=UTF-8''%E7%9B%A3%E6%9F%BB.csv" in response.headers["content-disposition"]
