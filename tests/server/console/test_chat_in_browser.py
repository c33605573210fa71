"""Talking to models as a person does: keys, conversions, streaming, opinions, and hostile answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from kajiya.core.workspace import Workspace
from kajiya.inference.bundle import ServableModel
from support.console import RunningConsole, open_tab, sign_in_tab, wait_until
from support.looks import clipped, violations
from support.speaking import speaking
from support.studio import have_served, running_studio

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

EVIL = (
    "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'>\n\n",
    "![a picture](http://evil.example/p.png) [click](javascript:window.hacked=3) ",
    "[data](data:text/html,<script>1</script>) [good](https://example.org/page)\n\n",
    "<iframe src='http://evil.example'></iframe>\n\n# Title\n\n",
    "- one\n- **two** and `code <b>`\n\n| a | b |\n| --- | --- |\n| <i>1</i> | 2 |\n\n",
    "```html\n<script>window.hacked = 4</script>\n```\n\n&lt;script&gt; 5 &lt; 6",
)


@pytest.fixture(scope="module")
def console(
    tiny_model: ServableModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningConsole]:
    home = tmp_path_factory.mktemp("workspace") / "home"
    with speaking(Workspace(home), "evil", *EVIL), running_studio(home, tiny_model) as made:
        with made.reader() as reader:
            have_served(reader.sign_in(), "village", "legal", "tone")
            reader.see("/serving")
            assert reader.submit("/serving/models", reference="remote:evil").status_code == 303
        yield made


def talk_to(tab: Page, model: str) -> None:
    """A new conversation, whose answers are short and always the same."""
    tab.goto(f"/chat?model={model}")
    tab.get_by_role("button", name="Talk").click()
    tab.wait_for_url("**/chat/chat-*")
    tab.get_by_text("Sampling").click()
    choose(tab, temperature=0, max_tokens=4)


def choose(tab: Page, **sampling: Any) -> None:
    for name, value in sampling.items():
        tab.fill(f"#sampling-{name}", str(value))
    tab.get_by_text("Settings saved").wait_for()


def say(tab: Page, text: str) -> None:
    tab.fill("#question", text)
    tab.locator("#question").press("Enter")


def test_a_question_is_answered_and_there_after_a_refresh(tab: Page) -> None:
    talk_to(tab, "village")
    say(tab, "hello")
    answer = tab.locator(".answer .markdown")
    answer.get_by_text("the quick brown fox").wait_for()
    tab.get_by_text("4 tokens").wait_for()
    assert tab.locator("#title").inner_text() == "hello"
    tab.reload()
    answer.get_by_text("the quick brown fox").wait_for()
    assert tab.locator("#question").input_value() == ""
    assert tab.evaluate("document.activeElement.id") == "question"


def test_shift_enter_begins_a_line(tab: Page) -> None:
    talk_to(tab, "village")
    tab.locator("#question").press_sequentially("one")
    tab.locator("#question").press("Shift+Enter")
    tab.locator("#question").press_sequentially("two")
    assert tab.locator("#question").input_value() == "one\ntwo"
    assert tab.locator(".asked").count() == 0
    tab.locator("#question").press("Enter")
    tab.locator(".asked .text").wait_for()
    assert tab.locator(".asked .text").inner_text() == "one\ntwo"


def key(tab: Page, session: Any, name: str, code: int) -> None:
    for kind in ("rawKeyDown", "keyUp"):
        session.send(
            "Input.dispatchKeyEvent",
            {"type": kind, "key": name, "code": "Enter", "windowsVirtualKeyCode": code},
        )


def test_the_enter_that_confirms_a_conversion_does_not_send(tab: Page) -> None:
    talk_to(tab, "village")
    tab.locator("#question").focus()
    session = tab.context.new_cdp_session(tab)
    composing = {"selectionStart": 2, "selectionEnd": 2}
    session.send("Input.imeSetComposition", {"text": "かじ", **composing})
    key(tab, session, "Process", 229)  # as Windows tells of it
    key(tab, session, "Enter", 13)  # as others do, while it is being composed
    assert tab.locator("#question").input_value() == "かじ"
    session.send("Input.insertText", {"text": "鍛冶"})  # confirmed
    # Safari ends the composition first and then tells of the key, with the number 229.
    tab.evaluate(
        """() => document.getElementById("question").dispatchEvent(new KeyboardEvent("keydown",
          { key: "Enter", keyCode: 229, bubbles: true, cancelable: true }))"""
    )
    assert tab.locator("#question").input_value() == "鍛冶"
    assert tab.locator(".asked").count() == 0
    key(tab, session, "Enter", 13)
    tab.locator(".asked .text").wait_for()
    assert tab.locator(".asked .text").inner_text() == "鍛冶"


def test_stop_and_refresh_while_it_is_written(tab: Page) -> None:
    talk_to(tab, "legal")
    choose(tab, max_tokens=30000)
    say(tab, "hello")
    answer = tab.locator(".answer .markdown")
    answer.get_by_text("legal legal").wait_for()
    tab.reload()
    answer.get_by_text("legal legal").wait_for()
    before = len(answer.inner_text())
    wait_until(
        tab, "n => document.querySelector('.answer .markdown').innerText.length > n", arg=before
    )
    tab.get_by_role("button", name="Stop").click()
    tab.locator(".end").get_by_text("Stopped").wait_for()
    assert tab.get_by_role("button", name="Stop").count() == 0
    assert not tab.locator("#send").is_disabled()


def test_edit_copy_and_answer_again(browser: Browser, console: RunningConsole) -> None:
    allowed = {"permissions": ["clipboard-read", "clipboard-write"]}
    with open_tab(browser, console.url, **allowed) as tab:
        sign_in_tab(tab)
        talk_to(tab, "village")
        say(tab, "hello")
        tab.get_by_text("4 tokens").wait_for()
        tab.locator(".answer").get_by_role("button", name="Copy").click()
        tab.get_by_text("Copied").first.wait_for()
        assert tab.evaluate("navigator.clipboard.readText()") == " the quick brown fox"
        tab.get_by_role("button", name="Edit").click()
        field = tab.get_by_role("textbox", name="Edit")
        field.fill("goodbye")
        field.press("Enter")
        tab.locator(".asked .text", has_text="goodbye").wait_for()
        tab.get_by_text("4 tokens").wait_for()
        first = tab.locator(".answer .markdown").get_attribute("id")
        tab.get_by_role("button", name="Answer again").click()
        wait_until(
            tab, "id => !document.getElementById(id) && document.querySelector('.end')", arg=first
        )
        assert tab.locator(".turn").count() == 1


def test_two_models_are_compared_and_corrected(tab: Page) -> None:
    talk_to(tab, "legal")
    tab.select_option("#model-b", "village")
    slider = tab.get_by_label("Strength of tone:1").nth(1)
    slider.wait_for()
    slider.focus()
    for _ in range(20):
        slider.press("ArrowRight")
    assert slider.input_value() == "1"
    say(tab, "hello")
    first, second = tab.locator(".answer").nth(0), tab.locator(".answer").nth(1)
    first.get_by_text("legal legal").wait_for()
    second.get_by_text("dog").wait_for()
    vote = tab.get_by_role("group", name="Which is better?")
    vote.get_by_role("button", name="B is better").click()
    pressed = vote.locator("button[aria-pressed=true]")
    pressed.wait_for()
    assert pressed.inner_text() == "B is better"
    first.get_by_role("button", name="Bad").click()
    first.locator("button[aria-label=Bad][aria-pressed=true]").wait_for()
    second.get_by_role("button", name="Correct").click()
    field = second.get_by_role("textbox", name="Corrected answer")
    assert field.input_value().startswith(" dog")
    field.fill("正しくはこうです。")
    second.get_by_role("button", name="Save the correction").click()
    second.locator(".corrected", has_text="正しくはこうです。").wait_for()
    tab.reload()
    vote.locator("button[aria-pressed=true]", has_text="B is better").wait_for()
    second.locator(".corrected").wait_for()
    tab.goto("/chat/preferences")
    tab.get_by_text("Comparison: B is better").first.wait_for()
    assert violations(tab) == []
    assert clipped(tab) == []


def test_an_answer_is_only_text(tab: Page) -> None:
    talk_to(tab, "evil")
    say(tab, "<img src=x onerror='window.hacked = 9'>")
    answer = tab.locator(".answer .markdown")
    answer.get_by_text("5 < 6").wait_for()
    tab.reload()
    answer.get_by_text("5 < 6").wait_for()
    assert tab.evaluate("window.hacked") is None
    names = set(tab.evaluate("[...document.querySelectorAll('.said *')].map((e) => e.tagName)"))
    assert not names & {"SCRIPT", "IMG", "IFRAME", "I", "B"}
    links = tab.evaluate("[...document.querySelectorAll('.markdown a')].map((a) => a.href)")
    assert links == ["https://example.org/page", "http://evil.example/"]  # to be clicked, or not
    assert "<script>window.hacked = 4</script>" in answer.locator("pre").inner_text()
    assert "<script> 5 < 6" in answer.inner_text()
    assert answer.locator("li strong").inner_text() == "two"
    assert answer.locator("td").first.inner_text() == "<i>1</i>"
    assert violations(tab) == []


@pytest.mark.parametrize("language", ["en", "ja"])
def test_it_fits_and_can_be_used_by_all(
    browser: Browser, console: RunningConsole, language: str
) -> None:
    with open_tab(browser, console.url, language=language) as tab:
        sign_in_tab(tab)
        tab.goto("/chat?model=legal")
        tab.locator("button.primary").click()
        tab.wait_for_url("**/chat/chat-*")
        tab.select_option("#model-b", "village")
        tab.locator("#saved:not(:empty)").wait_for()
        for summary in tab.locator("summary").all():
            summary.click()
        tab.fill("#sampling-max_tokens", "20")
        say(tab, "昼休みはいつ始まりますか。" * 5)
        tab.locator(".vote").wait_for()
        for dark in ("light", "dark"):
            tab.emulate_media(color_scheme=dark)  # type: ignore[arg-type]
            for width in (1440, 390):
                tab.set_viewport_size({"width": width, "height": 900})
                assert clipped(tab) == [], width
                assert violations(tab) == [], width


RENDER = """async ([address, texts]) => {
  const { render } = await import(address);
  const place = document.createElement("div");
  return texts.map((text) => { render(place, text); return place.innerHTML; });
}"""


def rendered(tab: Page, *texts: str) -> list[str]:
    tab.goto("/chat")
    sheet = tab.locator("link[rel=stylesheet]").first.get_attribute("href")
    assert sheet
    address = sheet.replace("console.css", "js/markdown.js")
    found: list[str] = tab.evaluate(RENDER, [address, list(texts)])
    return found


def test_markdown(tab: Page) -> None:
    texts = {
        "one\ntwo": "<p>one<br>two</p>",
        "**太字**と*斜体*と~~消す~~": "<p><strong>太字</strong>と<em>斜体</em>と<del>消す</del></p>",
        "snake_case_name 2 * 3 * 4": "<p>snake_case_name 2 * 3 * 4</p>",
        "# 見出し #": "<h2>見出し</h2>",
        "1. a\n2. b\n   - c": "<ol><li>a</li><li><p>b</p><ul><li>c</li></ul></li></ol>",
        "3. x": '<ol start="3"><li>x</li></ol>',
        "> q\n> r": "<blockquote><p>q<br>r</p></blockquote>",
        "```py\na < b": '<pre tabindex="0"><code>a &lt; b</code></pre>',
        "a `x **y**` b": "<p>a <code>x **y**</code> b</p>",
        r"\*a\* &amp;lt; \<": "<p>*a* &amp;lt; &lt;</p>",
        "---": "<hr>",
        "": "",
        "![alt](http://e.example/x)": "<p>alt</p>",
        "[a](javascript:alert(1))": "<p><span>a</span>)</p>",
    }
    assert dict(zip(texts, rendered(tab, *texts), strict=True)) == texts


def test_markdown_of_any_kind_ends(tab: Page) -> None:
    many = 20_000
    texts = [
        mark * many
        for mark in ("[", "*", "_ ", "`", "![", "> ", "- ", "| ", "](", "**a", "\\", "&", "h", "~~")
    ]
    texts += ["".join(f"{' ' * (n % 13)}- x\n" for n in range(3000)), "[" * many + "](x)"]
    texts += ["|" * many + "\n|---|\n" + "|" * many, "`" * 5 + " `" * many]
    for text, made in zip(texts, rendered(tab, *texts), strict=True):
        assert made or not text.strip(), text[:10]
