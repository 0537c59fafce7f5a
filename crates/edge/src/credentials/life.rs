use std::sync::{Arc, Weak};

use tokio::sync::watch;

/// Whether what a person has granted was withdrawn. Whatever goes on with a token of it holds one,
/// and ends with it. All clones are one.
#[derive(Debug, Clone)]
pub struct GrantLife(Arc<watch::Sender<bool>>);

/// A [`GrantLife`] that is known for as long as somebody else holds it.
#[derive(Debug)]
pub struct WeakGrantLife(Weak<watch::Sender<bool>>);

impl Default for GrantLife {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl GrantLife {
    /// The grant was withdrawn.
    pub fn end(&self) {
        self.0.send_replace(true);
    }

    /// Completes when the grant is withdrawn.
    pub async fn ended(&self) {
        // The other end is held here.
        drop(self.0.subscribe().wait_for(|ended| *ended).await);
    }

    /// The same, without holding it.
    pub fn downgrade(&self) -> WeakGrantLife {
        WeakGrantLife(Arc::downgrade(&self.0))
    }
}

impl WeakGrantLife {
    /// The life, where somebody holds it.
    pub fn upgrade(&self) -> Option<GrantLife> {
        self.0.upgrade().map(GrantLife)
    }

    /// How many hold it.
    pub fn holders(&self) -> usize {
        self.0.strong_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_hold_it_hear_of_its_end() {
        let life = GrantLife::default();
        let (held, known) = (life.clone(), life.downgrade());
        let waiting = tokio::spawn(async move { held.ended().await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        known.upgrade().unwrap().end();
        waiting.await.unwrap();
        life.ended().await;
        drop(life);
        assert_eq!(known.holders(), 0);
        assert!(known.upgrade().is_none());
    }
}
