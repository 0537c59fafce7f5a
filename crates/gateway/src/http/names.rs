//! The names that the endpoint may be asked under, against DNS rebinding
//! (2026-07-28, Streamable HTTP, Security).

use http::{HeaderMap, Uri, header};
use mcp_ultra_config::Names;

/// Whether `Host` (or `:authority`) and `Origin` are among the names that are answered.
pub(super) fn are_allowed(hosts: &Names, origins: &Names, uri: &Uri, headers: &HeaderMap) -> bool {
    host_is_allowed(hosts, uri, headers) && origin_is_allowed(origins, headers)
}

/// Whether `Host` is; of pages that browsers go to by themselves, `Origin` says nothing.
pub(super) fn host_is_allowed(hosts: &Names, uri: &Uri, headers: &HeaderMap) -> bool {
    let Names::Only(allowed) = hosts else {
        return true;
    };
    let authority = uri.authority().map(http::uri::Authority::as_str);
    let mut values = headers.get_all(header::HOST).iter();
    let host = match (authority, values.next(), values.next()) {
        (Some(authority), None, None) => authority,
        // Both must say the same, or two readers would see two hosts.
        (Some(authority), Some(host), None) if host == authority => authority,
        (None, Some(host), None) => match host.to_str() {
            Ok(host) => host,
            Err(_) => return false,
        },
        _ => return false,
    };
    allowed.iter().any(|entry| host_matches(entry, host))
}

/// `entry` without a port matches any port.
fn host_matches(entry: &str, host: &str) -> bool {
    let (entry_name, entry_port) = split_port(entry);
    let (name, port) = split_port(host);
    entry_name.eq_ignore_ascii_case(name)
        && entry_port.is_none_or(|wanted| wanted == "*" || Some(wanted) == port)
}

fn split_port(authority: &str) -> (&str, Option<&str>) {
    // An IPv6 address has colons of its own, inside brackets.
    let after_address = if authority.starts_with('[') {
        authority.rfind(']').map_or(0, |at| at + 1)
    } else {
        0
    };
    match authority[after_address..].find(':') {
        Some(at) => {
            let at = after_address + at;
            (&authority[..at], Some(&authority[at + 1..]))
        }
        None => (authority, None),
    }
}

fn origin_is_allowed(origins: &Names, headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::ORIGIN).iter();
    let origin = match (values.next(), values.next()) {
        // No browser, so no rebinding.
        (None, _) => return true,
        (Some(origin), None) => origin,
        (Some(_), Some(_)) => return false,
    };
    let Names::Only(allowed) = origins else {
        return true;
    };
    let Ok(origin) = origin.to_str() else {
        return false;
    };
    let Some((scheme, host)) = origin.split_once("://") else {
        return false;
    };
    allowed.iter().any(|entry| {
        entry
            .split_once("://")
            .is_some_and(|(entry_scheme, entry_host)| {
                let exact = split_port(entry_host).1.is_some() || split_port(host).1.is_none();
                entry_scheme.eq_ignore_ascii_case(scheme) && exact && host_matches(entry_host, host)
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: Option<&str>, origin: Option<&str>) -> bool {
        let section = mcp_ultra_config::ServerSection::default();
        let mut headers = HeaderMap::new();
        if let Some(host) = host {
            headers.insert(header::HOST, host.parse().unwrap());
        }
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        are_allowed(
            &section.hosts(),
            &section.origins(),
            &Uri::from_static("/mcp"),
            &headers,
        )
    }

    #[test]
    fn only_loopback_names_are_answered_by_default() {
        for host in [
            "localhost",
            "localhost:8080",
            "LOCALHOST:1",
            "127.0.0.1:8080",
            "[::1]:9",
            "[::1]",
        ] {
            assert!(allowed(Some(host), None), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.example:8080",
            "",
            "[::2]",
        ] {
            assert!(!allowed(Some(host), None), "{host}");
        }
        assert!(!allowed(None, None), "HTTP/1.1 needs a host");
    }

    #[test]
    fn only_loopback_origins_are_answered_by_default() {
        for origin in [
            "http://localhost:3000",
            "https://127.0.0.1",
            "http://[::1]:5173",
        ] {
            assert!(allowed(Some("localhost"), Some(origin)), "{origin}");
        }
        for origin in [
            "http://evil.example",
            "null",
            "file://",
            "http://localhost.evil.example",
        ] {
            assert!(!allowed(Some("localhost"), Some(origin)), "{origin}");
        }
    }
}
