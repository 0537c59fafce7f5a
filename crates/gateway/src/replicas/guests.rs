//! What other replicas bring.

use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};

use mcp_ultra_domain::ports::{Guests, Line};
use mcp_ultra_protocol::{Body, Id, Message};

use super::{
    Replicas, clients, parked, push, strays,
    wire::{self, Greeting, News, Question},
};
use crate::{Gateway, listen};

/// Takes from now on what others bring.
pub(crate) fn receive(gateway: &Arc<Gateway>) {
    if let Some(replicas) = &gateway.replicas {
        let reception = Reception {
            gateway: Arc::downgrade(gateway),
            replicas: Arc::downgrade(replicas),
            has_warned: AtomicBool::new(false),
        };
        replicas.bus.welcome(Arc::new(reception));
    }
}

struct Reception {
    gateway: Weak<Gateway>,
    replicas: Weak<Replicas>,
    has_warned: AtomicBool,
}

impl Reception {
    fn both(&self) -> Option<(Arc<Gateway>, Arc<Replicas>)> {
        Some((self.gateway.upgrade()?, self.replicas.upgrade()?))
    }

    /// Gateways with other `session.keys`, or clocks that differ, can do nothing for each other. Said
    /// once: it goes on until somebody mends it.
    fn not_sealed(&self) {
        if !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "another gateway has sent something that does not open here: all need the same session.keys, and clocks that agree within a minute"
            );
        }
    }
}

impl Guests for Reception {
    fn visited(&self, greeting: &[u8], line: Line) {
        let Some((gateway, replicas)) = self.both() else {
            return;
        };
        let holder = wire::of_greeting(replicas.own());
        let opened = wire::open(&replicas.sealer, &holder, &*replicas.clock, greeting);
        let Some(greeting) = opened else {
            return self.not_sealed();
        };
        let (speaker, listener) = wire::taken(line, &replicas.sealer);
        match greeting {
            Greeting::Resume(resume) => {
                tokio::spawn(parked::host(gateway, replicas, resume, speaker, listener));
            }
            Greeting::Answer(of) => {
                tokio::spawn(clients::host_answer(gateway, of, speaker, listener));
            }
            Greeting::Push(of) => {
                tokio::spawn(push::host(gateway, of, speaker, listener));
            }
            Greeting::Stray(stray) => {
                tokio::spawn(strays::host(gateway, stray, speaker, listener));
            }
        }
    }

    fn is_asked_for(&self, question: &[u8]) -> bool {
        let Some((gateway, replicas)) = self.both() else {
            return false;
        };
        let opened = wire::open(&replicas.sealer, wire::QUESTION, &*replicas.clock, question);
        match opened {
            Some(Question::HasStream(of)) => {
                clients::session(&gateway, &of).is_some_and(|live| live.has_stream())
            }
            Some(Question::HasCall(stray)) => strays::is_here(&gateway, &stray),
            None => {
                self.not_sealed();
                false
            }
        }
    }

    fn told(&self, news: &[u8]) {
        let Some((gateway, replicas)) = self.both() else {
            return;
        };
        match wire::open(&replicas.sealer, wire::NEWS, &*replicas.clock, news) {
            Some(news) => take(&gateway, news),
            None => self.not_sealed(),
        }
    }
}

fn take(gateway: &Arc<Gateway>, news: News) {
    match news {
        News::Cancelled { of, id } => {
            let live = clients::session(gateway, &of);
            if let (Some(live), Some(id)) = (live, Id::from_raw(id.into())) {
                live.cancel_call(&id);
            }
        }
        News::Roots { of, text } => {
            let live = clients::session(gateway, &of);
            if let (Some(live), Ok(Body::Single(Message::Notification(told)))) =
                (live, Body::parse(text))
            {
                gateway.tell_upstreams(&live, &told);
            }
        }
        News::Unsubscribed { of, uri } => {
            if let Some(live) = clients::session(gateway, &of) {
                listen::unsubscribe_too(gateway, &live, &uri);
            }
        }
        News::Served { of, uri } => {
            if let Some(live) = clients::session(gateway, &of) {
                listen::served_elsewhere(gateway, &live, &uri);
            }
        }
        News::ListChanged { server, method } => {
            if let Some(kind) = listen::changed_list(&method) {
                gateway.keepers.list_changed(&server, kind);
            }
        }
        News::Updated {
            server,
            session,
            text,
        } => strays::hear(gateway, &server, &session, text),
    }
}
