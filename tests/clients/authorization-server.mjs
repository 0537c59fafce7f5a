// An authorization server (OAuth 2.1, OpenID Connect) on a free port of the loopback, for the tests
// that log in: npm `oidc-provider` with dynamic registration, PKCE for everyone, resource indicators
// and JWT access tokens. Its pages are forms that a program can fill in: see browser.mjs.
//
// Command line: `RESOURCE...`, the resources (RFC 8707) that it issues tokens for. The first line of
// stdout is {"issuer": "http://127.0.0.1:PORT"}.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import http from 'node:http';

import Provider, { errors } from 'oidc-provider';

/** The people who can log in. All are invented, and nobody has a password. */
const people = {
    ana: { roles: ['support'] },
    bea: { roles: ['clerk'] },
    caio: { roles: ['admin'] },
    // Whose access tokens last a few seconds only.
    dora: { roles: ['support'], seconds: 4 },
};
const scopes = 'mcp:use mcp:call';
const resources = process.argv.slice(2);

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const signingKey = { ...privateKey.export({ format: 'jwk' }), kid: 'test', use: 'sig', alg: 'ES256' };

const server = http.createServer();
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
    jwks: { keys: [signingKey] },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    scopes: ['openid', 'offline_access', ...scopes.split(' ')],
    clientDefaults: { id_token_signed_response_alg: 'ES256', token_endpoint_auth_method: 'none' },
    enabledJWA: { idTokenSigningAlgValues: ['ES256'] },
    pkce: { required: () => true },
    findAccount: (_, id) => people[id] && { accountId: id, claims: () => ({ sub: id }) },
    extraTokenClaims: (_, token) => ({ roles: people[token.accountId].roles, tenant: 'acme' }),
    // Nobody is remembered to have agreed: each login asks.
    loadExistingGrant: (ctx) => {
        const id = ctx.oidc.result?.consent?.grantId;
        return id && provider.Grant.find(id);
    },
    issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
    expiresWithSession: () => false,
    ttl: {
        AccessToken: (_, token) => people[token.accountId].seconds ?? 300,
        Grant: 3600,
        IdToken: 300,
        Interaction: 300,
        RefreshToken: 3600,
        Session: 3600,
    },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    features: {
        devInteractions: { enabled: false },
        registration: { enabled: true },
        resourceIndicators: {
            enabled: true,
            // A client that names no resource gets no token for one.
            defaultResource: () => undefined,
            getResourceServerInfo: (_, resource) => {
                if (!resources.includes(resource)) throw new errors.InvalidTarget();
                return { scope: scopes, audience: resource, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } };
            },
        },
    },
});

/** The page of a login: who are you, then what is allowed. */
async function show(request, response) {
    const { prompt } = await provider.interactionDetails(request, response);
    const wanted = Object.values(prompt.details.missingResourceScopes ?? {}).flat();
    const field =
        prompt.name === 'login'
            ? '<input name="person">'
            : wanted.map((scope) => `<input type="checkbox" name="scope" value="${scope}">`).join('');
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(`<form method="post" data-prompt="${prompt.name}" action="${request.url}">${field}<button></form>`);
}

/** What was filled in. */
async function submit(request, response) {
    const interaction = await provider.interactionDetails(request, response);
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const form = new URLSearchParams(Buffer.concat(chunks).toString());
    const result =
        interaction.prompt.name === 'login'
            ? { login: { accountId: form.get('person') } }
            : { consent: { grantId: await grant(interaction, form.getAll('scope')) } };
    await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: true });
}

/** What was allowed is granted, the rest of what was asked for is refused. */
async function grant({ session, params, prompt }, allowed) {
    const given = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
    if (prompt.details.missingOIDCScope) given.addOIDCScope(prompt.details.missingOIDCScope.join(' '));
    for (const [resource, wanted] of Object.entries(prompt.details.missingResourceScopes ?? {})) {
        for (const scope of wanted) {
            if (allowed.includes(scope)) given.addResourceScope(resource, scope);
            else given.rejectResourceScope(resource, scope);
        }
    }
    return given.save();
}

const answer = provider.callback();
server.on('request', (request, response) => {
    if (!request.url.startsWith('/interaction/')) return answer(request, response);
    const page = request.method === 'POST' ? submit : show;
    return page(request, response).catch((error) => {
        console.error(error);
        response.writeHead(500).end();
    });
});
provider.on('server_error', (_, error) => console.error(error));
console.log(JSON.stringify({ issuer }));
