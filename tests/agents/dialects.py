"""The four dialects in which agents ask a model: what was asked, and the bytes of an answer. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Asked:
    """One question: the conversation as the agent sent it, told apart into what people said and what tools gave."""

    model: str
    streams: bool
    #: What people said, in order.
    prompts: list[str]
    #: What the tools gave since the last of them.
    results: list[str]
    #: The form in which the answer is wanted, where it is no text.
    tools: dict[str, Any] = field(default_factory=dict)
    #: The form in which an answer is wanted that is not for people.
    form: dict[str, Any] | None = None

    @property
    def prompt(self) -> str:
        return self.prompts[-1] if self.prompts else ""

    @property
    def call(self) -> str:
        """The id of the next tool call: the same question gets the same one."""
        return f"call_{len(self.prompts)}_{len(self.results)}"

    def say(self, text: str) -> None:
        """Note what people said; results that came before it are of an earlier turn."""
        self.prompts.append(text)
        self.results.clear()


@dataclass(frozen=True)
class Answer:
    """Text, or one tool to be used: `write` with "FILE TEXT", `run` or `ask` with a command, `question` with words."""

    text: str = ""
    tool: str = ""
    arguments: str = ""
    #: An error of the server's instead.
    fails: bool = False

    def use(self, asked: Asked) -> tuple[str, dict[str, Any]]:
        """The agent's own tool for it, with its arguments."""
        path, _, text = self.arguments.partition(" ")
        values = {"=path": path, "=text": text + "\n", "=all": self.arguments, "=questions": _question(self.arguments)}
        for name, arguments in _TOOLS[self.tool].items():
            if name in asked.tools:
                return name, {key: values.get(value, value) for key, value in arguments.items()}
        raise LookupError(f"none of the tools {sorted(asked.tools)} can {self.tool}")

    @property
    def script(self) -> str:
        """The same as a script of codex's, which uses its tools from JavaScript."""
        path, _, text = self.arguments.partition(" ")
        if self.tool == "write":
            patch = f"*** Begin Patch\n*** Add File: {path}\n+{text}\n*** End Patch\n"
            return f"text(JSON.stringify(await tools.apply_patch({json.dumps(patch)})))"
        call: dict[str, Any] = {"cmd": self.arguments}
        if self.tool == "ask":
            call |= {"sandbox_permissions": "require_escalated", "justification": "May the scripted command run?"}
        return f"text(JSON.stringify(await tools.exec_command({json.dumps(call)})))"


_COMMAND = {"command": "=all", "description": "a scripted command"}
_RUNNERS = {"Bash": _COMMAND, "run_shell_command": _COMMAND, "bash": _COMMAND}
#: The agents' own tools, by what they are good for.
_TOOLS: dict[str, dict[str, dict[str, str]]] = {
    "write": {
        "Write": {"file_path": "=path", "content": "=text"},
        "write_file": {"file_path": "=path", "content": "=text"},
        "write": {"filePath": "=path", "content": "=text"},
    },
    "run": _RUNNERS,
    "ask": _RUNNERS,
    "question": {
        name: {"questions": "=questions"} for name in ("AskUserQuestion", "request_user_input", "question", "ask_user")
    },
}


def _question(words: str) -> list[dict[str, Any]]:
    """One question with two answers, in the form that all of them take."""
    options = [{"label": word, "description": f"the answer {word}"} for word in ("Left", "Right")]
    return [
        {"id": "way", "header": "Way", "question": words, "type": "choice", "multiSelect": False, "options": options}
    ]


def _texts(content: Any) -> str:
    """The text of a message's content, which is text or a list of parts."""
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content or () if isinstance(part, dict))


_REMINDER = re.compile(r"<system-reminder>.*?</system-reminder>", re.DOTALL)


# --- Anthropic's Messages --------------------------------------------------------------------------------------------


def messages_asked(body: dict[str, Any]) -> Asked:
    tools = {tool["name"]: tool.get("input_schema", {}) for tool in body.get("tools") or ()}
    asked = Asked(body["model"], bool(body.get("stream")), [], [], tools)
    for message in body["messages"]:
        content = message["content"]
        if message["role"] != "user":
            continue
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        given = [_texts(part.get("content")) for part in parts if part.get("type") == "tool_result"]
        asked.results.extend(given)
        # What the agent itself puts in beside a tool's result is marked; the rest is of a person.
        said = _texts(parts) if not given else _REMINDER.sub("", _texts(parts)).strip()
        if said:
            asked.say(said)
    return asked


def messages_answer(asked: Asked, answer: Answer) -> Iterator[Any]:
    block: dict[str, Any]
    if answer.tool:
        name, arguments = answer.use(asked)
        block = {"type": "tool_use", "id": f"toolu_{asked.call}", "name": name, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
        full, stop = {**block, "input": arguments}, "tool_use"
    else:
        block = {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": answer.text}
        full, stop = {**block, "text": answer.text}, "end_turn"
    usage = {"input_tokens": 100, "output_tokens": 10}
    message = {"id": f"msg_{asked.call}", "type": "message", "role": "assistant", "model": asked.model, "usage": usage}
    if not asked.streams:
        yield {**message, "content": [full], "stop_reason": stop, "stop_sequence": None}
        return
    yield {"type": "message_start", "message": {**message, "content": [], "stop_reason": None, "stop_sequence": None}}
    yield {"type": "content_block_start", "index": 0, "content_block": block}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": stop, "stop_sequence": None},
        "usage": {"output_tokens": 10},
    }
    yield {"type": "message_stop"}


# --- OpenAI's Responses ----------------------------------------------------------------------------------------------


def responses_asked(body: dict[str, Any]) -> Asked:
    asked = Asked(body["model"], bool(body.get("stream")), [], [])
    spaces = [body, *(item for item in body["input"] if item.get("type") == "additional_tools")]
    while spaces:
        for tool in spaces.pop().get("tools") or ():
            asked.tools[tool.get("name", tool.get("type"))] = tool
            spaces.append(tool)
    for item in body["input"]:
        if item.get("type", "message") == "message" and item.get("role") == "user":
            asked.say(_texts(item["content"]))
        elif item.get("type", "").endswith("_call_output"):
            asked.results.append(item["output"] if isinstance(item["output"], str) else json.dumps(item["output"]))
    return asked


def responses_answer(asked: Asked, answer: Answer) -> Iterator[Any]:
    item: dict[str, Any]
    if answer.tool == "question":
        name, arguments = answer.use(asked)
        item = {"type": "function_call", "call_id": asked.call, "name": name, "arguments": json.dumps(arguments)}
    elif answer.tool:
        item = {"type": "custom_tool_call", "call_id": asked.call, "name": "exec", "input": answer.script}
        item["namespace"] = "functions"
    else:
        text = {"type": "output_text", "text": answer.text, "annotations": []}
        item = {"type": "message", "role": "assistant", "content": [text]}
    item |= {"id": f"item_{asked.call}", "status": "completed"}
    usage: dict[str, Any] = {"input_tokens": 100, "output_tokens": 10, "total_tokens": 110}
    usage |= {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
    response = {"id": f"resp_{asked.call}", "object": "response", "model": asked.model}
    yield {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}}
    yield {"type": "response.output_item.added", "output_index": 0, "item": item}
    yield {"type": "response.output_item.done", "output_index": 0, "item": item}
    yield {
        "type": "response.completed",
        "response": {**response, "status": "completed", "output": [item], "usage": usage},
    }


# --- OpenAI's Chat Completions ---------------------------------------------------------------------------------------


def chat_asked(body: dict[str, Any]) -> Asked:
    tools = {tool["function"]["name"]: tool["function"].get("parameters", {}) for tool in body.get("tools") or ()}
    asked = Asked(body["model"], bool(body.get("stream")), [], [], tools)
    for message in body["messages"]:
        if message["role"] == "user":
            asked.say(_texts(message["content"]))
        elif message["role"] == "tool":
            asked.results.append(_texts(message["content"]))
    return asked


def chat_answer(asked: Asked, answer: Answer) -> Iterator[Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    if answer.tool:
        name, arguments = answer.use(asked)
        function = {"name": name, "arguments": json.dumps(arguments)}
        message["tool_calls"] = [{"index": 0, "id": asked.call, "type": "function", "function": function}]
    stop = "tool_calls" if answer.tool else "stop"
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    whole = {"id": f"chat_{asked.call}", "created": 1, "model": asked.model}
    if not asked.streams:
        choice = {"index": 0, "message": message, "finish_reason": stop}
        yield {**whole, "object": "chat.completion", "choices": [choice], "usage": usage}
        return
    whole["object"] = "chat.completion.chunk"
    yield {**whole, "choices": [{"index": 0, "delta": message, "finish_reason": None}]}
    yield {**whole, "choices": [{"index": 0, "delta": {}, "finish_reason": stop}], "usage": usage}
    yield "[DONE]"


# --- Gemini's generateContent ----------------------------------------------------------------------------------------


def gemini_asked(body: dict[str, Any]) -> Asked:
    declared = [one for tool in body.get("tools") or () for one in tool.get("functionDeclarations") or ()]
    tools = {one["name"]: one.get("parametersJsonSchema") or one.get("parameters") or {} for one in declared}
    settings = body.get("generationConfig") or {}
    form = settings.get("responseJsonSchema") or settings.get("responseSchema")
    asked = Asked("gemini", streams=False, prompts=[], results=[], tools=tools, form=form)
    for content in body["contents"]:
        if content.get("role") == "model":
            continue
        given = [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]
        if given:
            asked.results.extend(json.dumps(one["response"]) for one in given)
        elif said := _texts(content["parts"]):
            asked.say(said)
    return asked


def formed(form: dict[str, Any]) -> Any:
    """The plainest value of a JSON schema."""
    if "enum" in form:
        return form["enum"][0]
    if "properties" in form:
        return {name: formed(of) for name, of in form["properties"].items()}
    plain: dict[str, Any] = {"string": "scripted", "integer": 1, "number": 1, "boolean": False, "array": []}
    return plain.get(str(form.get("type", "string")).lower(), {})


def gemini_answer(asked: Asked, answer: Answer) -> Iterator[Any]:
    part: dict[str, Any] = {"text": answer.text}
    if answer.tool:
        name, arguments = answer.use(asked)
        part = {"functionCall": {"id": asked.call, "name": name, "args": arguments}}
    content = {"role": "model", "parts": [part]}
    usage = {"promptTokenCount": 100, "candidatesTokenCount": 10, "totalTokenCount": 110}
    yield {"candidates": [{"index": 0, "content": content, "finishReason": "STOP"}], "usageMetadata": usage}
