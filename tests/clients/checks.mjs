// What a TypeScript client checks through the gateway, whichever SDK it is built on.
//
// Behind the gateway: server-everything over stdio (everything) and over HTTP (remote),
// server-filesystem (files) and server-memory (memory), under their prefixes.

import assert from 'node:assert/strict';
import path from 'node:path';

/** How the SDKs of both majors are answered when a server asks. */
export const answers = {
    elicitation: { action: 'accept', content: { name: 'Maria Exemplo', check: true, integer: 7 } },
    sampling: { model: 'a-test', role: 'assistant', content: { type: 'text', text: 'a sampled answer' } },
};

/** Command line: `--folder FOLDER [--modern] (--url URL | -- COMMAND ARGUMENT...)`. */
export function commandLine() {
    const found = { modern: false };
    const given = process.argv.slice(2);
    while (given.length > 0) {
        const option = given.shift();
        if (option === '--folder') found.folder = given.shift();
        else if (option === '--modern') found.modern = true;
        else if (option === '--url') found.url = given.shift();
        else if (option === '--') found.command = given.splice(0);
        else throw new Error(`unknown option ${option}`);
    }
    assert.ok(found.folder && (found.url || found.command), 'see commandLine in checks.mjs');
    return found;
}

let done = 0;

async function check(what, run) {
    try {
        await run();
    } catch (error) {
        console.error(`FAILED: ${what}`);
        throw error;
    }
    done += 1;
    console.log(`ok: ${what}`);
}

/** All checks; `peer` hides what differs between the SDKs: see sdk-v1.mjs and sdk-v2.mjs. */
export async function checkAll(peer, folder) {
    for (const prefix of ['everything', 'remote']) {
        await checkTools(peer, prefix);
        await checkConversation(peer, prefix);
        await checkResources(peer, prefix);
        await checkPrompts(peer, prefix);
    }
    await checkFiles(peer, folder);
    await checkMemory(peer);
    console.log(`done: ${done} checks`);
}

const text = (result) => result.content.map((part) => part.text ?? '').join('\n');

async function checkTools(peer, prefix) {
    const tools = await peer.all('tools');
    const tool = (name) => `${prefix}_${name}`;
    await check(`${prefix}: tools are listed under the prefix, each once`, () => {
        const names = tools.map((each) => each.name);
        assert.equal(new Set(names).size, names.length);
        for (const name of ['echo', 'get-sum', 'get-structured-content', 'trigger-long-running-operation'])
            assert.ok(names.includes(tool(name)), `${tool(name)} in ${names}`);
        const sum = tools.find((each) => each.name === tool('get-sum'));
        assert.deepEqual(Object.keys(sum.inputSchema.properties).sort(), ['a', 'b']);
    });
    await check(`${prefix}: text comes back as it was sent`, async () => {
        const message = 'Olá, “mundo” 👋\n\t\\ \u2028 end';
        assert.equal(text(await peer.call(tool('echo'), { message })), `Echo: ${message}`);
    });
    await check(`${prefix}: numbers`, async () => {
        assert.match(text(await peer.call(tool('get-sum'), { a: 2, b: 3.5 })), /is 5\.5\./);
    });
    await check(`${prefix}: structured content holds to its schema`, async () => {
        const result = await peer.call(tool('get-structured-content'), { location: 'Chicago' });
        assert.equal(typeof result.structuredContent.temperature, 'number');
        assert.deepEqual(JSON.parse(text(result)), result.structuredContent);
    });
    await check(`${prefix}: an image`, async () => {
        const result = await peer.call(tool('get-tiny-image'), {});
        const image = result.content.find((part) => part.type === 'image');
        assert.equal(image.mimeType, 'image/png');
        assert.equal(Buffer.from(image.data, 'base64').subarray(1, 4).toString(), 'PNG');
    });
    await check(`${prefix}: wrong arguments are refused by the server`, async () => {
        const result = await peer.call(tool('get-sum'), { a: 'two' });
        assert.equal(result.isError, true);
    });
    await check(`${prefix}: a tool that is not there is an error`, async () => {
        await assert.rejects(async () => {
            const result = await peer.call(tool('no-such-tool'), {});
            if (result.isError) throw new Error('refused by the server');
        });
    });
    await check(`${prefix}: links in results lead to resources`, async () => {
        const result = await peer.call(tool('get-resource-links'), { count: 2 });
        const links = result.content.filter((part) => part.type === 'resource_link');
        assert.equal(links.length, 2);
        for (const link of links) await readable(peer, link.uri);
        const reference = await peer.call(tool('get-resource-reference'), { resourceType: 'Text', resourceId: 3 });
        const embedded = reference.content.find((part) => part.type === 'resource').resource;
        assert.ok(embedded.text.length > 0);
        await readable(peer, embedded.uri);
    });
}

async function readable(peer, uri) {
    const { contents } = await peer.client.readResource({ uri });
    assert.equal(contents[0].uri, uri);
    assert.ok((contents[0].text ?? contents[0].blob).length > 0);
    return contents[0];
}

async function checkConversation(peer, prefix) {
    await check(`${prefix}: progress of a long call`, async () => {
        const seen = [];
        const args = { duration: 0.6, steps: 3 };
        const result = await peer.call(`${prefix}_trigger-long-running-operation`, args, (progress) => seen.push(progress));
        assert.match(text(result), /completed/);
        const expected = [[1, 3], [2, 3], [3, 3]];
        // Over stdio both SDKs forget the handler of a call as soon as they read its result, before
        // they have handed on a notification that came in the same chunk: the last one may be missing.
        if (peer.stdio && seen.length === 2) expected.pop();
        assert.deepEqual(seen.map((each) => [each.progress, each.total]), expected);
    });
    await check(`${prefix}: the server asks the person in the middle of a call`, async () => {
        const before = peer.asked.elicitation.length;
        const result = await peer.call(`${prefix}_trigger-elicitation-request`, {});
        assert.equal(peer.asked.elicitation.length, before + 1);
        const asked = peer.asked.elicitation.at(-1);
        assert.equal(asked.requestedSchema.properties.name.type, 'string');
        assert.match(text(result), /Name: Maria Exemplo/);
        assert.match(text(result), /Favorite Integer: 7/);
    });
    await check(`${prefix}: the server asks the model in the middle of a call`, async () => {
        const before = peer.asked.sampling.length;
        const result = await peer.call(`${prefix}_trigger-sampling-request`, { prompt: 'say something', maxTokens: 20 });
        assert.equal(peer.asked.sampling.length, before + 1);
        assert.match(peer.asked.sampling.at(-1).messages[0].content.text, /say something/);
        assert.match(text(result), /a sampled answer/);
    });
}

async function checkResources(peer, prefix) {
    const resources = await peer.all('resources');
    const templates = await peer.all('resourceTemplates');
    await check(`${prefix}: resources are listed and read under their public URIs`, async () => {
        const uris = resources.map((each) => each.uri);
        assert.equal(new Set(uris).size, uris.length);
        const documents = resources.filter((each) => each.uri.endsWith('/architecture.md'));
        assert.equal(documents.length, 2, `one of each server in ${uris}`);
        for (const document of documents) assert.match((await readable(peer, document.uri)).text, /Everything Server/);
    });
    await check(`${prefix}: resources of templates`, async () => {
        const dynamic = templates.filter((each) => each.uriTemplate.includes('dynamic/text/{'));
        assert.equal(dynamic.length, 2, 'one of each server');
        for (const { uriTemplate } of dynamic) {
            const found = await readable(peer, uriTemplate.replace(/\{[^}]*\}/, '7'));
            assert.match(found.text, /Resource 7/);
        }
    });
    await check(`${prefix}: a resource that is not there is an error`, async () => {
        await assert.rejects(peer.client.readResource({ uri: 'demo://resource/no/such' }));
    });
}

async function checkPrompts(peer, prefix) {
    await check(`${prefix}: prompts are listed and filled in`, async () => {
        const names = (await peer.all('prompts')).map((each) => each.name);
        for (const name of ['simple-prompt', 'args-prompt', 'completable-prompt'])
            assert.ok(names.includes(`${prefix}_${name}`), `${name} in ${names}`);
        const prompt = await peer.client.getPrompt({ name: `${prefix}_args-prompt`, arguments: { city: 'Recife' } });
        assert.match(prompt.messages[0].content.text, /Recife/);
    });
    await check(`${prefix}: arguments are completed`, async () => {
        const { completion } = await peer.client.complete({
            ref: { type: 'ref/prompt', name: `${prefix}_completable-prompt` },
            argument: { name: 'department', value: 'E' },
        });
        assert.deepEqual(completion.values, ['Engineering']);
    });
}

async function checkFiles(peer, folder) {
    const file = path.join(folder, `by-${peer.name}.txt`);
    await check('files: a file is written, listed and read', async () => {
        const content = 'Primeira linha\nsegunda linha: ção\n';
        const written = await peer.call('files_write_file', { path: file, content });
        assert.ok(!written.isError, text(written));
        assert.match(text(await peer.call('files_list_directory', { path: folder })), new RegExp(path.basename(file)));
        assert.equal(text(await peer.call('files_read_text_file', { path: file })), content);
    });
    await check('files: what lies outside of the folder is refused by the server', async () => {
        const result = await peer.call('files_read_text_file', { path: '/etc/hostname' });
        assert.equal(result.isError, true);
    });
}

async function checkMemory(peer) {
    const name = `Pessoa de ${peer.name}`;
    await check('memory: what is stored is found again', async () => {
        const entity = { name, entityType: 'person', observations: ['invented'] };
        await peer.call('memory_create_entities', { entities: [entity] });
        const found = await peer.call('memory_search_nodes', { query: name });
        assert.equal(JSON.parse(text(found)).entities[0].name, name);
    });
    await check('memory: the graph is a resource', async () => {
        const graph = (await peer.all('resources')).find((each) => each.uri.includes('knowledge-graph'));
        assert.match((await readable(peer, graph.uri)).text, new RegExp(name));
    });
    await check('memory: a change is told to those who subscribed to the resource', async () => {
        const graph = (await peer.all('resources')).find((each) => each.uri.includes('knowledge-graph'));
        const stop = await peer.subscribe(graph.uri);
        const observations = [{ entityName: name, contents: ['changed'] }];
        await peer.call('memory_add_observations', { observations });
        await until(() => peer.asked.updated.includes(graph.uri), 'notifications/resources/updated');
        await stop();
    });
}

async function until(holds, what) {
    for (let tries = 0; tries < 100; tries += 1) {
        if (holds()) return;
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
    assert.fail(`not within ten seconds: ${what}`);
}

/** Every page of a list. */
export function pages(lists) {
    return async (what) => {
        const found = [];
        let cursor;
        do {
            const page = await lists[what]({ cursor });
            found.push(...page[what]);
            cursor = page.nextCursor;
        } while (cursor);
        return found;
    };
}
