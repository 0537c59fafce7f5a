//! What `environment: production` does not start without.

use super::{Config, Environment};
use crate::validate::Findings;

/// Something that must be configured where there are real callers.
struct Requirement {
    /// What is missing, in words.
    what: &'static str,
    /// Where it would be configured.
    path: &'static str,
    /// How.
    help: &'static str,
    is_met: fn(&Config) -> bool,
}

/// All of them, in the order in which they are reported.
const REQUIREMENTS: [Requirement; 3] = [
    Requirement {
        what: "authentication",
        path: "auth",
        help: "name your identity provider in auth.issuers and this gateway's URL in auth.resource",
        is_met: |config| config.auth.is_on(),
    },
    Requirement {
        what: "TLS",
        path: "server.tls",
        help: "name certificate and key in server.tls; where a proxy or a service mesh ends TLS in front of it, say so in server.tls_terminated_by",
        is_met: |config| config.server.tls.is_on() || config.server.tls_terminated_by.is_some(),
    },
    Requirement {
        what: "a policy",
        path: "policy",
        help: "name files or folders of Cedar policies in policy.files; docs/policies has examples",
        is_met: |config| config.policy.is_on(),
    },
];

/// Reports what is missing. There is no way around it: a gateway that anyone may use is not in
/// production.
pub(super) fn check(config: &Config, findings: &mut Findings) {
    if config.environment != Environment::Production {
        return;
    }
    for requirement in &REQUIREMENTS {
        if !(requirement.is_met)(config) {
            let what = requirement.what;
            findings.report(
                requirement.path,
                format!("`environment: production` needs {what}, which is missing"),
                requirement.help,
            );
        }
    }
}
