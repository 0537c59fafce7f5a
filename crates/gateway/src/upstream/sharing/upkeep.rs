use std::{sync::Arc, time::Duration};

use mcp_ultra_domain::ports::SessionsUnknown;
use tokio::time::Instant;

use super::{Ticket, ticket::Renewed};
use crate::upstream::{Ending, Session, Upstream, http::HttpSession};

/// How many of these messages are on their way at once.
const AT_ONCE: usize = 16;
/// How long calls in a session are waited for that makes way for that of the others: as long as a person
/// may take to answer.
const PATIENCE: Duration = Duration::from_hours(1);
/// How often it is looked for them.
const LOOK: Duration = Duration::from_secs(1);

impl Upstream {
    /// Forgets a session that can't be used any more, for the other replicas too where the server has
    /// forgotten it.
    pub(in crate::upstream) async fn lost(&self, session: &Session) {
        self.pool.forget(session);
        if let Session::Http(session) = session
            && session.is_forgotten()
            && let Some(ticket) = session.ticket()
        {
            ticket.forget().await;
        }
    }

    /// The open session that replicas know under `name`.
    pub(crate) fn shared_session(&self, name: &str) -> Option<Session> {
        let mut open = self.pool.over_http().into_iter().map(Session::Http);
        open.find(|session| session.ticket().is_some_and(|own| own.name() == name))
    }

    /// Says again of the sessions that replicas share which of them are in use here, where that is due.
    pub(crate) async fn keep_shared(&self) {
        if self.sharing.is_none() {
            return;
        }
        let mut due = self.pool.over_http();
        due.retain(|session| session.ticket().is_some_and(Ticket::is_due));
        for some in due.chunks(AT_ONCE) {
            let renewing = some.iter().map(|session| self.keep(session));
            let kept = futures_util::future::join_all(renewing).await;
            // They can't be told now: the next time.
            if kept.contains(&false) {
                return;
            }
        }
    }

    /// `false` where the others can't be asked.
    async fn keep(&self, session: &Arc<HttpSession>) -> bool {
        let Some(ticket) = session.ticket() else {
            return true;
        };
        match ticket.renew().await {
            // It was ended meanwhile, and is not in use here again.
            Ok(Renewed::Kept { .. }) if session.is_closed() => {
                session.close(Ending::Unneeded).await;
                true
            }
            Ok(Renewed::Kept { listens }) => {
                if listens {
                    drop(session.listen());
                }
                true
            }
            Ok(Renewed::Another) => {
                self.make_way(session.clone());
                true
            }
            Err(SessionsUnknown) => false,
        }
    }

    /// Lets the calls in a session finish, of which the others have another one: the next goes there.
    fn make_way(&self, session: Arc<HttpSession>) {
        let session = Session::Http(session);
        self.pool.forget(&session);
        // Who else may be in it is not known any more.
        if session.is_shared() {
            return;
        }
        tokio::spawn(async move {
            let begun = Instant::now();
            while session.is_busy() && begun.elapsed() < PATIENCE {
                tokio::time::sleep(LOOK).await;
            }
            session.close(Ending::Over).await;
        });
    }
}
