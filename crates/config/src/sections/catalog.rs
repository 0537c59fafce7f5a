//! The merged list of tools, resources and prompts.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::nonzero;
use crate::{period::Period, validate::Findings};

/// The largest page of a list.
const LARGEST_PAGE: u32 = 100_000;

/// How the lists of all servers are merged and kept fresh.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CatalogSection {
    /// The most entries of one page of a list.
    #[schemars(range(min = 1, max = 100_000))]
    pub page_size: NonZeroU32,
    /// How often a server's lists are read again when it does not report changes itself.
    pub refresh: Period,
    /// How long a server may take for a page of its lists.
    pub list_timeout: Period,
}

impl Default for CatalogSection {
    fn default() -> Self {
        Self {
            page_size: nonzero(1_000),
            refresh: Period::from_secs(300),
            list_timeout: Period::from_secs(30),
        }
    }
}

impl CatalogSection {
    pub(super) fn check(&self, findings: &mut Findings) {
        if self.page_size.get() > LARGEST_PAGE {
            findings.report(
                "catalog.page_size",
                format!("{} entries a page are too many", self.page_size),
                format!("use at most {LARGEST_PAGE}"),
            );
        }
        findings.not_zero("catalog.list_timeout", self.list_timeout);
        if self.refresh < Period::from_secs(1) {
            findings.report(
                "catalog.refresh",
                format!(
                    "{} is shorter than 1s and would keep every server busy",
                    self.refresh
                ),
                "use at least 1s",
            );
        }
    }
}
