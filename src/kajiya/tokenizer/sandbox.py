"""Runs a chat template that came with somebody's model without letting it do harm.

A template is a small program. Jinja's sandbox keeps it from Python's insides but lets it loop and
double strings for hours, so every way in which a template can work or grow is counted here, in
units that depend on the template and its input only: loops, calls, filters, operators, comparisons,
literals and output. Filters, methods and globals are those on a short list. Counting rather than
timing works in any thread and gives the same verdict on a busy machine as on an idle one.

It does not decide what a template may see; that is `templates`.
"""

# ruff: noqa: N802 (visitor methods bear the names of Jinja's nodes)
from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError, nodes, pass_context
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace
from jinja2.visitor import NodeTransformer

SOURCE_LIMIT = 131_072  # characters; the longest published templates have about 20,000
BUDGET = 2_000_000  # units, of which `budget` takes more for long input; a turn costs a few hundred
_NODE, _CHARS = 4, 2  # a value costs 4 units, and a unit for every two characters
_FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "dictsort", "e", "escape", "first", "float"),
    *("int", "items", "join", "last", "length", "list", "lower", "map", "max", "min", "reject"),
    *("rejectattr", "replace", "reverse", "safe", "select", "selectattr", "sort", "string"),
    *("title", "trim", "unique", "upper"),
)
_CONSTANT_TIME = {"count", "d", "default", "first", "last", "length"}
STRING_METHODS = frozenset(
    (
        *("capitalize", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdigit"),
        *("islower", "isspace", "isupper", "join", "lower", "lstrip", "removeprefix"),
        *("removesuffix", "replace", "rfind", "rindex", "rsplit", "rstrip", "split"),
        *("splitlines", "startswith", "strip", "title", "upper"),
    )
)
_MAPPING_METHODS = frozenset(("get", "items", "keys", "values"))
_DATE_FORMAT = re.compile(r"(?:[^%]|%-?[A-Za-z%]){0,200}", re.DOTALL)

_spent: ContextVar[list[int]] = ContextVar("spent")


class TemplateLimitError(Exception):
    """A template did more work, or made a longer text, than any conversation needs."""


@contextmanager
def budget(units: int) -> Iterator[None]:
    """Allow `units` of work inside the block, in this thread or task."""
    token = _spent.set([units])
    try:
        yield
    finally:
        _spent.reset(token)


def charge(units: int) -> None:
    """Use up some of the budget; `TemplateLimitError` when it is gone."""
    left = _spent.get()
    left[0] -= units
    if left[0] < 0:
        raise TemplateLimitError


def _measured(value: Any) -> Any:
    """`value`, after paying for all of it. Pays while walking: nested sharing can be exponential."""
    stack = [value]
    while stack:
        item = stack.pop()
        units = _NODE
        if isinstance(item, str):
            units += str.__len__(item) // _CHARS
        elif isinstance(item, Mapping):
            stack.extend(item.keys())
            stack.extend(item.values())
        elif isinstance(item, list | tuple | set | frozenset):
            stack.extend(item)
        elif isinstance(item, range):
            units += len(item) * _NODE
        elif isinstance(item, int) and item.bit_length() > 256:
            raise TemplateLimitError
        charge(units)
    return value


def _paid_joining(separator: Any, items: Any) -> None:
    charge(len(items) * (len(str(separator)) + 1) // _CHARS)


def _paid_replacing(text: Any, new: Any) -> None:
    charge((len(str(text)) + 1) * (len(str(new)) + 1) // _CHARS)


def _filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A built-in filter that pays for what it reads and makes."""
    offset = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        values = list(args)
        if name not in _CONSTANT_TIME:
            if isinstance(values[offset], Iterator):
                values[offset] = list(values[offset])
            _measured(values[offset:])
            _measured(kwargs)
        if name == "join":
            _paid_joining(
                kwargs.get("d", "".join(map(str, values[offset + 1 : offset + 2]))), values[offset]
            )
        elif name == "replace":
            _paid_replacing(values[offset], kwargs.get("new", values[-1]))
        result = function(*values, **kwargs)
        return _measured(list(result) if isinstance(result, Iterator) else result)

    return guarded


def _test(function: Callable[..., Any]) -> Callable[..., Any]:
    offset = 1 if hasattr(function, "jinja_pass_arg") else 0

    @functools.wraps(function)
    def guarded(*args: Any) -> Any:
        values = args[offset:]
        # `is defined` and its like look at the kind only; comparing walks both sides.
        _measured(values if len(values) > 1 or isinstance(values[0], str) else None)
        return function(*args)

    return guarded


def _each(values: Any, weight: int) -> list[Any]:
    """What a loop goes through, paid for before it starts."""
    if hasattr(values, "__len__"):
        charge(len(values) * max(weight, _NODE))
        return list(values)
    items = list(values)
    charge(len(items) * max(weight, _NODE))
    return items


def _concatenated(values: list[Any]) -> str:
    _measured(values)
    return "".join(map(str, values))


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    if indent is not None and not 0 <= int(indent) <= 16:
        raise TemplateLimitError
    _measured(value)
    text = json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    return str(_measured(text))


def _range(*bounds: int) -> range:
    numbers = range(*bounds)
    charge(len(numbers) * _NODE)
    return numbers


def _raise_exception(message: str) -> None:
    raise TemplateError(message)


def _now(date_format: str) -> str:
    if not _DATE_FORMAT.fullmatch(date_format):  # widths such as %999999999d fill memory
        raise TemplateLimitError
    return datetime.now().strftime(date_format)  # local time is what the template wants to print


@pass_context
def _printed(context: Context, value: Any) -> Any:
    # Taking the context also keeps Jinja from computing constants while it compiles.
    return _measured(value)


class _Generation(Extension):
    """`{% generation %}` marks assistant text for other trainers; here its body is enough."""

    tags = {"generation"}  # noqa: RUF012 (declared so by Jinja)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Counting(NodeTransformer):
    """Rewrites what Jinja gives no hook for into filters that count."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        if node.recursive:
            raise TemplateSyntaxError("recursive loops are not allowed", node.lineno)
        weight = _weight(node)
        self.generic_visit(node)
        node.iter = _call_filter("kajiya_each", node.iter, nodes.Const(weight))
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _call_filter("kajiya_concatenated", nodes.List(node.nodes, lineno=node.lineno))

    def visit_List(self, node: nodes.List) -> nodes.Node:
        self.generic_visit(node)
        return _call_filter("kajiya_measured", node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:
        self.generic_visit(node)
        return _call_filter("kajiya_measured", node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:
        self.generic_visit(node)
        return _call_filter("kajiya_measured", node) if node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:
        self.generic_visit(node)
        return _call_filter("kajiya_measured", node) if isinstance(node.arg, nodes.Slice) else node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:
        self.generic_visit(node)
        node.expr = _call_filter("kajiya_measured", node.expr)
        for operand in node.ops:
            operand.expr = _call_filter("kajiya_measured", operand.expr)
        return node


def _call_filter(name: str, value: nodes.Node, *args: nodes.Expr) -> nodes.Filter:
    for argument in args:
        argument.lineno = value.lineno
    return nodes.Filter(value, name, list(args), [], None, None, lineno=value.lineno)


def _weight(node: nodes.Node) -> int:
    """What going once through a part of a template costs: its nodes and its literal text."""
    text = sum(len(data.data) for data in node.find_all(nodes.TemplateData)) // _CHARS
    return 1 + text + sum(1 for _ in node.find_all(nodes.Node))


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """A Jinja environment for one template, offering what `transformers` offers to templates."""

    intercepted_binops = frozenset(("+", "-", "*", "/", "//", "%", "**"))

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # it would run operators and filters while compiling, unpaid
            finalize=_printed,
            cache_size=0,
            extensions=[loopcontrols, _Generation],
        )
        self._macro_weight = 1
        self.filters = {name: _filter(name, self.filters[name]) for name in _FILTERS} | {
            "tojson": _to_json,
            "kajiya_each": _each,
            "kajiya_concatenated": _concatenated,
            "kajiya_measured": _measured,
        }
        self.tests = {
            name: _test(function) for name, function in dict[str, Any](self.tests).items()
        }
        self.globals = {
            "range": _range,
            "dict": dict,
            "namespace": Namespace,
            "raise_exception": _raise_exception,
            "strftime_now": _now,
        }

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        self._macro_weight = _weight(tree)
        counted: nodes.Template = _Counting().visit(tree)
        return counted

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Only the methods on the lists above: many others make a long text out of a number."""
        if isinstance(obj, str):
            return attr in STRING_METHODS
        if isinstance(obj, dict):
            return attr in _MAPPING_METHODS
        if isinstance(obj, list | tuple | int | float | bytes | range):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """`str.format` is not offered: a width in it is a bomb."""

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        charge(self._macro_weight if isinstance(function, Macro) else _NODE)
        _measured((args, kwargs))
        name, text = getattr(function, "__name__", ""), getattr(function, "__self__", None)
        if isinstance(text, str) and name == "join":
            args = (_each(args[0], 1),)
            _paid_joining(text, args[0])
        elif isinstance(text, str) and name == "replace":
            _paid_replacing(text, args[1])
        elif isinstance(text, str):
            charge(len(text) // _CHARS)
        return _measured(super().call(context, function, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """An arithmetic operator, refused beforehand where the result could be huge."""
        if operator == "*":
            for value, times in ((left, right), (right, left)):
                if isinstance(value, str | list | tuple) and isinstance(times, int):
                    charge(max(times, 0) * (len(value) + 1))
        huge_power = operator == "**" and (abs(left) > 2**32 or not 0 <= right <= 8)
        if huge_power or (operator == "%" and isinstance(left, str)):
            raise TemplateLimitError
        return _measured(super().call_binop(context, operator, left, right))
