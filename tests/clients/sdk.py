"""The official Python SDK against the gateway; behind it the servers that checks.mjs names.

Command line: --folder FOLDER --mode legacy|auto (--url URL | -- COMMAND ARGUMENT...)
"""

import argparse
import asyncio
import base64
import json
import os

import mcp_types as types
from mcp import Client, StdioServerParameters

DONE = 0
ASKED = {"elicitation": [], "sampling": []}


def ok(what: str) -> None:
    global DONE
    DONE += 1
    print(f"ok: {what}", flush=True)


async def elicited(_context, params):
    ASKED["elicitation"].append(params)
    content = {"name": "Maria Exemplo", "check": True, "integer": 7}
    return types.ElicitResult(action="accept", content=content)


async def sampled(_context, params):
    ASKED["sampling"].append(params)
    answer = types.TextContent(type="text", text="a sampled answer")
    return types.CreateMessageResult(role="assistant", model="a-test", content=answer)


def text(result) -> str:
    return "\n".join(getattr(part, "text", "") for part in result.content)


async def every_page(lists, name):
    found, cursor = [], None
    while True:
        page = await lists(cursor=cursor)
        found += getattr(page, name)
        cursor = page.next_cursor
        if not cursor:
            return found


async def readable(client, uri):
    contents = (await client.read_resource(uri)).contents
    assert str(contents[0].uri) == str(uri), contents[0]
    return contents[0]


async def check_everything(client, prefix):
    tools = [tool.name for tool in await every_page(client.list_tools, "tools")]
    assert len(set(tools)) == len(tools) and f"{prefix}_get-sum" in tools, tools
    ok(f"{prefix}: tools are listed under the prefix")

    message = "Olá, “mundo” 👋\n\t\\ \u2028 end"
    assert text(await client.call_tool(f"{prefix}_echo", {"message": message})) == f"Echo: {message}"
    assert "is 5.5." in text(await client.call_tool(f"{prefix}_get-sum", {"a": 2, "b": 3.5}))
    refused = await client.call_tool(f"{prefix}_get-sum", {"a": "two"})
    assert refused.is_error, refused
    ok(f"{prefix}: tools are called")

    weather = await client.call_tool(f"{prefix}_get-structured-content", {"location": "Chicago"})
    assert json.loads(text(weather)) == weather.structured_content, weather
    picture = await client.call_tool(f"{prefix}_get-tiny-image", {})
    image = next(part for part in picture.content if part.type == "image")
    assert base64.b64decode(image.data)[1:4] == b"PNG"
    ok(f"{prefix}: structured content and an image")

    links = await client.call_tool(f"{prefix}_get-resource-links", {"count": 2})
    links = [part for part in links.content if part.type == "resource_link"]
    assert len(links) == 2, links
    for link in links:
        await readable(client, link.uri)
    ok(f"{prefix}: links lead to resources")

    seen = []

    async def progress(done, total, _message):
        seen.append((done, total))

    arguments = {"duration": 0.6, "steps": 3}
    name = f"{prefix}_trigger-long-running-operation"
    await client.call_tool(name, arguments, progress_callback=progress)
    assert seen == [(1, 3), (2, 3), (3, 3)], seen
    ok(f"{prefix}: progress of a long call")

    before = len(ASKED["elicitation"])
    result = await client.call_tool(f"{prefix}_trigger-elicitation-request", {})
    assert len(ASKED["elicitation"]) == before + 1 and "Name: Maria Exemplo" in text(result), result
    ok(f"{prefix}: the server asks the person")

    result = await client.call_tool(f"{prefix}_trigger-sampling-request", {"prompt": "say something"})
    assert "say something" in ASKED["sampling"][-1].messages[0].content.text
    assert "a sampled answer" in text(result), result
    ok(f"{prefix}: the server asks the model")

    resources = await every_page(client.list_resources, "resources")
    documents = [each for each in resources if str(each.uri).endswith("/architecture.md")]
    assert len(documents) == 2, resources
    for document in documents:
        assert "Everything Server" in (await readable(client, document.uri)).text
    templates = await every_page(client.list_resource_templates, "resource_templates")
    dynamic = [each.uri_template for each in templates if "dynamic/text/{" in each.uri_template]
    assert len(dynamic) == 2, templates
    for template in dynamic:
        found = await readable(client, template[: template.index("{")] + "7")
        assert "Resource 7" in found.text, found
    ok(f"{prefix}: resources and templates")

    prompts = [prompt.name for prompt in await every_page(client.list_prompts, "prompts")]
    assert f"{prefix}_args-prompt" in prompts, prompts
    prompt = await client.get_prompt(f"{prefix}_args-prompt", {"city": "Recife"})
    assert "Recife" in prompt.messages[0].content.text, prompt
    reference = types.PromptReference(type="ref/prompt", name=f"{prefix}_completable-prompt")
    completed = await client.complete(reference, {"name": "department", "value": "E"})
    assert completed.completion.values == ["Engineering"], completed
    ok(f"{prefix}: prompts and completion")


async def check_files_and_memory(client, folder, name):
    path = os.path.join(folder, f"by-{name}.txt")
    content = "Primeira linha\nsegunda linha: ção\n"
    written = await client.call_tool("files_write_file", {"path": path, "content": content})
    assert not written.is_error, written
    assert text(await client.call_tool("files_read_text_file", {"path": path})) == content
    outside = await client.call_tool("files_read_text_file", {"path": "/etc/hostname"})
    assert outside.is_error, outside
    ok("files: written and read, and nothing outside of the folder")

    person = f"Pessoa de {name}"
    entity = {"name": person, "entityType": "person", "observations": ["invented"]}
    await client.call_tool("memory_create_entities", {"entities": [entity]})
    found = await client.call_tool("memory_search_nodes", {"query": person})
    assert json.loads(text(found))["entities"][0]["name"] == person, found
    resources = await every_page(client.list_resources, "resources")
    graph = next(each for each in resources if "knowledge-graph" in str(each.uri))
    assert person in (await readable(client, graph.uri)).text
    ok("memory: stored, found, and a resource")


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--mode", required=True, choices=["legacy", "auto"])
    parser.add_argument("--url")
    parser.add_argument("command", nargs="*")
    given = parser.parse_args()
    server = given.url or StdioServerParameters(command=given.command[0], args=given.command[1:])
    transport = "http" if given.url else "stdio"
    client = Client(
        server,
        mode=given.mode,
        elicitation_callback=elicited,
        sampling_callback=sampled,
        read_timeout_seconds=60,
    )
    async with client:
        expected = "2025-11-25" if given.mode == "legacy" else "2026-07-28"
        assert client.protocol_version == expected, client.protocol_version
        for prefix in ("everything", "remote"):
            await check_everything(client, prefix)
        await check_files_and_memory(client, given.folder, f"python-{given.mode}-{transport}")
    print(f"done: {DONE} checks")


asyncio.run(main())
