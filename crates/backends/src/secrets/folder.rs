use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::PathBuf,
    time::UNIX_EPOCH,
};

use async_trait::async_trait;
use mcp_ultra_config::SecretName;
use secrecy::SecretString;
use zeroize::Zeroizing;

use super::{Found, LARGEST, Source, SourceError};

/// One file a secret. Kubernetes swaps the link `..data` when it has written all files of a
/// Secret, so each read goes through the links anew.
pub(super) struct Folder(pub(super) PathBuf);

#[async_trait]
impl Source for Folder {
    fn name(&self) -> &'static str {
        "folder"
    }

    async fn read(&self, name: &SecretName) -> Result<Option<Found>, SourceError> {
        let mut path = self.0.join(name.path());
        path.extend(name.key());
        // Small local files: reading them takes less than a thread would.
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(SourceError::File(error.kind().to_string())),
        };
        read(file).map(Some)
    }
}

fn read(file: File) -> Result<Found, SourceError> {
    let failed = |error: std::io::Error| SourceError::File(error.kind().to_string());
    let facts = file.metadata().map_err(failed)?;
    // A folder opens on Linux, and a FIFO would block for ever on reading.
    if !facts.is_file() {
        return Err(SourceError::File("it is not a regular file".into()));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(LARGEST + 1));
    file.take(LARGEST as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| SourceError::Value)?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() || bytes.len() > LARGEST {
        return Err(SourceError::Value);
    }
    let changed = facts.modified().ok();
    Ok(Found {
        value: SecretString::from(text),
        version: None,
        changed: changed.and_then(|time| time.duration_since(UNIX_EPOCH).ok()),
    })
}
