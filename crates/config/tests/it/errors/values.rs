//! Values, servers and limits that can't be.

use mcp_ultra_config::load_str;

use super::refused_with;

#[test]
fn impossible_values_are_refused() {
    refused_with(&[
        (
            "server: { port: 70000 }",
            "1:17: server.port: expected a whole number from 0 to 65535, found `70000`, a number",
        ),
        (
            "limits: { body: -1 }",
            "1:17: limits.body: `-1` is not a size such as 65536, 64KiB, 4MiB or 1GiB",
        ),
        (
            "limits: { body: 1 }",
            "1:17: limits.body: 1B is not between 1KiB and 1GiB; use a size from 1KiB to 1GiB",
        ),
        (
            "limits: { connections: 0 }",
            "1:24: limits.connections: expected a whole number of at least 1, found `0`, a number",
        ),
        (
            "limits: { call_timeout: 30 }",
            "1:25: limits.call_timeout: `30` has no unit: expected a time with its unit, such as \
             250ms, 30s, 5m or 1h",
        ),
        (
            "limits: { call_timeout: 0s }",
            "1:25: limits.call_timeout: 0s would end everything at once; use a period such as 30s",
        ),
        (
            "session: { keys: [{ id: a, secret: short }] }",
            "1:36: session.keys[0].secret: the secret is shorter than 32 bytes; make one with: \
             openssl rand -base64 32",
        ),
        (
            "catalog: { refresh: 10ms }",
            "1:21: catalog.refresh: 10ms is shorter than 1s and would keep every server busy; use \
             at least 1s",
        ),
        (
            "extensions: [ui, tasks, ui]",
            "1:25: extensions[2]: this extension is listed twice; remove one of the two",
        ),
        (
            "server: { allowed_origins: ['https://a.example/x'] }",
            "1:29: server.allowed_origins[0]: `https://a.example/x` is not an origin; write \
             scheme and name without a path, such as https://app.example.com, or `*`",
        ),
    ]);
}

#[test]
fn impossible_servers_are_refused() {
    refused_with(&[
        (
            "servers:\n  - { name: a, url: http://a.example, command: x }\n",
            "2:21: servers[0].url: a server has either a command or a url, this one has both; \
             remove `url` to start a program, or `command` to use the address",
        ),
        (
            "servers:\n  - name: a\n",
            "2:5: servers[0]: this server has neither a command nor a url; add `command: PROGRAM` \
             (and `args`), or `url: https://…`",
        ),
        (
            "servers:\n  - command: x\n",
            "2:5: servers[0]: `name` is missing; add `name: …`",
        ),
        (
            "servers: [{ name: a, url: ftp://a.example }]",
            "1:27: servers[0].url: the scheme `ftp` is not http or https",
        ),
        (
            "servers: [{ name: My Files, command: x, prefix: f }]",
            "1:19: servers[0].name: `My Files` can't be the name of a server; use 1 to 32 of a–z, \
             0–9 and dash, beginning with a letter, such as `files`",
        ),
        (
            "servers: [{ name: 1st, command: x }]",
            "1:19: servers[0].name: `1st` can't be the name of a server; use 1 to 32 of a–z, 0–9 \
             and dash, beginning with a letter, such as `files`",
        ),
        (
            "servers: [{ name: a, command: x }, { name: a, command: y }]",
            "1:44: servers[1].name: two servers have the name `a`; give each server a name of its \
             own",
        ),
        (
            "servers: [{ name: a, command: x }, { name: b, command: y, prefix: a }]",
            "1:67: servers[1].prefix: the prefix `a` is already that of the server `a`; give each \
             server a prefix of its own, or `none`",
        ),
        (
            "servers: [{ name: a, command: x, prefix: a.b }]",
            "1:42: servers[0].prefix: `a.b` can't be a prefix; use 1 to 32 of a–z, 0–9 and dash, \
             beginning with a letter; or `none`",
        ),
        (
            "servers: [{ name: a, command: x, prefix: A_b }]",
            "1:42: servers[0].prefix: `A_b` can't be a prefix; use 1 to 32 of a–z, 0–9 and dash, \
             beginning with a letter; or `none`",
        ),
        (
            "servers: [{ name: a, command: x, headers: { A: b } }]",
            "1:43: servers[0].headers: `headers` is for a server that is an address; remove it",
        ),
        (
            "servers: [{ name: a, url: http://a.example, headers: { Mcp-Method: b } }]",
            "1:68: servers[0].headers.Mcp-Method: `Mcp-Method` is set by the gateway itself; \
             remove it",
        ),
        (
            "servers: [{ name: a, url: http://a.example, headers: { X.Y: \"a\\nb\" } }]",
            "1:61: servers[0].headers.X.Y: the value contains a line break or another control \
             character; remove it; `${file:…}` drops only the last line break of a file",
        ),
        (
            "servers: [{ name: a, command: x, restart: { min: 5s, max: 1s } }]",
            "1:59: servers[0].restart.max: 1s is shorter than min, 5s; make max at least min",
        ),
    ]);
}

#[test]
fn servers_without_a_prefix_may_be_several() {
    let text =
        "servers: [{ name: a, command: x, prefix: none }, { name: b, command: y, prefix: none }]";
    assert!(load_str(text, "c.yaml").is_ok());
}

#[test]
fn limits_say_what_they_can_be_and_on_what_they_can_depend() {
    let overridden = |one: &str| format!("limits: {{ overrides: [ {{ {one} }} ] }}\n");
    let by_role = overridden("match: { role: batch }, rates: { tenant: off, principal: off }");
    let everything = overridden("match: {}, quotas: { tenant: 5 }");
    let nothing = overridden("match: { tenant: a }");
    refused_with(&[
        (
            "limits:\n  rates: { tenant: 100 }\n",
            "2:20: limits.rates.tenant: `100` is not a rate such as 100/s, 6000/min or 10/min burst 3 (at most 1000000), or `off`",
        ),
        (
            "limits:\n  quotas: { tool: none }\n",
            "2:19: limits.quotas.tool: `none` is not a number from 1 on, or `off`",
        ),
        (
            &by_role,
            "1:67: limits.overrides[0].rates.tenant: this limit is not counted by role, so it can't depend on one; move it to an override without match.role",
        ),
        (
            &everything,
            "1:33: limits.overrides[0].match: it matches everything; name a tenant, role, tool or server; what is for all stands in limits.rates, limits.quotas and limits.concurrency",
        ),
        (
            &nothing,
            "1:24: limits.overrides[0]: it changes no limit; set one in rates, quotas or concurrency, or remove it",
        ),
        (
            "server: { trusted_proxies: [10.0.0.0/8, proxy] }\n",
            "1:41: server.trusted_proxies[1]: `proxy` is not a range of addresses such as 10.0.0.0/8, fd00::/8 or 10.0.0.1",
        ),
    ]);
}
