//! Work that grows with the lists of an upstream and holds up no calls.

/// Work on so many bytes is done where it comes up: within a millisecond or two, while every thread
/// for longer work keeps memory to itself.
const LARGEST_AT_ONCE: usize = 64 * 1024;

/// What comes of `work` on so many `bytes`; `None` where the runtime is about to end.
pub(crate) async fn done<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    if bytes <= LARGEST_AT_ONCE {
        return Some(work());
    }
    tokio::task::spawn_blocking(work).await.ok()
}
