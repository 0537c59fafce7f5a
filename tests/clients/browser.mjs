// What a person with a browser does in a login at authorization-server.mjs: follows redirects, keeps
// cookies, fills in forms.

import assert from 'node:assert/strict';

/** Cookies as a browser keeps them (RFC 6265), as far as one server on one host needs it. */
class Cookies {
    #kept = new Map();

    keep(response) {
        for (const line of response.headers.getSetCookie()) {
            const [pair, ...attributes] = line.split(';').map((part) => part.trim());
            const at = pair.indexOf('=');
            const [name, value] = [pair.slice(0, at), pair.slice(at + 1)];
            const attribute = (wanted) =>
                attributes.map((each) => each.split('=')).find(([key]) => key.toLowerCase() === wanted)?.[1];
            const path = attribute('path') ?? '/';
            const expires = attribute('expires');
            const key = `${name} ${path}`;
            if (expires && new Date(expires) <= new Date()) this.#kept.delete(key);
            else this.#kept.set(key, { name, value, path });
        }
    }

    header(url) {
        const under = (path) => url.pathname === path || url.pathname.startsWith(path.endsWith('/') ? path : `${path}/`);
        const sent = [...this.#kept.values()].filter((cookie) => under(cookie.path));
        return sent.map(({ name, value }) => `${name}=${value}`).join('; ');
    }
}

/**
 * Goes to `url`, says there to be `person`, allows `scopes` of what is asked for (all without it),
 * and returns the URL below `redirect` that the browser is sent to in the end.
 */
export async function logIn(url, { person, scopes, redirect }) {
    const cookies = new Cookies();
    let next = { url };
    for (let requests = 0; requests < 20; requests += 1) {
        if (String(next.url).startsWith(redirect)) return next.url;
        const headers = { cookie: cookies.header(next.url) };
        const response = await fetch(next.url, { method: next.form ? 'POST' : 'GET', body: next.form, headers, redirect: 'manual' });
        cookies.keep(response);
        const location = response.headers.get('location');
        if (location) {
            next = { url: new URL(location, next.url) };
            continue;
        }
        const page = await response.text();
        assert.equal(response.status, 200, page);
        next = fillIn(page, next.url, { person, scopes });
    }
    assert.fail('the login goes round in circles');
}

function fillIn(page, url, { person, scopes }) {
    const [, prompt, action] = page.match(/data-prompt="([^"]*)" action="([^"]*)"/) ?? assert.fail(`no form: ${page}`);
    const asked = [...page.matchAll(/name="scope" value="([^"]*)"/g)].map(([, scope]) => scope);
    const allowed = asked.filter((scope) => !scopes || scopes.includes(scope));
    const fields = prompt === 'login' ? [['person', person]] : allowed.map((scope) => ['scope', scope]);
    return { url: new URL(action, url), form: new URLSearchParams(fields) };
}
