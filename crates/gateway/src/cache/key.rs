//! What two requests have to have in common, so that the answer to one may be given to the other.

use aws_lc_rs::digest::{SHA256, digest};
use mcp_ultra_config::CredentialsKind;
use mcp_ultra_protocol::Era;

use crate::{call::Routed, snapshot::Snapshot};

/// What an answer is kept under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    digest: [u8; 32],
    /// Of one upstream as it is configured: an answer of another one under its name is not its.
    epoch: u64,
}

/// The keys of one request.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    /// Of its caller alone.
    pub own: Key,
    /// Of everyone of the tenant who may make it; `None` where no answer is everyone's.
    pub common: Option<Key>,
}

impl Key {
    pub(super) fn digest(&self) -> &[u8] {
        &self.digest
    }

    /// Any byte of the digest spreads keys evenly.
    pub(super) fn spread(&self) -> usize {
        usize::from(self.digest[0])
    }

    #[cfg(test)]
    pub(super) fn of_number(number: u64) -> Self {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_le_bytes());
        Self { digest, epoch: 0 }
    }
}

impl Keys {
    /// The keys of a call; `None` where its parameters can't be read.
    ///
    /// In common: the tenant, the policies and switches, the upstream, what is asked of it by method,
    /// name, parameters but `_meta`, and headers; and what the upstream is told of the client, its
    /// revision and capabilities, which answers may go by. Alone: the principal; the token, where the
    /// upstream's is had in exchange for it; and the session, where the upstream has one with it.
    pub(crate) fn of(snapshot: &Snapshot, routed: &Routed) -> Option<Self> {
        let (call, upstream) = (&routed.call, &routed.upstream);
        let caller = &call.caller;
        let mut common = Parts::new("common");
        common.add(caller.principal.tenant());
        for revision in snapshot.rules.revision() {
            common.add(revision.map_or("", |revision| revision));
        }
        common.add(upstream.name());
        common.add(call.method.as_str());
        common.add(&routed.original);
        common.add(caller.version.as_str());
        common.add(&caller.capabilities);
        let params = call.request.read_params().ok()?;
        let mut members: Vec<_> = params.members().iter().collect();
        members.retain(|member| member.key != "_meta");
        members.sort_by(|one, other| one.key.cmp(&other.key));
        common.count(members.len());
        for member in members {
            common.add(&member.key);
            common.add(member.value);
        }
        common.count(call.headers.params.len());
        for (name, value) in &call.headers.params {
            common.add(name.as_str());
            common.bytes(value.as_bytes());
        }
        let common = common.finish();
        let mut own = Parts::new("own");
        own.bytes(&common);
        own.add(caller.principal.id());
        own.bytes(caller.token.as_ref().map_or(&[], |token| token.digest()));
        own.add(session(routed).unwrap_or_default());
        let epoch = upstream.epoch();
        let key = |digest| Key { digest, epoch };
        let are_alike = upstream
            .settings()
            .credentials_kind()
            .is_none_or(|kind| kind == CredentialsKind::ClientCredentials);
        Some(Self {
            own: key(own.finish()),
            common: are_alike.then(|| key(common)),
        })
    }
}

/// The session of a legacy client that its calls have one of their own with the upstream for: what
/// was said in it may be what an answer goes by. Modern callers have one for each principal and set of
/// capabilities.
fn session(routed: &Routed) -> Option<&str> {
    let session = routed.call.caller.session.as_ref()?;
    let upstream = &routed.upstream;
    let is_stateless = upstream.settings().shared
        || (!upstream.is_stdio() && upstream.known_era_for(Era::Legacy) == Some(Era::Modern));
    (!is_stateless).then_some(&*session.id)
}

/// A digest of parts that no other parts give: each has its length in front of it. They are put together
/// first: there are many small ones, and each would cost more to be told to the digest than to be copied.
pub(crate) struct Parts(Vec<u8>);

/// Most keys are of fewer bytes.
const ROOM: usize = 512;

impl Parts {
    /// All at once.
    pub(crate) fn digest(what: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut all = Self::new(what);
        for part in parts {
            all.bytes(part);
        }
        all.finish()
    }

    fn new(what: &str) -> Self {
        let mut parts = Self(Vec::with_capacity(ROOM));
        parts.add(what);
        parts
    }

    fn add(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    fn count(&mut self, count: usize) {
        self.0
            .extend_from_slice(&u64::try_from(count).unwrap_or(u64::MAX).to_le_bytes());
    }

    fn finish(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, &self.0).as_ref());
        bytes
    }
}
