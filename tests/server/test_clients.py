"""Programs that people have already, unchanged: LangChain, `llm`, and a fuzzer that reads the API's document."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel, SecretStr

from support.tiny_server import Running

SUPPORT = Path(__file__).parents[1] / "support"
BEGINNING = " the quick brown"


class Answer(BaseModel):
    """An answer."""

    sure: bool


@tool
def get_weather(place: Literal["東京", "大阪"], days: Literal[1, 2] = 1) -> str:
    """The weather of a place."""
    return f"{place}: 晴れ {days}"


@pytest.fixture
def chat(server: Running) -> ChatOpenAI:
    return ChatOpenAI(
        model="tiny",
        base_url=f"{server.url}/v1",
        api_key=SecretStr(server.key),
        temperature=0,
        max_retries=0,
    )


@pytest.mark.parametrize("newer", [False, True], ids=["chat", "responses"])
class TestLangChain:
    def test_whole_and_streamed(self, chat: ChatOpenAI, newer: bool) -> None:
        model = chat.model_copy(update={"use_responses_api": newer, "max_tokens": 3})
        answer = model.invoke([("system", "be brief"), ("human", "hello")])
        assert answer.text == BEGINNING
        assert answer.usage_metadata is not None
        assert answer.usage_metadata["output_tokens"] == 3
        assert "".join(chunk.text for chunk in model.stream("hello")) == BEGINNING

    def test_a_form(self, chat: ChatOpenAI, newer: bool) -> None:
        model = chat.model_copy(update={"use_responses_api": newer})
        parsed = model.with_structured_output(Answer).invoke("hello")
        assert isinstance(parsed, Answer)

    def test_a_tool(self, chat: ChatOpenAI, newer: bool) -> None:
        model = chat.model_copy(update={"use_responses_api": newer, "max_tokens": 200})
        question = "天気は?"
        answer = model.bind_tools([get_weather], tool_choice="any").invoke(question)
        (call,) = answer.tool_calls
        assert call["name"] == "get_weather"
        assert call["args"]["place"] in ("東京", "大阪")
        result = ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
        assert model.invoke([HumanMessage(question), answer, result]).text


def test_langchain_embeddings(server: Running) -> None:
    model = OpenAIEmbeddings(
        model="tiny",
        base_url=f"{server.url}/v1",
        api_key=SecretStr(server.key),
        check_embedding_ctx_length=False,
    )
    first, second = model.embed_documents([" fox", " the"])
    assert first != second
    assert model.embed_query(" fox") == first


@pytest.fixture(scope="module")
def llm_home(server: Running, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration of `llm` that knows this server."""
    home: Path = tmp_path_factory.mktemp("llm")
    entry = {
        "model_id": "kajiya",
        "model_name": "tiny",
        "api_base": f"{server.url}/v1",
        "api_key_name": "kajiya",
        "supports_schema": True,
        "supports_tools": True,
    }
    (home / "extra-openai-models.yaml").write_text(json.dumps([entry]))  # JSON is YAML
    (home / "keys.json").write_text(json.dumps({"kajiya": server.key}))
    return home


def run_llm(home: Path, *arguments: str) -> str:
    environment = {**os.environ, "LLM_USER_PATH": str(home), "LLM_LOAD_PLUGINS": ""}
    done = subprocess.run(
        [sys.executable, "-m", "llm", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("stream", [[], ["--no-stream"]])
def test_llm_asks(llm_home: Path, stream: list[str]) -> None:
    options = ["-o", "temperature", "0", "-o", "max_tokens", "3"]
    assert (
        run_llm(llm_home, "-m", "kajiya", *stream, *options, "hello").strip() == BEGINNING.strip()
    )


def test_llm_asks_for_a_form(llm_home: Path) -> None:
    schema = {
        "type": "object",
        "properties": {"sure": {"type": "boolean"}},
        "required": ["sure"],
        "additionalProperties": False,
    }
    said = run_llm(llm_home, "-m", "kajiya", "--schema", json.dumps(schema), "hello")
    assert set(json.loads(said)) == {"sure"}


def test_llm_offers_a_function(llm_home: Path) -> None:
    functions = "def now() -> str:\n    'The time'\n    return 'noon'\n"
    options = ["-o", "temperature", "0", "-o", "max_tokens", "3"]
    said = run_llm(llm_home, "-m", "kajiya", *options, "--functions", functions, "hello")
    assert said.strip() == BEGINNING.strip()


def test_no_request_that_the_document_allows_is_an_error_of_the_server(
    server: Running, tmp_path: Path
) -> None:
    environment: dict[str, Any] = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "schemathesis_hooks",
        "PYTHONPATH": f"{SUPPORT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
    }
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
        *("--header", f"Authorization: Bearer {server.key}"),
        *("--checks", "not_a_server_error,response_schema_conformance"),
        *("--phases", "fuzzing", "--max-examples", "40", "--seed", "1", "--no-color"),
        *("--generation-database", "none", "--request-timeout", "60"),
    ]
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
