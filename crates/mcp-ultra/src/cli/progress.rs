//! A moving line on the terminal for whatever takes over a second.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::client::Notice;

const PATIENCE: Duration = Duration::from_secs(1);
const TICK: Duration = Duration::from_millis(120);

/// The line. It appears after a second, on a terminal only, and goes when it is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// A line that says `what` is being done.
    pub(crate) fn new(what: impl Into<String>) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
        bar.set_style(ProgressStyle::default_spinner());
        bar.set_message(what.into());
        Self { bar }
    }

    /// Does `work` with the line showing once it takes longer.
    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let done = tokio::time::timeout(PATIENCE, &mut work).await;
        let result = if let Ok(result) = done {
            result
        } else {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.enable_steady_tick(TICK);
            work.await
        };
        self.bar.finish_and_clear();
        result
    }

    /// Says what is being done now.
    pub(crate) fn say(&self, what: impl Into<String>) {
        self.bar.set_message(what.into());
    }

    /// Shows what a server says while it works: progress on the line, the rest above it.
    pub(crate) fn show(&self, notice: &Notice) {
        match notice {
            Notice::Progress {
                done,
                total,
                message,
            } => {
                let message = message.as_deref().unwrap_or_default();
                match total {
                    Some(total) => self.say(format!("{done} / {total} {message}")),
                    None => self.say(format!("{done} {message}")),
                }
            }
            Notice::Log { level, text } => self.above(&format!("[{level}] {text}")),
            Notice::Declined { wanted } => {
                self.above(&format!("declined what the server asked for: {wanted}"));
            }
            Notice::Dropped { tool, reason } => {
                self.above(&format!("left out the tool {tool}: {reason}"));
            }
        }
    }

    fn above(&self, line: &str) {
        // What a server sends must not steer the terminal.
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        self.bar.suspend(|| eprintln!("{line}"));
    }
}
