// The official TypeScript SDK 2.x that logs in, in the modern era with --modern, else in the legacy
// one: see logins.mjs.

import assert from 'node:assert/strict';

import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';

import { checkLogins, commandLine } from './logins.mjs';

const given = commandLine();
const { modern } = given;
const peer = {
    Unauthorized: UnauthorizedError,
    open: (url, person) => {
        const client = new Client(
            { name: 'typescript-sdk-v2', version: '1.0.0' },
            { versionNegotiation: { mode: modern ? 'auto' : 'legacy' } },
        );
        const transport = new StreamableHTTPClientTransport(new URL(url), { authProvider: person, fetch: person.fetch });
        return {
            connect: async () => {
                await client.connect(transport);
                assert.equal(client.getNegotiatedProtocolVersion(), modern ? '2026-07-28' : '2025-11-25');
            },
            finish: (parameters) => transport.finishAuth(parameters),
            list: () => client.listTools(),
            call: (tool) => client.callTool(tool),
            close: () => client.close(),
        };
    },
};
await checkLogins(peer, given);
