// What a TypeScript client that has no token yet checks through the gateway, whichever SDK it is
// built on: discovery, registration, login with PKCE, renewal, step-up. Behind the gateway: the demo
// server, under policies of three roles. See login-v1.mjs and login-v2.mjs.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';

import { logIn } from './browser.mjs';

/** Nothing listens there: the browser stops before it. */
const REDIRECT = 'http://127.0.0.1/callback';

/** Command line: `URL OTHER [--modern]`; OTHER is a resource of the same authorization server. */
export function commandLine() {
    const given = process.argv.slice(2);
    const modern = given.includes('--modern');
    const [url, other] = given.filter((each) => each !== '--modern');
    assert.ok(url && other, 'see commandLine in logins.mjs');
    return { url, other, modern };
}

/** A person, with what the client keeps for them: an OAuthClientProvider of both SDKs. */
export class Person {
    /** Every request of the SDK: method, path, status. */
    trail = [];
    #kept = {};
    #authorization;
    #state;

    /** `scopes`: what they allow the client; `renewable`: whether the client asks for refresh tokens. */
    constructor(name, { scopes, renewable = true, resource } = {}) {
        this.name = name;
        this.scopes = scopes;
        this.renewable = renewable;
        if (resource) this.validateResourceURL = async () => new URL(resource);
    }

    redirectUrl = REDIRECT;

    get clientMetadata() {
        return {
            client_name: 'a client of the tests',
            redirect_uris: [REDIRECT],
            grant_types: ['authorization_code', ...(this.renewable ? ['refresh_token'] : [])],
            response_types: ['code'],
            token_endpoint_auth_method: 'none',
        };
    }

    state = () => (this.#state = randomUUID());
    clientInformation = () => this.#kept.client;
    saveClientInformation = (client) => void (this.#kept.client = client);
    tokens = () => this.#kept.tokens;
    saveTokens = (tokens) => void (this.#kept.tokens = tokens);
    codeVerifier = () => this.#kept.verifier;
    saveCodeVerifier = (verifier) => void (this.#kept.verifier = verifier);
    discoveryState = () => this.#kept.discovery;
    saveDiscoveryState = (discovery) => void (this.#kept.discovery = discovery);
    redirectToAuthorization = (url) => void (this.#authorization = url);

    /** The `fetch` that the SDK is given. */
    fetch = async (url, init) => {
        const response = await fetch(url, init);
        this.trail.push(`${init?.method ?? 'GET'} ${new URL(url).pathname} ${response.status}`);
        return response;
    };

    /** Logs in where the SDK has sent them, and returns the parameters that come back. */
    async logIn() {
        const url = this.#authorization;
        assert.ok(url, 'the SDK has asked for a login');
        this.#authorization = undefined;
        assert.equal(url.searchParams.get('code_challenge_method'), 'S256');
        const back = await logIn(url, { person: this.name, scopes: this.scopes, redirect: REDIRECT });
        assert.equal(back.searchParams.get('state'), this.#state, String(back));
        assert.ok(back.searchParams.get('code'), String(back));
        return back.searchParams;
    }
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

/** Connects without a token, logs in, and connects again. */
async function connect(peer, url, person) {
    const first = peer.open(url, person);
    await assert.rejects(first.connect(), peer.Unauthorized);
    await first.finish(await person.logIn());
    await first.close();
    const second = peer.open(url, person);
    await second.connect();
    return second;
}

/** All checks; `peer` hides what differs between the SDKs. */
export async function checkLogins(peer, { url, other }) {
    await checkDiscovery(peer, url);
    await checkCatalogs(peer, url);
    await checkRenewal(peer, url);
    await checkStepUp(peer, url);
    await checkAudience(peer, url, other);
    console.log(`done: ${done} checks`);
}

const names = ({ tools }) => tools.map((tool) => tool.name).sort();
const order = { name: 'demo_get_order', arguments: { id: 'none' } };

async function checkDiscovery(peer, url) {
    await check('a client without a token finds its way to a login, and calls', async () => {
        const person = new Person('ana');
        const client = await connect(peer, url, person);
        assert.ok(names(await client.list()).includes('demo_get_order'));
        assert.ok((await client.call(order)).content.length > 0);
        await client.close();
        const steps = [
            'POST /mcp 401',
            'GET /.well-known/oauth-protected-resource/mcp 200',
            'GET /.well-known/oauth-authorization-server 200',
            'POST /reg 201',
            'POST /token 200',
            'POST /mcp 200',
        ];
        let at = -1;
        for (const step of steps) {
            at = person.trail.indexOf(step, at + 1);
            assert.ok(at >= 0, `${step} in this order in ${person.trail.join('\n')}`);
        }
        const token = person.tokens();
        const [, claims] = token.access_token.split('.').map((part) => Buffer.from(part, 'base64url').toString());
        assert.equal(JSON.parse(claims).aud, url);
        assert.equal(JSON.parse(claims).scope, 'mcp:use mcp:call');
    });
}

async function checkCatalogs(peer, url) {
    await check('three people who log in see three catalogs', async () => {
        const seen = {};
        for (const name of ['ana', 'bea', 'caio']) {
            const client = await connect(peer, url, new Person(name));
            seen[name] = names(await client.list());
            await client.close();
        }
        assert.ok(seen.ana.includes('demo_get_customer') && !seen.ana.includes('demo_update_address'), `${seen.ana}`);
        assert.deepEqual(seen.bea, ['demo_update_address']);
        assert.ok(seen.caio.includes('demo_export_customers') && seen.caio.length > seen.ana.length, `${seen.caio}`);
    });
    await check('what another may call is not there', async () => {
        const client = await connect(peer, url, new Person('bea'));
        await assert.rejects(client.call(order), /[Uu]nknown tool|not found/);
        await client.close();
    });
}

async function checkRenewal(peer, url) {
    await check('a token that ends is renewed by the SDK, and the client goes on', async () => {
        const person = new Person('dora');
        const client = await connect(peer, url, person);
        const before = person.tokens();
        person.trail.length = 0;
        await new Promise((passed) => setTimeout(passed, (before.expires_in + 1) * 1000));
        assert.ok((await client.call(order)).content.length > 0);
        assert.notEqual(person.tokens().access_token, before.access_token);
        // A stream that has ended with the token may be opened again meanwhile.
        const steps = person.trail.filter((step) => /^POST \/(mcp|token) /.test(step));
        assert.ok(steps.includes('POST /token 200'), steps.join('\n'));
        assert.equal(steps.at(-1), 'POST /mcp 200', steps.join('\n'));
        await client.close();
    });
}

async function checkStepUp(peer, url) {
    await check('a token of too few scopes is refused, and the SDK asks for more', async () => {
        const person = new Person('ana', { scopes: ['mcp:use'], renewable: false });
        const first = peer.open(url, person);
        await assert.rejects(first.connect(), peer.Unauthorized);
        await first.finish(await person.logIn());
        assert.equal(person.tokens().scope, 'mcp:use');
        await first.close();
        const second = peer.open(url, person);
        await assert.rejects(second.connect(), peer.Unauthorized);
        assert.ok(person.trail.includes('POST /mcp 403'), person.trail.join('\n'));
        person.scopes = undefined;
        await second.finish(await person.logIn());
        assert.equal(person.tokens().scope, 'mcp:use mcp:call');
        await second.close();
        const third = peer.open(url, person);
        await third.connect();
        assert.ok((await third.call(order)).content.length > 0);
        await third.close();
    });
}

async function checkAudience(peer, url, other) {
    await check('a token for another resource of the same authorization server is refused', async () => {
        const person = new Person('ana', { resource: other, renewable: false });
        const first = peer.open(url, person);
        await assert.rejects(first.connect(), peer.Unauthorized);
        await first.finish(await person.logIn());
        await first.close();
        person.trail.length = 0;
        const second = peer.open(url, person);
        await assert.rejects(second.connect());
        const steps = person.trail.filter((step) => step.startsWith('POST /mcp'));
        assert.ok(steps.length > 0 && steps.every((step) => step === 'POST /mcp 401'), steps.join('\n'));
        await second.close();
    });
}
