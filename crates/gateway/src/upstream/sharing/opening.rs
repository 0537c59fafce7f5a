use std::sync::Arc;

use mcp_ultra_edge::credentials::Subject;

use super::{Place, Sharing, Ticket};
use crate::upstream::{
    Ending, Hello, OnBehalf, Sink, Upstream, UpstreamError,
    http::{HttpSession, HttpTransport},
};

/// Who opens a session, and with what.
struct Opening<'o> {
    sharing: &'o Arc<Sharing>,
    place: Place,
    transport: &'o Arc<HttpTransport>,
    hello: Hello,
    sink: Sink,
    subject: Subject,
}

impl Opening<'_> {
    /// Goes on in the session that another replica has opened, if one has.
    async fn join(&self) -> Option<Arc<HttpSession>> {
        let (store, place) = (&self.sharing.store, &self.place);
        let there = store.enter(&place.name, place.terms).await.ok()??;
        let Some(known) = self.sharing.open(place, &there.value) else {
            // It was sealed with keys that are not good any more, or by a later version.
            let _ = store.end(&place.name, &there.value).await;
            return None;
        };
        let ticket = Ticket::new(self.sharing, place, there.value, true);
        let (transport, sink) = (self.transport.clone(), self.sink.clone());
        let subject = self.subject.clone();
        HttpSession::join(transport, known, sink, subject, ticket, there.listens).await
    }

    async fn open(&self) -> Result<Arc<HttpSession>, UpstreamError> {
        let (transport, sink) = (self.transport.clone(), self.sink.clone());
        HttpSession::open(transport, &self.hello, sink, self.subject.clone()).await
    }

    /// Keeps a session that was opened here for the others; theirs instead, where one of them was
    /// faster.
    async fn offer(&self, own: Arc<HttpSession>) -> Arc<HttpSession> {
        let (store, place) = (&self.sharing.store, &self.place);
        let sealed = own
            .known()
            .and_then(|known| self.sharing.seal(place, &known));
        let Some(sealed) = sealed else { return own };
        let there = store.offer(&place.name, &sealed, place.terms).await;
        let is_kept = there.as_ref().is_ok_and(|there| there.value == sealed);
        if there.is_ok()
            && !is_kept
            && let Some(theirs) = self.join().await
        {
            tokio::spawn(async move { own.close(Ending::Over).await });
            return theirs;
        }
        own.share(Ticket::new(self.sharing, place, sealed, is_kept));
        own
    }
}

impl Upstream {
    /// Opens a session over HTTP, or goes on in that of another replica.
    pub(in crate::upstream) async fn open_http(
        &self,
        transport: &Arc<HttpTransport>,
        behalf: &dyn OnBehalf,
    ) -> Result<Arc<HttpSession>, UpstreamError> {
        let (hello, sink) = (behalf.hello(), behalf.sink());
        let subject = self.subject_in_force(behalf);
        let holder = self.holder_in_force(behalf.holder());
        let sharing = self.sharing.as_ref().and_then(|sharing| {
            let place = sharing.place(&self.settings, &holder, &subject, &hello)?;
            Some((sharing, place))
        });
        let Some((sharing, place)) = sharing else {
            return HttpSession::open(transport.clone(), &hello, sink, subject).await;
        };
        let opening = Opening {
            sharing,
            place,
            transport,
            hello,
            sink,
            subject,
        };
        if let Some(session) = opening.join().await {
            return Ok(session);
        }
        let own = opening.open().await?;
        Ok(opening.offer(own).await)
    }
}
