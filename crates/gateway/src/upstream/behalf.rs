use mcp_ultra_edge::credentials::Subject;

use super::{Hello, Holder, Sink};

/// On whose behalf an upstream is spoken to: whose session is used or opened, and with what.
///
/// Asked for only where it is needed at all: a stateless call has no session, and most upstreams
/// need no tokens.
pub trait OnBehalf: Sync {
    /// Whose session it is.
    fn holder(&self) -> Holder;
    /// Whose tokens requests are made with, where the upstream needs any.
    fn subject(&self) -> Subject;
    /// The same for what goes on after the request that it is asked for: a session, a stream.
    fn lasting_subject(&self) -> Subject {
        self.subject()
    }
    /// What a new session is opened with.
    fn hello(&self) -> Hello;
    /// Where notifications of a new session go that belong to no call.
    fn sink(&self) -> Sink;

    /// All of it, to be kept.
    fn known(&self) -> Behalf {
        Behalf {
            holder: self.holder(),
            subject: self.lasting_subject(),
            hello: self.hello(),
            sink: self.sink(),
        }
    }
}

/// All of it known beforehand.
#[derive(Clone)]
pub struct Behalf {
    /// Whose session it is.
    pub holder: Holder,
    /// Whose tokens requests are made with.
    pub subject: Subject,
    /// What a new session is opened with.
    pub hello: Hello,
    /// Where notifications of a new session go that belong to no call.
    pub sink: Sink,
}

impl OnBehalf for Behalf {
    fn holder(&self) -> Holder {
        self.holder.clone()
    }

    fn subject(&self) -> Subject {
        self.subject.clone()
    }

    fn hello(&self) -> Hello {
        self.hello.clone()
    }

    fn sink(&self) -> Sink {
        self.sink.clone()
    }
}
