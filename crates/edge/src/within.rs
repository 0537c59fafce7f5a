use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
    time::Duration,
};

use tokio::{
    task::unconstrained,
    time::{Sleep, sleep},
};

/// What comes of `future`, unless that takes longer than `limit`, where there is one; `None` then.
///
/// As [`tokio::time::timeout`], but the time is not looked at where the future is ready at once, as on the
/// way of a call nearly everything is; and it takes what is pinned elsewhere, so that a large future is not
/// moved into this one.
pub async fn within<F>(limit: Option<Duration>, mut future: F) -> Option<F::Output>
where
    F: Future + Unpin,
{
    let mut alarm: Pin<&mut Option<Sleep>> = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(done) = Pin::new(&mut future).poll(cx) {
            return Poll::Ready(Some(done));
        }
        let Some(limit) = limit else {
            return Poll::Pending;
        };
        if alarm.is_none() {
            alarm.set(Some(sleep(limit)));
        }
        match alarm.as_mut().as_pin_mut() {
            // Outside of tokio's budget, which the future may have used up.
            Some(alarm) => pin!(unconstrained(alarm)).poll(cx).map(|()| None),
            None => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_what_is_late_is_given_up() {
        let second = Duration::from_secs(1);
        let after = |time| Box::pin(sleep(time));
        assert!(within(Some(second), after(Duration::ZERO)).await.is_some());
        assert!(within(Some(second), after(second / 2)).await.is_some());
        assert!(within(Some(second), after(second * 2)).await.is_none());
        assert!(within(None, after(second * 2)).await.is_some());
    }
}
