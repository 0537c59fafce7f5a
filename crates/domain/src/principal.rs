use std::{
    any::Any,
    collections::BTreeSet,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;

use crate::AuthorizationDetail;

/// The tenant of a gateway without tenants, and of principals that none was found for.
pub const DEFAULT_TENANT: &str = "default";

/// Who calls: a user, an agent or a workload.
///
/// Sessions, upstream sessions, sealed tokens and parked requests are bound to the
/// [`Principal::id`]: none of one principal is ever used for another. Clones share one allocation.
#[derive(Debug, Clone)]
pub struct Principal {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    attributes: Attributes,
    note: RwLock<Option<Note>>,
}

/// See [`Principal::note`].
type Note = Weak<dyn Any + Send + Sync>;

/// What kind of caller a principal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    /// Nobody was asked who they are.
    Anonymous,
    /// A person, known by a token that was issued for them.
    User,
    /// A program that acts on its own account or for a person: an agent with credentials of its
    /// own, or the holder of an API key.
    Agent,
    /// A service, known by its client certificate or a token of its own.
    Workload,
}

/// All that is known of a principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// What kind of caller it is.
    pub kind: PrincipalKind,
    /// Who it is, unique among the principals of one tenant and issuer: a token's `sub`, the id of
    /// an API key, a name of a certificate.
    pub subject: String,
    /// Who vouches for it: a token's `iss`, the name of a certificate's authority, or the store of
    /// API keys.
    pub issuer: String,
    /// Whose it is. Nothing of one tenant is visible to another.
    pub tenant: Arc<str>,
    /// What it is, as policies see it.
    pub roles: BTreeSet<String>,
    /// What it was allowed by who vouches for it (OAuth 2.1, `scope`).
    pub scopes: BTreeSet<String>,
    /// What it was allowed in detail (RFC 9396, `authorization_details`).
    pub authorization_details: BTreeSet<AuthorizationDetail>,
    /// How it logged in, as far as who vouches for it says so.
    pub login: Login,
    /// When its credential ends, since the Unix epoch; streams end with it.
    pub expires: Option<Duration>,
    /// Whether its credential was ended before its time; streams end with that too.
    pub withdrawal: Withdrawal,
    id: Arc<str>,
}

/// How a principal logged in: how strongly, by what, and when. It is of one credential: the next one
/// of the same principal may tell of another login. API keys and certificates tell of none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// The class that the login satisfied: a token's `acr` (`OpenID` Connect Core, 2; RFC 9470). Its
    /// values are agreed upon with the issuer.
    pub acr: Option<String>,
    /// What it was proven by: a token's `amr`, with values such as `mfa` and `hwk` (RFC 8176).
    pub amr: BTreeSet<String>,
    /// When it was, since the Unix epoch: a token's `auth_time`.
    pub auth_time: Option<Duration>,
}

/// Whether a credential was ended before its time. All clones are one: who ends the credential
/// keeps one, and whatever goes on for its principal looks at another.
#[derive(Debug, Clone, Default)]
pub struct Withdrawal(Arc<AtomicBool>);

impl Withdrawal {
    /// Ends the credential.
    pub fn withdraw(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it has been ended.
    pub fn is_withdrawn(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Says nothing of who a principal is: all are equal.
impl PartialEq for Withdrawal {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Withdrawal {}

impl PrincipalKind {
    /// Its name in policies, logs and the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::User => "user",
            Self::Agent => "agent",
            Self::Workload => "workload",
        }
    }

    /// By its name.
    pub fn parse(name: &str) -> Option<Self> {
        let all = [Self::Anonymous, Self::User, Self::Agent, Self::Workload];
        all.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl Attributes {
    /// A principal without roles and scopes whose credential does not end.
    pub fn new(kind: PrincipalKind, tenant: &str, issuer: &str, subject: &str) -> Self {
        Self {
            kind,
            subject: subject.to_owned(),
            issuer: issuer.to_owned(),
            tenant: tenant.into(),
            roles: BTreeSet::new(),
            scopes: BTreeSet::new(),
            authorization_details: BTreeSet::new(),
            login: Login::default(),
            expires: None,
            withdrawal: Withdrawal::default(),
            id: identifier(kind, tenant, issuer, subject).into(),
        }
    }
}

/// One text of four parts that no other four parts give: lengths stand in front of what a caller
/// or an issuer has chosen.
fn identifier(kind: PrincipalKind, tenant: &str, issuer: &str, subject: &str) -> String {
    if kind == PrincipalKind::Anonymous {
        return kind.as_str().to_owned();
    }
    let kind = kind.as_str();
    format!(
        "{kind}:{}:{tenant}:{}:{issuer}:{subject}",
        tenant.len(),
        issuer.len()
    )
}

impl Principal {
    /// The principal of a gateway without authentication: everyone is the same one.
    pub fn anonymous() -> Self {
        Attributes::new(PrincipalKind::Anonymous, DEFAULT_TENANT, "", "").into()
    }

    /// A stable identifier, unique over all tenants.
    pub fn id(&self) -> &str {
        &self.shared.attributes.id
    }

    /// The same identifier, for keeping.
    pub fn shared_id(&self) -> Arc<str> {
        self.shared.attributes.id.clone()
    }

    /// The identifiers that a caller may have of whom everything is known but what kind it is.
    pub fn ids_of(tenant: &str, issuer: &str, subject: &str) -> [String; 3] {
        use PrincipalKind::{Agent, User, Workload};
        [User, Agent, Workload].map(|kind| identifier(kind, tenant, issuer, subject))
    }

    /// All that is known of it.
    pub fn attributes(&self) -> &Attributes {
        &self.shared.attributes
    }

    /// What was last found out of this principal and is still kept by somebody: whoever asks again
    /// has it without a search. Each kind of note takes the place of the one before.
    pub fn note<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let note = self.shared.note.read().as_ref()?.upgrade()?;
        note.downcast().ok()
    }

    /// Keeps a note of this principal for as long as somebody else keeps what it is about.
    pub fn keep<T: Any + Send + Sync>(&self, note: &Arc<T>) {
        let note: Arc<dyn Any + Send + Sync> = note.clone();
        *self.shared.note.write() = Some(Arc::downgrade(&note));
    }

    /// Whose it is.
    pub fn tenant(&self) -> &Arc<str> {
        &self.shared.attributes.tenant
    }

    /// Whether nobody was asked who they are.
    pub fn is_anonymous(&self) -> bool {
        self.shared.attributes.kind == PrincipalKind::Anonymous
    }
}

impl PartialEq for Principal {
    fn eq(&self, other: &Self) -> bool {
        self.attributes() == other.attributes()
    }
}

impl Eq for Principal {}

impl From<Attributes> for Principal {
    fn from(attributes: Attributes) -> Self {
        Self {
            shared: Arc::new(Shared {
                attributes,
                note: RwLock::new(None),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(tenant: &str, issuer: &str, subject: &str) -> String {
        let attributes = Attributes::new(PrincipalKind::User, tenant, issuer, subject);
        Principal::from(attributes).id().to_owned()
    }

    #[test]
    fn a_caller_of_any_kind_has_one_of_the_identifiers() {
        let ids = Principal::ids_of("acme", "idp", "ana");
        for kind in ["user", "agent", "workload"] {
            let kind = PrincipalKind::parse(kind).unwrap();
            let principal = Principal::from(Attributes::new(kind, "acme", "idp", "ana"));
            assert!(ids.iter().any(|id| id == principal.id()), "{kind:?}");
        }
        assert!(!ids.contains(&id("acme", "idp", "bea")));
    }

    #[test]
    fn no_two_principals_have_one_identifier() {
        let all = [
            id("a", "b", "c"),
            id("a", "b:1:c", ""),
            id("a:1:b", "c", ""),
            id("a", "", "b:1:c"),
            id("", "a", "b"),
            Principal::anonymous().id().to_owned(),
            Principal::from(Attributes::new(PrincipalKind::Agent, "a", "b", "c"))
                .id()
                .to_owned(),
        ];
        let distinct: BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_note_is_there_for_as_long_as_what_it_is_about() {
        let principal = Principal::anonymous();
        let about = Arc::new(7_u8);
        principal.keep(&about);
        assert_eq!(principal.clone().note::<u8>(), Some(about.clone()));
        assert_eq!(principal.note::<u16>(), None);
        drop(about);
        assert_eq!(principal.note::<u8>(), None);
    }

    #[test]
    fn a_principal_keeps_its_identifier_whatever_it_may_do() {
        let mut attributes = Attributes::new(PrincipalKind::User, "acme", "idp", "ana");
        let before = Principal::from(attributes.clone());
        attributes.roles.insert("admin".into());
        attributes.login.acr = Some("strong".into());
        attributes.login.amr.insert("mfa".into());
        attributes.login.auth_time = Some(Duration::from_secs(1));
        attributes.expires = Some(Duration::from_secs(1));
        assert_eq!(Principal::from(attributes).id(), before.id());
    }
}
