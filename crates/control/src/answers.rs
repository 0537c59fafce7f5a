//! Answers that are kept are forgotten, before their time is over.

/// Which answers of a tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forget {
    /// The tenant that they were answered to.
    pub tenant: String,
    /// The server that they are of, by its name in the configuration; all where it is `None`.
    pub server: Option<String>,
    /// Whose alone they are; everybody's where it is `None`.
    pub whose: Option<Whose>,
}

/// A caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    /// Who vouches for them.
    pub issuer: String,
    /// Who they are for the issuer.
    pub subject: String,
}

impl Forget {
    /// All that is kept for one caller alone.
    pub fn all_of(tenant: &str, issuer: &str, subject: &str) -> Self {
        Self {
            tenant: tenant.to_owned(),
            server: None,
            whose: Some(Whose {
                issuer: issuer.to_owned(),
                subject: subject.to_owned(),
            }),
        }
    }
}

/// Where answers are kept.
pub trait KeptAnswers: Send + Sync {
    /// Forgets them, here at once, and where other gateways have them as soon as they are told. How many
    /// were in memory here; `None` where there is no such server.
    fn forget(&self, what: &Forget) -> Option<usize>;

    /// How many that would be.
    fn count(&self, what: &Forget) -> Option<usize>;
}
