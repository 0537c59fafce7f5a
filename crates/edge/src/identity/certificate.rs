use std::str::FromStr;

use mcp_ultra_domain::{Attributes, Principal, PrincipalKind};

use super::Refused;
use crate::tls::{PeerCertificate, San, SanKind};

/// Who a client is whose certificate has a name that fits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateRule {
    /// The name.
    pub san: SanPattern,
    /// What kind of caller it is.
    pub kind: PrincipalKind,
    /// Its tenant.
    pub tenant: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// Its scopes.
    pub scopes: Vec<String>,
}

/// A name with wildcards: `uri:spiffe://example.org/agents/*`, `dns:*.agents.example.com`,
/// `email:*@example.com`. A `*` is one whole segment, a `**` at the end of a URI one or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SanPattern {
    kind: SanKind,
    segments: Vec<String>,
}

/// The text is no [`SanPattern`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is not a name such as uri:spiffe://example.org/agents/*")]
pub struct NoSanPattern;

/// Who the certificate identifies, by the first rule that fits one of its names.
pub(super) fn principal(
    rules: &[CertificateRule],
    certificate: &PeerCertificate,
) -> Result<Principal, Refused> {
    let names: Vec<San> = certificate.names.iter().filter_map(proper).collect();
    let fitting = rules.iter().find_map(|rule| {
        let name = names.iter().find(|name| rule.san.fits(name))?;
        Some((rule, name))
    });
    let (rule, name) = fitting.ok_or(Refused::Certificate)?;
    let mut attributes = Attributes::new(rule.kind, &rule.tenant, &certificate.issuer, &name.value);
    attributes.roles = rule.roles.iter().cloned().collect();
    attributes.scopes = rule.scopes.iter().cloned().collect();
    attributes.expires = Some(certificate.not_after);
    Ok(attributes.into())
}

/// A name as it is compared and kept, if it is what its kind says: so no name of one kind is a name
/// of another.
fn proper(name: &San) -> Option<San> {
    let host = |text: &str| {
        let fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        (!text.is_empty() && text.bytes().all(fine)).then(|| text.to_ascii_lowercase())
    };
    let value = match name.kind {
        SanKind::Uri => name.value.contains("://").then(|| name.value.clone())?,
        SanKind::Dns => host(&name.value)?,
        SanKind::Email => {
            let (local, domain) = name.value.rsplit_once('@')?;
            if local.is_empty() || local.contains(['@', ':', '/']) {
                return None;
            }
            format!("{local}@{}", host(domain)?)
        }
    };
    Some(San {
        kind: name.kind,
        value,
    })
}

fn separator(kind: SanKind) -> char {
    match kind {
        SanKind::Uri => '/',
        SanKind::Dns => '.',
        SanKind::Email => '@',
    }
}

impl SanPattern {
    fn fits(&self, name: &San) -> bool {
        if self.kind != name.kind {
            return false;
        }
        let mut parts = name.value.split(separator(self.kind));
        for segment in &self.segments {
            let Some(part) = parts.next() else {
                return false;
            };
            match &**segment {
                "**" => return !part.is_empty() && parts.all(|part| !part.is_empty()),
                "*" if part.is_empty() => return false,
                "*" => {}
                segment if segment != part => return false,
                _ => {}
            }
        }
        parts.next().is_none()
    }
}

impl FromStr for SanPattern {
    type Err = NoSanPattern;

    fn from_str(text: &str) -> Result<Self, NoSanPattern> {
        let (kind, name) = text.split_once(':').ok_or(NoSanPattern)?;
        let kind = match kind {
            "uri" => SanKind::Uri,
            "dns" => SanKind::Dns,
            "email" => SanKind::Email,
            _ => return Err(NoSanPattern),
        };
        let name = match kind {
            SanKind::Uri => name.to_owned(),
            SanKind::Dns => name.to_ascii_lowercase(),
            SanKind::Email => {
                let (local, domain) = name.rsplit_once('@').ok_or(NoSanPattern)?;
                format!("{local}@{}", domain.to_ascii_lowercase())
            }
        };
        let segments: Vec<String> = name.split(separator(kind)).map(str::to_owned).collect();
        let last = segments.len() - 1;
        let fine = |(at, segment): (usize, &String)| {
            !segment.contains('*')
                || segment == "*"
                || (segment == "**" && kind == SanKind::Uri && at == last)
        };
        if name.is_empty() || !segments.iter().enumerate().all(fine) {
            return Err(NoSanPattern);
        }
        Ok(Self { kind, segments })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn fits(pattern: &str, kind: SanKind, value: &str) -> bool {
        let name = San {
            kind,
            value: value.to_owned(),
        };
        let pattern: SanPattern = pattern.parse().unwrap();
        proper(&name).is_some_and(|name| pattern.fits(&name))
    }

    #[test]
    fn a_star_is_one_whole_segment() {
        let agents = "uri:spiffe://example.org/agents/*";
        assert!(fits(agents, SanKind::Uri, "spiffe://example.org/agents/a"));
        for other in [
            "spiffe://example.org/agents/",
            "spiffe://example.org/agents",
            "spiffe://example.org/agents/a/b",
            "spiffe://example.org.evil/agents/a",
            "spiffe://evil/example.org/agents/a",
            "SPIFFE://example.org/agents/a",
        ] {
            assert!(!fits(agents, SanKind::Uri, other), "{other}");
        }
        let below = "uri:spiffe://example.org/**";
        assert!(fits(below, SanKind::Uri, "spiffe://example.org/a/b/c"));
        assert!(!fits(below, SanKind::Uri, "spiffe://example.org/"));
        assert!(!fits(below, SanKind::Uri, "spiffe://example.org"));
        let hosts = "dns:*.agents.example.com";
        assert!(fits(hosts, SanKind::Dns, "A.agents.EXAMPLE.com"));
        assert!(!fits(hosts, SanKind::Dns, "a.b.agents.example.com"));
        assert!(!fits(hosts, SanKind::Dns, "*.agents.example.com"));
        assert!(!fits(hosts, SanKind::Dns, "agents.example.com"));
        let people = "email:*@example.com";
        assert!(fits(people, SanKind::Email, "ana@Example.com"));
        assert!(!fits(people, SanKind::Email, "ana@evil@example.com"));
        assert!(!fits(people, SanKind::Email, "@example.com"));
    }

    #[test]
    fn a_name_of_one_kind_is_none_of_another() {
        assert!(!fits("dns:a.example.com", SanKind::Uri, "a.example.com"));
        assert!(!fits("uri:x://a", SanKind::Dns, "x://a"));
        assert!(!fits("email:a@b.example", SanKind::Dns, "a@b.example"));
    }

    #[test]
    fn the_first_rule_that_fits_decides() {
        let rule = |san: &str, tenant: &str| CertificateRule {
            san: san.parse().unwrap(),
            kind: PrincipalKind::Workload,
            tenant: tenant.to_owned(),
            roles: vec!["reader".to_owned()],
            scopes: vec!["mcp:use".to_owned()],
        };
        let rules = [
            rule("dns:a.example.com", "one"),
            rule("uri:spiffe://x/**", "two"),
        ];
        let certificate = |values: &[(SanKind, &str)]| {
            let names = values.iter().map(|(kind, value)| San {
                kind: *kind,
                value: (*value).to_owned(),
            });
            PeerCertificate::new(names.collect(), "CN=ca".into(), Duration::from_secs(9), b"")
        };
        let both = certificate(&[
            (SanKind::Uri, "spiffe://x/y"),
            (SanKind::Dns, "a.example.com"),
        ]);
        let known = principal(&rules, &both).unwrap();
        assert_eq!(&**known.tenant(), "one");
        let attributes = known.attributes();
        assert_eq!(attributes.subject, "a.example.com");
        assert_eq!(attributes.issuer, "CN=ca");
        assert_eq!(attributes.expires, Some(Duration::from_secs(9)));
        assert!(attributes.roles.contains("reader") && attributes.scopes.contains("mcp:use"));
        for unknown in [
            certificate(&[]),
            certificate(&[(SanKind::Dns, "b.example.com")]),
        ] {
            assert_eq!(
                principal(&rules, &unknown).unwrap_err(),
                Refused::Certificate
            );
        }
    }
}
