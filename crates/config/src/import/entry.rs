//! One server of a client's configuration.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Import, Written, placeholder::translate};
use crate::{
    reference::{Part, parts},
    suspicion::{is_secret_name, is_secret_value, secret_in_argument},
    text::UpstreamUrl,
};

/// Turns one server into ours; the error is the reason why it can't be carried over.
pub(super) fn convert(name: &str, value: Value, import: &mut Import) -> Result<Written, String> {
    let Value::Object(mut fields) = value else {
        return Err("it is not an object".into());
    };
    let kind = text(&mut fields, "type")?.or(text(&mut fields, "transport")?);
    let command = text(&mut fields, "command")?;
    let url = text(&mut fields, "url")?.or(text(&mut fields, "serverUrl")?);
    if is_ourselves(name, command.as_deref()) {
        return Err("it is MCP Ultra itself".into());
    }
    match kind.as_deref() {
        Some("sse") => {
            return Err(
                "it uses the transport of 2024-11-05 (HTTP+SSE), which is not supported; \
                        ask its operator for a streamable HTTP address"
                    .into(),
            );
        }
        None
        | Some("stdio" | "http" | "streamable-http" | "streamableHttp" | "streamable_http") => {}
        Some(_) => return Err("its `type` is neither stdio nor http".into()),
    }
    let mut server = Written {
        name: String::new(),
        command: None,
        args: Vec::new(),
        env: BTreeMap::new(),
        cwd: None,
        url: None,
        headers: BTreeMap::new(),
        enabled: None,
    };
    let args = texts(&mut fields, "args")?;
    let env = pairs(&mut fields, "env")?;
    let headers = pairs(&mut fields, "headers")?;
    let folder = text(&mut fields, "cwd")?;
    match (command, url) {
        (Some(_), Some(_)) => return Err("it has both a command and a url".into()),
        (None, None) => return Err("it has neither a command nor a url".into()),
        (Some(command), None) => {
            check_program(&command, &args, &env)?;
            server.name = import.name(name);
            server.command = Some(translate(&command, name, "command", import));
            server.args = arguments(&args, &server.name, name, import);
            server.env = env
                .into_iter()
                .map(|(key, value)| {
                    let value = variable(&key, &value, &server.name, name, import);
                    (key, value)
                })
                .collect();
            server.cwd = folder.map(|folder| translate(&folder, name, "cwd", import));
        }
        (None, Some(url)) => {
            check_address(&url)?;
            let headers = check_headers(headers, name, import)?;
            server.name = import.name(name);
            server.url = Some(address(&url, &server.name, name, import));
            server.headers = headers
                .into_iter()
                .map(|(key, value)| {
                    let value = header(&key, &value, &server.name, name, import);
                    (key, value)
                })
                .collect();
        }
    }
    server.enabled = match (fields.remove("disabled"), fields.remove("enabled")) {
        (Some(Value::Bool(true)), _) | (_, Some(Value::Bool(false))) => Some(false),
        _ => None,
    };
    if !fields.is_empty() {
        let keys: Vec<String> = fields
            .keys()
            .map(|key| key.escape_debug().to_string())
            .collect();
        import.note(format!("{name}: not carried over: {}", keys.join(", ")));
    }
    Ok(server)
}

/// A client that already uses the gateway has it in its list: importing that would be a loop.
fn is_ourselves(name: &str, command: Option<&str>) -> bool {
    let program = command.and_then(|command| command.rsplit(['/', '\\']).next());
    name == "mcp-ultra" || matches!(program, Some("mcp-ultra" | "mcp-ultra.exe"))
}

fn check_program(
    command: &str,
    args: &[String],
    env: &BTreeMap<String, String>,
) -> Result<(), String> {
    if command.trim().is_empty() {
        return Err("its command is empty".into());
    }
    let values = args
        .iter()
        .chain(env.values())
        .map(String::as_str)
        .chain([command]);
    if values.into_iter().any(|value| value.contains('\0')) {
        return Err("a value contains a NUL character".into());
    }
    if env
        .keys()
        .any(|key| key.is_empty() || key.contains(['=', '\0']))
    {
        return Err("an environment variable has an impossible name".into());
    }
    Ok(())
}

fn check_address(url: &str) -> Result<(), String> {
    // What stands for a placeholder is not known yet; a letter is possible almost everywhere.
    let sample: String = parts(url)?
        .into_iter()
        .map(|part| match part {
            Part::Literal(literal) => literal,
            Part::Reference(_) => "x",
        })
        .collect();
    // An address that begins with a placeholder can't be checked before it is known.
    if url.starts_with("${") {
        return Ok(());
    }
    UpstreamUrl::parse(&sample)
        .map(|_| ())
        .map_err(|reason| format!("its url: {reason}"))
}

/// Headers that the loader accepts; those that the gateway sets itself are left behind.
fn check_headers(
    headers: BTreeMap<String, String>,
    name: &str,
    import: &mut Import,
) -> Result<BTreeMap<String, String>, String> {
    let mut kept = BTreeMap::new();
    for (key, value) in headers {
        if !crate::sections::is_header_name(&key) {
            return Err("a header has an impossible name".into());
        }
        if value.chars().any(|c| c.is_control() && c != '\t') {
            return Err("a header contains a line break or another control character".into());
        }
        if crate::sections::is_own_header(&key) {
            import.note(format!(
                "{name}: the header {key} is left out: the gateway sets it itself"
            ));
        } else {
            kept.insert(key, value);
        }
    }
    Ok(kept)
}

/// Replaces secrets in arguments.
fn arguments(args: &[String], server: &str, name: &str, import: &mut Import) -> Vec<String> {
    let mut out = Vec::with_capacity(args.len());
    let mut before: Option<&str> = None;
    for (index, argument) in args.iter().enumerate() {
        let place = format!("args[{index}]");
        let secret = secret_in_argument(before, argument).filter(|_| !argument.contains("${"));
        out.push(match secret {
            Some(start) => {
                let (flag, value) = argument.split_at(start);
                let flag_name = flag.trim_end_matches('=');
                let wanted = match (flag_name, before) {
                    ("", Some(before)) if before.starts_with('-') => before,
                    ("", _) => "argument",
                    (flag, _) => flag,
                };
                let wanted = format!("{server}_{}", wanted.trim_matches('-'));
                let source = format!("{name}: {place}");
                format!(
                    "{flag}{}",
                    import.variable(server, &wanted, Some(value), source)
                )
            }
            None => translate(argument, name, &place, import),
        });
        before = Some(argument);
    }
    out
}

/// Replaces an environment variable's value if it is a secret.
fn variable(key: &str, value: &str, server: &str, name: &str, import: &mut Import) -> String {
    let place = format!("env {key}");
    let secret = (is_secret_name(key) || is_secret_value(value)) && !value.is_empty();
    if secret && !value.contains("${") {
        import.variable(server, key, Some(value), format!("{name}: {place}"))
    } else {
        translate(value, name, &place, import)
    }
}

/// Replaces a header's value if it is a secret, its scheme kept.
fn header(key: &str, value: &str, server: &str, name: &str, import: &mut Import) -> String {
    let place = format!("header {key}");
    let (scheme, credential) = match value.split_once(' ') {
        Some((scheme, rest)) if matches!(scheme, "Bearer" | "bearer" | "Basic" | "Token") => {
            (format!("{scheme} "), rest)
        }
        _ => (String::new(), value),
    };
    let secret = is_secret_name(key) || is_secret_value(credential) || !scheme.is_empty();
    if secret && !value.contains("${") && !credential.is_empty() {
        let wanted = if key.eq_ignore_ascii_case("authorization") {
            "token"
        } else {
            key
        };
        let wanted = format!("{server}_{wanted}");
        let source = format!("{name}: {place}");
        format!(
            "{scheme}{}",
            import.variable(server, &wanted, Some(credential), source)
        )
    } else {
        translate(value, name, &place, import)
    }
}

/// Replaces secrets in the query of an address.
fn address(url: &str, server: &str, name: &str, import: &mut Import) -> String {
    let Some((base, query)) = url.split_once('?') else {
        if url.trim_end_matches('/').ends_with("/sse") {
            import.note(format!(
                "{name}: the address ends with /sse; if it is the transport of 2024-11-05, ask for \
                 a streamable HTTP address"
            ));
        }
        return translate(url, name, "url", import);
    };
    let pairs: Vec<String> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((key, value))
                if (is_secret_name(key) || is_secret_value(value))
                    && !value.is_empty()
                    && !value.contains("${") =>
            {
                let wanted = format!("{server}_{key}");
                let source = format!("{name}: url: {key}");
                format!(
                    "{key}={}",
                    import.variable(server, &wanted, Some(value), source)
                )
            }
            _ => translate(pair, name, "url", import),
        })
        .collect();
    format!(
        "{}?{}",
        translate(base, name, "url", import),
        pairs.join("&")
    )
}

fn text(fields: &mut Map<String, Value>, key: &str) -> Result<Option<String>, String> {
    match fields.remove(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("its `{key}` is not a text")),
    }
}

fn texts(fields: &mut Map<String, Value>, key: &str) -> Result<Vec<String>, String> {
    match fields.remove(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| scalar(item).ok_or_else(|| format!("its `{key}` is not a list of texts")))
            .collect(),
        Some(_) => Err(format!("its `{key}` is not a list of texts")),
    }
}

/// A group of texts; one that is null is not set.
fn pairs(fields: &mut Map<String, Value>, key: &str) -> Result<BTreeMap<String, String>, String> {
    match fields.remove(key) {
        None | Some(Value::Null) => Ok(BTreeMap::new()),
        Some(Value::Object(entries)) => entries
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| {
                let value =
                    scalar(value).ok_or_else(|| format!("its `{key}` is not a group of texts"))?;
                Ok((name, value))
            })
            .collect(),
        Some(_) => Err(format!("its `{key}` is not a group of texts")),
    }
}

fn scalar(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}
