//! Bounds in bytes for what waits in queues whose length alone would be no bound: a message may be
//! as large as `limits.result`.

use std::sync::{Arc, OnceLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many bytes may wait in one queue. A single message that is larger waits alone.
pub(crate) const BYTES: usize = 1024 * 1024;

/// The room of one queue. It takes memory of its own from the first message on only.
#[derive(Debug, Default)]
pub(crate) struct Room(OnceLock<Arc<Semaphore>>);

/// What a message takes of the room while it waits; given back when dropped. `None` of what no room
/// is counted for.
pub(crate) type Place = Option<OwnedSemaphorePermit>;

impl Room {
    /// Room for `bytes`, as soon as there is.
    pub(crate) async fn enter(&self, bytes: usize) -> Place {
        // An error would say that the semaphore was closed, which it never is.
        self.semaphore().acquire_many_owned(cost(bytes)).await.ok()
    }

    /// Room for `bytes`, where there is.
    pub(crate) fn try_enter(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        self.semaphore().try_acquire_many_owned(cost(bytes)).ok()
    }

    /// The same room, for another place that counts against it.
    pub(crate) fn shared(&self) -> Self {
        Self(OnceLock::from(self.semaphore()))
    }

    fn semaphore(&self) -> Arc<Semaphore> {
        self.0
            .get_or_init(|| Arc::new(Semaphore::new(BYTES)))
            .clone()
    }
}

fn cost(bytes: usize) -> u32 {
    u32::try_from(bytes.min(BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_that_is_larger_than_all_the_room_waits_alone() {
        let room = Room::default();
        let small = room.try_enter(1).unwrap();
        assert!(room.try_enter(BYTES * 3).is_none());
        drop(small);
        let large = room.enter(BYTES * 3).await;
        assert!(large.is_some() && room.try_enter(1).is_none());
    }
}
