// The official TypeScript SDK 1.x, a client of the legacy era that logs in: see logins.mjs.

import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';

import { checkLogins, commandLine } from './logins.mjs';

const peer = {
    Unauthorized: UnauthorizedError,
    open: (url, person) => {
        const client = new Client({ name: 'typescript-sdk-v1', version: '1.0.0' });
        const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: person, fetch: person.fetch });
        return {
            connect: () => client.connect(transport),
            finish: (parameters) => transport.finishAuth(parameters.get('code')),
            list: () => client.listTools(),
            call: (tool) => client.callTool(tool),
            close: () => client.close(),
        };
    },
};
await checkLogins(peer, commandLine());
