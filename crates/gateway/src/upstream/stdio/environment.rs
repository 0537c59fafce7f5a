//! Which of the gateway's environment variables a stdio upstream gets to see.

use std::ffi::{OsStr, OsString};

/// The variables an upstream inherits; besides these, all whose name starts with `LC_`.
///
/// The gateway's environment may hold secrets of every kind, and an upstream is foreign code, so
/// this is a list of what passes, not of what is held back. The first six are what the official
/// SDKs pass (`getDefaultEnvironment` of the TypeScript SDK); the rest set language, time zone and
/// the place of temporary files, and name files with certificates, without which nothing that is
/// fetched behind an inspecting proxy arrives. Proxy variables and `npm_config_*` are not among
/// them because they often hold a password: the configuration names what an upstream needs.
pub const DEFAULT_VARIABLES: &[&str] = &[
    "HOME",
    "LOGNAME",
    "PATH",
    "SHELL",
    "TERM",
    "USER",
    "LANG",
    "LANGUAGE",
    "TMPDIR",
    "TZ",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];

/// What of `all` (usually [`std::env::vars_os`]) an upstream inherits: [`DEFAULT_VARIABLES`] and
/// `LC_*`, without exported shell functions (values that start with `()`), as the SDKs do.
pub fn default_environment(
    all: impl IntoIterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, OsString)> {
    all.into_iter()
        .filter(|(name, value)| passes(name) && !is_shell_function(value))
        .collect()
}

fn passes(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| DEFAULT_VARIABLES.contains(&name) || name.starts_with("LC_"))
}

fn is_shell_function(value: &OsStr) -> bool {
    value.as_encoded_bytes().starts_with(b"()")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_listed_passes() {
        let all = [
            ("PATH", "/usr/bin"),
            ("LC_ALL", "pt_BR.UTF-8"),
            ("DATABASE_URL", "secret"),
            ("HTTPS_PROXY", "secret"),
            ("npm_config__auth", "secret"),
            ("PATH_EXTRA", "no"),
            ("SHELL", "() { :; }"),
        ];
        let passed = default_environment(all.map(|(n, v)| (n.into(), v.into())));
        let names: Vec<_> = passed
            .iter()
            .map(|(name, _)| name.to_str().unwrap())
            .collect();
        assert_eq!(names, ["PATH", "LC_ALL"]);
    }
}
