//! Of several who ask for the same at a time, one asks the server and the others wait for its answer.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::watch;

use super::{Entry, Key};

/// How a flight has come out.
#[derive(Debug, Clone)]
pub(crate) enum Landed {
    /// With an answer that is kept.
    Kept(Arc<Entry>),
    /// With one that is not: whoever waits asks for themselves.
    NotKept,
    /// It did not: who has asked is gone.
    Lost,
}

/// What is in flight.
#[derive(Debug, Default)]
pub(crate) struct Flights(Arc<Mutex<HashMap<Key, Listening>>>);

type Listening = watch::Receiver<Option<Landed>>;

/// One's part in a flight.
pub(crate) enum Joined {
    /// Asks the server.
    First(Flight),
    /// Waits for who does.
    Waits(Waiting),
}

/// The flight of who asks. Others wait until it has landed or is dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    all: Arc<Mutex<HashMap<Key, Listening>>>,
    key: Key,
    tell: watch::Sender<Option<Landed>>,
}

/// Waits for a flight.
pub(crate) struct Waiting(Listening);

impl Flights {
    pub(crate) fn join(&self, key: Key) -> Joined {
        let mut all = self.0.lock();
        if let Some(listening) = all.get(&key) {
            return Joined::Waits(Waiting(listening.clone()));
        }
        let (tell, listening) = watch::channel(None);
        all.insert(key, listening);
        Joined::First(Flight {
            all: self.0.clone(),
            key,
            tell,
        })
    }
}

impl Flight {
    pub(crate) fn land(self, landed: Landed) {
        self.tell.send_replace(Some(landed));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // First, so that who is told that it was lost does not find it again.
        self.all.lock().remove(&self.key);
        self.tell.send_if_modified(|landed| {
            let is_lost = landed.is_none();
            landed.get_or_insert(Landed::Lost);
            is_lost
        });
    }
}

impl Waiting {
    pub(crate) async fn landed(mut self) -> Landed {
        let landed = self.0.wait_for(Option::is_some).await;
        landed
            .ok()
            .and_then(|landed| landed.clone())
            .unwrap_or(Landed::Lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_asks_and_the_others_wait() {
        let flights = Flights::default();
        let (key, other) = (Key::of_number(1), Key::of_number(2));
        let Joined::First(flight) = flights.join(key) else {
            panic!("nobody asks yet")
        };
        let Joined::Waits(waiting) = flights.join(key) else {
            panic!("somebody asks")
        };
        assert!(matches!(flights.join(other), Joined::First(_)));
        flight.land(Landed::NotKept);
        assert!(matches!(waiting.landed().await, Landed::NotKept));
        let Joined::First(flight) = flights.join(key) else {
            panic!("nobody asks any more")
        };
        let Joined::Waits(waiting) = flights.join(key) else {
            panic!("somebody asks")
        };
        drop(flight);
        assert!(matches!(waiting.landed().await, Landed::Lost));
        assert!(flights.0.lock().is_empty());
    }
}
