// The official TypeScript SDK 1.x, a client of the legacy era, against the gateway: see checks.mjs.

import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import {
    CreateMessageRequestSchema,
    ElicitRequestSchema,
    ResourceUpdatedNotificationSchema,
} from '@modelcontextprotocol/sdk/types.js';

import { answers, checkAll, commandLine, pages } from './checks.mjs';

const { url, command, folder } = commandLine();
const client = new Client(
    { name: 'typescript-sdk-v1', version: '1.0.0' },
    { capabilities: { elicitation: {}, sampling: {} } },
);
const asked = { elicitation: [], sampling: [], updated: [] };
client.setRequestHandler(ElicitRequestSchema, ({ params }) => {
    asked.elicitation.push(params);
    return answers.elicitation;
});
client.setRequestHandler(CreateMessageRequestSchema, ({ params }) => {
    asked.sampling.push(params);
    return answers.sampling;
});
client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => {
    asked.updated.push(params.uri);
});

await client.connect(
    url
        ? new StreamableHTTPClientTransport(new URL(url))
        : new StdioClientTransport({ command: command[0], args: command.slice(1), stderr: 'inherit' }),
);
await checkAll(
    {
        name: `v1-${url ? 'http' : 'stdio'}`,
        stdio: !url,
        client,
        asked,
        call: (name, args, onprogress) => client.callTool({ name, arguments: args }, undefined, { onprogress }),
        subscribe: async (uri) => {
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
