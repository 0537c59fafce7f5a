//! The files of a connection by TLS, looked at at start: what is wrong with one of them would be said of
//! the connection later, and not by its name.

use std::{fs::File, io, path::PathBuf};

/// A file that can't be read.
pub(crate) struct Unreadable {
    /// Its key in the section.
    pub(crate) key: &'static str,
    pub(crate) path: PathBuf,
    /// What the system said.
    pub(crate) source: io::Error,
}

/// Opens those that are named: the authority, the certificate and its key.
pub(crate) fn check(
    ca_file: Option<&String>,
    certificate: Option<&String>,
    key: Option<&String>,
) -> Result<(), Unreadable> {
    let files = [
        ("ca_file", ca_file),
        ("certificate", certificate),
        ("key", key),
    ];
    for (key, file) in files {
        let Some(path) = file.map(PathBuf::from) else {
            continue;
        };
        if let Err(source) = File::open(&path) {
            return Err(Unreadable { key, path, source });
        }
    }
    Ok(())
}
