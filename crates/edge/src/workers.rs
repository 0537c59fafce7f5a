//! The threads that serve connections, each with a runtime of its own that takes no work from the
//! others.
//!
//! A connection stays with its worker, and so do its calls and the pooled connections to upstreams
//! that they use ([`crate::outbound`]): on the way of a call nothing wakes another thread.
//!
//! What belongs to no connection (reading catalogs, signals, accepting) runs outside, where the
//! workers are started from.

use std::{
    cell::Cell,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// How long work that blocks a thread (resolving a name) may hold up the end of a worker.
const STOP: Duration = Duration::from_secs(1);

thread_local! {
    /// The number of the worker that this thread is.
    static CURRENT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// The number of the worker that runs this code, from 0 on; `None` outside of them.
pub fn current() -> Option<usize> {
    CURRENT.get()
}

/// Running workers; they stop when this is dropped, and drop what still runs in them.
#[derive(Debug)]
pub struct Workers {
    workers: Vec<Worker>,
}

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// Connections that it serves.
    load: Arc<AtomicUsize>,
    /// Dropped to stop it.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// A connection's place with a worker, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Workers {
    /// Starts `count` workers, at least one.
    ///
    /// # Errors
    ///
    /// The system gives no thread or no poller.
    pub fn start(count: usize) -> io::Result<Self> {
        let workers = (0..count.max(1)).map(Worker::start);
        Ok(Self {
            workers: workers.collect::<io::Result<_>>()?,
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.workers.len()
    }

    /// The worker with the fewest connections, and the place of one more with it.
    pub(crate) fn least_loaded(&self) -> Option<(&Handle, Place)> {
        let load = |worker: &&Worker| worker.load.load(Ordering::Relaxed);
        let worker = self.workers.iter().min_by_key(load)?;
        worker.load.fetch_add(1, Ordering::Relaxed);
        Some((&worker.runtime, Place(Arc::clone(&worker.load))))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.stop = None;
        }
        for worker in &mut self.workers {
            if let Some(thread) = worker.thread.take() {
                // A worker that panicked has said so; there is nothing more to end.
                drop(thread.join());
            }
        }
    }
}

impl Worker {
    fn start(number: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name(format!("worker-{number}"))
            .spawn(move || {
                CURRENT.set(Some(number));
                // Ends when the sender is dropped.
                let _ = runtime.block_on(stopped);
                runtime.shutdown_timeout(STOP);
            })?;
        Ok(Self {
            runtime: handle,
            load: Arc::default(),
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_stays_with_its_worker() {
        let workers = Workers::start(2).unwrap();
        assert_eq!(current(), None);
        let mut seen = Vec::new();
        let mut places = Vec::new();
        for _ in 0..4 {
            let (runtime, place) = workers.least_loaded().unwrap();
            let (tell, told) = std::sync::mpsc::channel();
            runtime.spawn(async move {
                let before = current();
                tokio::task::yield_now().await;
                tell.send((before, current())).unwrap();
            });
            let (before, after) = told.recv().unwrap();
            assert_eq!(before, after);
            seen.push(before.unwrap());
            places.push(place);
        }
        seen.sort_unstable();
        assert_eq!(seen, [0, 0, 1, 1], "connections are spread");
    }

    #[test]
    fn a_place_is_given_back() {
        let workers = Workers::start(2).unwrap();
        let first = workers.least_loaded().unwrap().1;
        let _second = workers.least_loaded().unwrap().1;
        drop(first);
        drop(workers.least_loaded().unwrap());
        let loads = workers
            .workers
            .iter()
            .map(|w| w.load.load(Ordering::Relaxed));
        assert_eq!(loads.collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn what_runs_ends_with_the_workers() {
        struct Ended(std::sync::mpsc::Sender<()>);
        impl Drop for Ended {
            fn drop(&mut self) {
                self.0.send(()).unwrap();
            }
        }
        let workers = Workers::start(1).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        let ended = Ended(tell);
        workers.least_loaded().unwrap().0.spawn(async move {
            let _ended = ended;
            std::future::pending::<()>().await;
        });
        drop(workers);
        told.recv_timeout(Duration::from_secs(5)).unwrap();
    }
}
