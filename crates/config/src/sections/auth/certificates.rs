use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::validate::Findings;

/// Who a client is by the certificate that it shows (`server.tls.client_auth`). The first rule that
/// fits one of its names decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateRule {
    /// The subject alternative name: `uri:spiffe://example.org/agents/*`, `dns:*.agents.example.com`
    /// or `email:*@example.com`. A `*` stands for one whole segment between slashes, dots or before
    /// the `@`; `/**` at the end of a URI for any number of them.
    pub san: String,
    /// The tenant. Without it: `default`.
    #[serde(default)]
    pub tenant: Option<String>,
    /// The roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// The scopes.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// What kind of caller it is.
    #[serde(default)]
    pub kind: CallerKind,
}

/// What kind of caller someone is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CallerKind {
    /// A person.
    User,
    /// A program that acts on its own account or for a person.
    Agent,
    /// A service.
    #[default]
    Workload,
}

pub(super) fn check(rules: &[CertificateRule], findings: &mut Findings) {
    for (index, rule) in rules.iter().enumerate() {
        if !is_pattern(&rule.san) {
            findings.report(
                format!("auth.certificates[{index}].san"),
                format!("`{}` is not the name of a certificate", rule.san),
                "write uri:, dns: or email: and the name, such as uri:spiffe://example.org/agents/*; a `*` stands for a whole segment",
            );
        }
        let tenant = rule.tenant.as_deref().unwrap_or("default");
        if tenant.is_empty() || tenant.len() > 256 || tenant.contains(char::is_control) {
            findings.report(
                format!("auth.certificates[{index}].tenant"),
                "it is not a name",
                "write a short name, such as acme",
            );
        }
        let path = format!("auth.certificates[{index}].scopes");
        super::check_scopes(&path, rule.scopes.iter(), findings);
    }
}

fn is_pattern(text: &str) -> bool {
    let Some((kind, name)) = text.split_once(':') else {
        return false;
    };
    let plain = !name.is_empty() && name.len() <= 256 && !name.contains(char::is_control);
    let separator = match kind {
        "uri" if name.contains("://") => '/',
        "dns" if !name.contains(['/', '@', ':']) => '.',
        "email" if name.matches('@').count() == 1 => '@',
        _ => return false,
    };
    let segments: Vec<&str> = name.split(separator).collect();
    let last = segments.len() - 1;
    plain
        && segments.iter().enumerate().all(|(at, segment)| {
            !segment.contains('*')
                || (*segment == "*" && (kind != "email" || at == 0))
                || (*segment == "**" && kind == "uri" && at == last)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_anything_else() {
        for good in [
            "uri:spiffe://example.org/agents/*",
            "uri:spiffe://example.org/**",
            "dns:*.agents.example.com",
            "email:*@example.com",
            "email:ana@example.com",
        ] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in [
            "",
            "spiffe://example.org/a",
            "uri:",
            "uri:example",
            "uri:spiffe://example.org/a*",
            "uri:spiffe://example.org/**/a",
            "dns:a*.example.com",
            "dns:**",
            "email:example.com",
            "email:a@*",
            "cn:ana",
        ] {
            assert!(!is_pattern(bad), "{bad}");
        }
    }
}
