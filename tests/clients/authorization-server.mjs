// An authorization server (OAuth 2.1, OpenID Connect) on a free port of the loopback, for the tests
// that log in: npm `oidc-provider` with dynamic registration, PKCE for everyone, resource indicators
// and JWT access tokens. Its pages are forms that a program can fill in: see browser.mjs.
//
// Programs have access as the clients below, by client credentials; `gateway` exchanges the tokens of
// others for its own resource (RFC 8693). Each token that is exchanged is a line of stdout.
//
// Command line: `RESOURCE...`, the resources (RFC 8707) that it issues tokens for. The first line of
// stdout is {"issuer": "http://127.0.0.1:PORT"}.

import { createPublicKey, generateKeyPairSync, randomBytes, verify } from 'node:crypto';
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
/** The programs that are clients, and what they are. */
const programs = { gateway: 'service', agent: 'support' };
const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange';
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
    clients: Object.keys(programs).map((client_id) => ({
        client_id,
        client_secret: `the secret of ${client_id}: with %, + and spaces`,
        grant_types: client_id === 'gateway' ? ['client_credentials', exchange] : ['client_credentials'],
        redirect_uris: [],
        response_types: [],
        token_endpoint_auth_method: 'client_secret_basic',
    })),
    pkce: { required: () => true },
    findAccount: (_, id) => people[id] && { accountId: id, claims: () => ({ sub: id }) },
    extraTokenClaims: (_, token) => ({
        roles: people[token.accountId]?.roles ?? [programs[token.accountId ?? token.clientId]],
        tenant: 'acme',
    }),
    // Nobody is remembered to have agreed: each login asks.
    loadExistingGrant: (ctx) => {
        const id = ctx.oidc.result?.consent?.grantId;
        return id && provider.Grant.find(id);
    },
    issueRefreshToken: (_, client) => client.grantTypeAllowed('refresh_token'),
    expiresWithSession: () => false,
    ttl: {
        AccessToken: (_, token) => people[token.accountId]?.seconds ?? 300,
        Grant: 3600,
        IdToken: 300,
        Interaction: 300,
        RefreshToken: 3600,
        Session: 3600,
    },
    interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
    features: {
        clientCredentials: { enabled: true },
        devInteractions: { enabled: false },
        registration: { enabled: true },
        resourceIndicators: {
            enabled: true,
            // A client that names no resource gets no token for one.
            defaultResource: () => undefined,
            getResourceServerInfo: (_, resource) => resourceServer(resource),
        },
    },
});

/** The resource that a token is to be for. */
function resourceServer(resource) {
    if (!resources.includes(resource)) throw new errors.InvalidTarget();
    return { scope: scopes, audience: resource, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } };
}

/** Whom a token speaks for that was issued here and has not ended. */
function subject(token) {
    const [head, body, signature] = token.split('.');
    const key = { key: createPublicKey(privateKey), dsaEncoding: 'ieee-p1363' };
    const signed = verify('sha256', Buffer.from(`${head}.${body}`), key, Buffer.from(signature ?? '', 'base64url'));
    const claims = signed && JSON.parse(Buffer.from(body, 'base64url'));
    if (!claims || claims.exp * 1000 < Date.now()) throw new errors.InvalidRequest('the subject token is not valid');
    return claims.sub;
}

provider.registerGrantType(
    exchange,
    async (ctx) => {
        const { client, params } = ctx.oidc;
        const accountId = subject(params.subject_token);
        const token = new provider.AccessToken({ accountId, client, gty: 'token_exchange' });
        token.resourceServer = new provider.ResourceServer(params.resource, resourceServer(params.resource));
        token.scope = params.scope;
        const access_token = await token.save();
        console.log(JSON.stringify({ exchanged: { client: client.clientId, subject: accountId, audience: params.resource } }));
        ctx.body = {
            access_token,
            issued_token_type: 'urn:ietf:params:oauth:token-type:access_token',
            token_type: 'Bearer',
            expires_in: token.expiration,
            scope: token.scope,
        };
    },
    ['subject_token', 'subject_token_type', 'requested_token_type', 'resource', 'audience', 'scope'],
);

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
