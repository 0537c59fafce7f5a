// The official TypeScript SDK 2.x against the gateway, in the modern era with --modern, else in the
// legacy one: see checks.mjs.

import assert from 'node:assert/strict';

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

import { answers, checkAll, commandLine, pages } from './checks.mjs';

const { url, command, folder, modern } = commandLine();
const client = new Client(
    { name: 'typescript-sdk-v2', version: '1.0.0' },
    {
        capabilities: { elicitation: { form: {} }, sampling: {} },
        versionNegotiation: { mode: modern ? 'auto' : 'legacy' },
    },
);
const asked = { elicitation: [], sampling: [], updated: [] };
client.setRequestHandler('elicitation/create', ({ params }) => {
    asked.elicitation.push(params);
    return answers.elicitation;
});
client.setRequestHandler('sampling/createMessage', ({ params }) => {
    asked.sampling.push(params);
    return answers.sampling;
});
client.setNotificationHandler('notifications/resources/updated', ({ params }) => {
    asked.updated.push(params.uri);
});

await client.connect(
    url
        ? new StreamableHTTPClientTransport(new URL(url))
        : new StdioClientTransport({ command: command[0], args: command.slice(1), stderr: 'inherit' }),
);
assert.equal(client.getNegotiatedProtocolVersion(), modern ? '2026-07-28' : '2025-11-25');
await checkAll(
    {
        name: `v2-${modern ? 'modern' : 'legacy'}-${url ? 'http' : 'stdio'}`,
        stdio: !url,
        client,
        asked,
        call: (name, args, onprogress) => client.callTool({ name, arguments: args }, { onprogress }),
        subscribe: async (uri) => {
            if (modern) {
                const subscription = await client.listen({ resourceSubscriptions: [uri] });
                return () => subscription.close();
            }
            await client.subscribeResource({ uri });
            return () => client.unsubscribeResource({ uri });
        },
        all: pages({
            tools: (params) => client.listTools(params),
            resources: (params) => client.listResources(params),
            resourceTemplates: (params) => client.listResourceTemplates(params),
            prompts: (params) => client.listPrompts(params),
        }),
    },
    folder,
);
await client.close();
