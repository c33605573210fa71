"""Templates that try to take all time or memory are stopped, in any thread; honest ones are not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from kajiya.core.errors import FormatError
from kajiya.tokenizer.messages import Message
from kajiya.tokenizer.templates import ChatTemplate

GROW = "{{% set ns = namespace(x={start}) %}}{{% for i in range(200) %}}{step}{{% endfor %}}"
BOMBS = {
    "nested_ranges": "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
    "long_range": "{% for a in range(10**8) %}{% endfor %}",
    "recursive_loop": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "multiply": "{{ 'a' * 10**7 * 10**7 }}",
    "power": "{{ 10 ** 10 ** 10 }}",
    "square": GROW.format(start="3", step="{% set ns.x = ns.x * ns.x %}"),
    "double_by_plus": GROW.format(start="'ab'", step="{% set ns.x = ns.x + ns.x %}"),
    "double_by_concat": GROW.format(start="'ab'", step="{% set ns.x = ns.x ~ ns.x %}"),
    "double_by_block": GROW.format(
        start="'ab'", step="{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}"
    ),
    "shared_lists": GROW.format(start="[1]", step="{% set ns.x = [ns.x, ns.x] %}"),
    "shared_dicts": GROW.format(start="[1]", step="{% set ns.x = {'a': ns.x, 'b': ns.x} %}"),
    "shared_arguments": "{% macro m() %}{{ m(varargs, varargs) }}{% endmacro %}{{ m(1) }}",
    "macro_tree": "{% macro m(n) %}{% if n %}{{ m(n-1) }}{{ m(n-1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "endless_macro": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "center": "{{ 'a' | center(10**10) }}",
    "ljust": "{{ 'a'.ljust(9999999999) }}",
    "format_method": "{{ '{:9999999999}'.format(1) }}",
    "format_operator": "{{ '%9999999999d' % 1 }}",
    "replace": "{% set x = 'a' * 100000 %}{{ x | replace('a', x) }}",
    "replace_method": "{% set x = 'a' * 100000 %}{{ x.replace('a', x) }}",
    "join": "{% set x = 'a' * 100000 %}{{ x | join(x) }}",
    "date_width": "{{ strftime_now('%999999999d') }}",
    "json_indent": "{{ [1] | tojson(indent=999999999) }}",
    "slices": "{% set x = range(99999) | list %}{% for i in range(99999) %}{% set y = x[:] %}{% endfor %}",
    "comparing": "{% set x = range(99999) | list %}{% for i in range(99999) %}{% if x == x %}{% endif %}{% endfor %}",
    "membership": "{% set x = range(99999) | list %}{% for i in range(99999) %}{% if -1 in x %}{% endif %}{% endfor %}",
    "literal_text": "{% for i in range(99999) %}" + "x" * 9999 + "{% endfor %}",
    "content": "{% for a in messages[0].content %}{% for b in messages[0].content %}"
    "{% for c in messages[0].content %}{{ c }}{% endfor %}{% endfor %}{% endfor %}",
    "nesting": "{{ " + "(" * 50_000 + "1" + ")" * 50_000 + " }}",
    "many_lists": "{{ " + "[" * 5_000 + "]" * 5_000 + " }}",
    "class": "{{ ''.__class__.__mro__ }}",
    "globals": "{{ raise_exception.__globals__['json'] }}",
    "include": "{% include '/etc/passwd' %}",
}


def _render(source: str, content: str = "こんにちは" * 100) -> str:
    template = ChatTemplate(source, {"eos_token": "</s>"})
    return template.render([Message("user", content)], add_generation_prompt=True).text


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_defused(name: str) -> None:
    with pytest.raises(FormatError):
        _render(BOMBS[name])


def test_they_are_defused_in_other_threads_at_the_same_time() -> None:
    sources = [
        BOMBS["nested_ranges"],
        "{{ eos_token }}",
        BOMBS["double_by_plus"],
        "{{ eos_token }}",
    ]

    def outcome(source: str) -> str:
        try:
            return _render(source)
        except FormatError:
            return "stopped"

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(outcome, sources)) == ["stopped", "</s>", "stopped", "</s>"]


def test_long_conversations_pass() -> None:
    source = (
        "{% for m in messages %}{% if m.role == 'user' and loop.index0 < messages | length %}"
        "{{ '<u>' + m.content | trim + '\\n' }}{% else %}{{ m.content }}{% endif %}{% endfor %}"
    )
    messages = [Message("user", "質問" * 5_000)] * 500
    rendering = ChatTemplate(source, {}).render(messages, add_generation_prompt=False)
    assert len(rendering.contents()) == 500


def test_what_templates_of_models_use_works() -> None:
    source = """\
{%- macro show(x) %}{{ x | trim }}{% endmacro %}
{%- set ns = namespace(last='') %}
{%- for m in messages if m['role'] in ['user'] %}
    {%- set ns.last = m.role ~ loop.index %}
    {%- generation %}{{ show(' a ') }}{% endgeneration %}
    {%- if loop.first %}{% continue %}{% endif %}
{%- endfor %}
{{- ns.last }} {{ {'b': 'ん'} | tojson }} {{ messages | map(attribute='role') | join(',') }}
{{- ' ' + strftime_now('%Y')[:2] }}{{ (tools is defined and tools) or '' }}{{ 'x' if not bos_token else 'y' }}"""
    assert _render(source) == 'auser1 {"b": "ん"} user 20x'


def test_content_answers_as_the_text_it_stands_for() -> None:
    source = (
        "{% set c = messages[0].content %}{{ 'in' if '</think>' in c }} {{ c | length }} {{ c == 'x' }} "
        "{{ c.startswith('考') }} {{ c.split('</think>')[-1].lstrip() | upper }}"
    )
    rendering = ChatTemplate(source, {}).render(
        [Message("user", "考え</think> answer")], add_generation_prompt=False
    )
    ((start, _, content, message),) = rendering.contents()
    assert rendering.text[:start] == "in 17 False True "
    assert (content, message) == ("ANSWER", 0)
