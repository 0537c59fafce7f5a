//! What can't be true of a server, and between servers.

use super::{Prefix, Upstream, credentials};
use crate::{
    error::Warning,
    sections::{extension, policy},
    validate::Findings,
};

/// The longest name and the longest prefix of a server.
const LONGEST_NAME: usize = 32;

/// What an operator should know of servers that are switched on.
pub(in crate::sections) fn warnings(servers: &[Upstream]) -> Vec<Warning> {
    let enabled = servers.iter().filter(|server| server.enabled);
    enabled.filter_map(credentials::warning).collect()
}

impl Upstream {
    fn check(&self, path: &str, findings: &mut Findings) {
        self.check_name(path, findings);
        self.check_transport(path, findings);
        credentials::check(self, path, findings);
        if let Prefix::Text(prefix) = &self.prefix
            && !is_name(prefix)
        {
            findings.report(
                format!("{path}.prefix"),
                format!("`{prefix}` can't be a prefix"),
                "use 1 to 32 of a–z, 0–9 and dash, beginning with a letter; or `none`",
            );
        }
        if let Some(timeout) = self.timeout {
            findings.not_zero(&format!("{path}.timeout"), timeout);
        }
        if self.read_only.iter().any(String::is_empty) {
            findings.report(
                format!("{path}.read_only"),
                "an empty name is no tool's",
                "write names of tools, such as [search, \"get_*\"]",
            );
        }
        if let Some(breaker) = &self.breaker {
            breaker.check(&format!("{path}.breaker"), findings);
        }
        if let Some(cache) = &self.cache {
            cache.check(&format!("{path}.cache"), findings);
        }
        findings.not_zero(&format!("{path}.idle_stop"), self.idle_stop);
        findings.not_zero(&format!("{path}.restart.min"), self.restart.min);
        if self.restart.max < self.restart.min {
            findings.report(
                format!("{path}.restart.max"),
                format!(
                    "{} is shorter than min, {}",
                    self.restart.max, self.restart.min
                ),
                "make max at least min",
            );
        }
        if let Some(list) = &self.extensions {
            extension::check(list, &format!("{path}.extensions"), findings);
        }
        policy::check_classes(
            &self.data_classes,
            &format!("{path}.data_classes"),
            findings,
        );
    }

    fn check_name(&self, path: &str, findings: &mut Findings) {
        if !is_name(&self.name) {
            findings.report(
                format!("{path}.name"),
                format!("`{}` can't be the name of a server", self.name),
                "use 1 to 32 of a–z, 0–9 and dash, beginning with a letter, such as `files`",
            );
        }
    }

    fn check_tls(&self, path: &str, findings: &mut Findings) {
        let Some(tls) = &self.tls else { return };
        if self
            .url
            .as_ref()
            .is_none_or(|url| url.url().scheme() != "https")
        {
            findings.report(
                format!("{path}.tls"),
                "the server is not spoken to over TLS",
                "give it an https url, or remove the section",
            );
        }
        for (key, file) in [
            ("certificate", &tls.certificate),
            ("key", &tls.key),
            ("ca_file", &tls.ca_file),
        ] {
            findings.file(&format!("{path}.tls.{key}"), file.as_deref());
        }
        let missing = match (&tls.certificate, &tls.key) {
            (Some(_), None) => "key",
            (None, Some(_)) => "certificate",
            _ => return,
        };
        findings.report(
            format!("{path}.tls.{missing}"),
            "it is missing, so no certificate can be shown",
            "name the PEM files of both the certificate and its key",
        );
    }

    fn check_transport(&self, path: &str, findings: &mut Findings) {
        match (&self.command, &self.url) {
            (Some(_), Some(_)) => findings.report(
                format!("{path}.url"),
                "a server has either a command or a url, this one has both",
                "remove `url` to start a program, or `command` to use the address",
            ),
            (None, None) => findings.report(
                path,
                "this server has neither a command nor a url",
                "add `command: PROGRAM` (and `args`), or `url: https://…`",
            ),
            (Some(command), None) if command.trim().is_empty() => findings.report(
                format!("{path}.command"),
                "the command is empty",
                "name a program, such as npx",
            ),
            _ => {}
        }
        self.check_tls(path, findings);
        self.check_misplaced(path, findings);
        for name in self.env.keys() {
            if name.is_empty() || name.contains(['=', '\0']) {
                findings.report(
                    format!("{path}.env"),
                    format!(
                        "`{}` can't be the name of an environment variable",
                        name.escape_debug()
                    ),
                    "use letters, digits and underscore",
                );
            }
        }
        self.check_values(path, findings);
    }

    /// Naming a key that belongs to the other kind of server is a mistake, not something to ignore.
    fn check_misplaced(&self, path: &str, findings: &mut Findings) {
        let program = [
            ("args", !self.args.is_empty(), "a program"),
            ("env", !self.env.is_empty(), "a program"),
            ("cwd", self.cwd.is_some(), "a program"),
        ];
        let address = [("headers", !self.headers.is_empty(), "an address")];
        let keys = match (&self.command, &self.url) {
            (None, Some(_)) => program.as_slice(),
            (Some(_), None) => address.as_slice(),
            _ => return,
        };
        for (key, _, kind) in keys.iter().filter(|(_, set, _)| *set) {
            findings.report(
                format!("{path}.{key}"),
                format!("`{key}` is for a server that is {kind}"),
                "remove it",
            );
        }
    }

    /// NUL can't be handed to a program, a line break in a header would begin a second one.
    fn check_values(&self, path: &str, findings: &mut Findings) {
        for (name, value) in &self.env {
            if value.expose().contains('\0') {
                findings.report(
                    format!("{path}.env.{name}"),
                    "the value contains a NUL character",
                    "remove it",
                );
            }
        }
        for (name, value) in &self.headers {
            if !is_header_name(name) {
                findings.report(
                    format!("{path}.headers.{name}"),
                    format!("`{}` can't be the name of a header", name.escape_debug()),
                    "use letters, digits and dash, such as Authorization",
                );
            } else if is_own_header(name) {
                findings.report(
                    format!("{path}.headers.{name}"),
                    format!("`{name}` is set by the gateway itself"),
                    "remove it",
                );
            }
            if value.expose().chars().any(|c| c.is_control() && c != '\t') {
                findings.report(
                    format!("{path}.headers.{name}"),
                    "the value contains a line break or another control character",
                    "remove it; `${file:…}` drops only the last line break of a file",
                );
            }
        }
    }
}

/// Headers that belong to the transport; `Mcp-*` belong to the protocol.
const OWN_HEADERS: [&str; 9] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Whether the gateway sets a header itself.
pub(crate) fn is_own_header(name: &str) -> bool {
    OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own))
        || name
            .get(..4)
            .is_some_and(|head| head.eq_ignore_ascii_case("mcp-"))
}

/// Whether the text can name a server, and with it stand before its names. A prefix becomes part
/// of the scheme of URIs (RFC 3986, section 3.1), so it begins with a letter.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=LONGEST_NAME).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// A token of RFC 9110, section 5.6.2.
pub(crate) fn is_header_name(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

/// Checks each server, and what holds between them.
pub(in crate::sections) fn check(servers: &[Upstream], findings: &mut Findings) {
    for (index, server) in servers.iter().enumerate() {
        let path = format!("servers[{index}]");
        server.check(&path, findings);
        let earlier = &servers[..index];
        if earlier.iter().any(|other| other.name == server.name) {
            findings.report(
                format!("{path}.name"),
                format!("two servers have the name `{}`", server.name),
                "give each server a name of its own",
            );
        } else if let Some(prefix) = server.effective_prefix().filter(|_| server.enabled)
            && let Some(other) = earlier
                .iter()
                .find(|other| other.enabled && other.effective_prefix() == Some(prefix))
        {
            let key = if server.prefix == Prefix::Name {
                "name"
            } else {
                "prefix"
            };
            findings.report(
                format!("{path}.{key}"),
                format!(
                    "the prefix `{prefix}` is already that of the server `{}`",
                    other.name
                ),
                "give each server a prefix of its own, or `none`",
            );
        }
    }
}
