/// Whether `host`, as it stands in a request, is the one of `entry`, a name of
/// `server.allowed_hosts`. Without a port in `entry`, on any port.
pub fn host_matches(entry: &str, host: &str) -> bool {
    let (entry_name, entry_port) = split_port(entry);
    let (name, port) = split_port(host);
    entry_name.eq_ignore_ascii_case(name)
        && entry_port.is_none_or(|wanted| wanted == "*" || Some(wanted) == port)
}

/// Name and port of `name:port`.
pub fn split_port(authority: &str) -> (&str, Option<&str>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_told_from_an_address() {
        assert_eq!(split_port("[::1]:80"), ("[::1]", Some("80")));
        assert_eq!(split_port("[::1]"), ("[::1]", None));
        assert!(host_matches("a.example", "A.example:8443"));
        assert!(!host_matches("a.example:443", "a.example"));
    }
}
