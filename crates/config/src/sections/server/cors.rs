use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::is_origin;
use crate::validate::Findings;

/// Which pages in browsers may call (Cross-Origin Resource Sharing). They send tokens in
/// `Authorization`; cookies and client certificates of browsers are never asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CorsSection {
    /// The origins of these pages, exactly as browsers send them: `https://app.example.com`, with a
    /// port where it is not the usual one. They pass `allowed_origins` too.
    pub origins: Vec<String>,
}

impl CorsSection {
    pub(super) fn check(&self, findings: &mut Findings) {
        for (index, origin) in self.origins.iter().enumerate() {
            let exact = is_origin(origin) && !origin.contains('*') && origin.is_ascii();
            if !exact || origin.bytes().any(|byte| byte.is_ascii_uppercase()) {
                findings.report(
                    format!("server.cors.origins[{index}]"),
                    format!("`{origin}` is not the origin of a page"),
                    "write scheme and name in lower case as browsers send them, such as https://app.example.com; there are no wildcards",
                );
            }
        }
    }
}
