//! Standard output: one message a line, and nothing else ever.

use mcp_ultra_protocol::{ByteString, json};
use tokio::{io::AsyncWriteExt, sync::mpsc, task::JoinHandle};

/// How many messages wait for a slow reader before the streams behind them wait too.
const WAITING: usize = 64;

/// Where messages to the client go.
#[derive(Debug, Clone)]
pub(super) struct Output(mpsc::Sender<ByteString>);

/// Starts writing. The task ends when the last [`Output`] is gone, or the client reads no more.
pub(super) fn start() -> (Output, JoinHandle<()>) {
    let (sender, mut receiver) = mpsc::channel::<ByteString>(WAITING);
    let task = tokio::spawn(async move {
        let mut out = tokio::io::stdout();
        while let Some(line) = receiver.recv().await {
            let mut bytes = Vec::with_capacity(line.len() + 1);
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
            if out.write_all(&bytes).await.is_err() || out.flush().await.is_err() {
                return;
            }
        }
    });
    (Output(sender), task)
}

impl Output {
    /// Writes a message. A client that has gone is noticed by [`Output::closed`].
    pub(super) async fn write(&self, message: &ByteString) {
        let _ = self.0.send(json::to_line(message)).await;
    }

    /// Returns once the client reads no more.
    pub(super) async fn closed(&self) {
        self.0.closed().await;
    }
}
