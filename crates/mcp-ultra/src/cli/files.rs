//! Files that are written whole or not at all.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use miette::Diagnostic;

/// A file that can't be read or written.
#[derive(Debug, thiserror::Error, Diagnostic)]
pub(crate) enum FileError {
    /// Reading.
    #[error("{path} could not be read")]
    #[diagnostic(help("check that the file exists and that you may read it"))]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Writing. The file is as it was before.
    #[error("{path} could not be written; it is as it was before")]
    #[diagnostic(help("check that you may write into its folder, and that the disk is not full"))]
    Write {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is one already.
    #[error("{path} exists already")]
    #[diagnostic(help("name another file, or remove that one"))]
    Exists {
        /// The file.
        path: String,
    },
}

/// The text of a file; `None` where there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<String>, FileError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(FileError::Read {
            path: path.display().to_string(),
            source,
        }),
    }
}

/// Writes `text` to `path` by way of a file beside it and a rename: a reader sees the old text or
/// the new one, and a crash leaves one of them. The permissions of the old file stay; missing
/// folders are made; a symbolic link stays a link.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), FileError> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let beside = beside(&target);
    let written = write_beside(&target, &beside, text).and_then(|()| fs::rename(&beside, &target));
    written.map_err(|source| {
        let _ = fs::remove_file(&beside);
        FileError::Write {
            path: path.display().to_string(),
            source,
        }
    })
}

/// Writes a file that must not be there yet.
pub(crate) fn create(path: &Path, text: &str) -> Result<(), FileError> {
    let shown = path.display().to_string();
    let mut file = match fs::File::create_new(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(FileError::Exists { path: shown });
        }
        Err(source) => {
            return Err(FileError::Write {
                path: shown,
                source,
            });
        }
    };
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    written.map_err(|source| {
        let _ = fs::remove_file(path);
        FileError::Write {
            path: shown,
            source,
        }
    })
}

fn write_beside(target: &Path, beside: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = fs::File::create_new(beside)?;
    if let Ok(old) = fs::metadata(target) {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn beside(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    target.with_file_name(format!(".{name}.{}.new", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_links() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real.json");
        let link = folder.path().join("link.json");
        fs::write(&real, "old").unwrap();
        fs::set_permissions(&real, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&real, &link).unwrap();
        write(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(
            fs::metadata(&real).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "nothing is left beside it"
        );
    }

    #[test]
    fn folders_are_made_and_absence_is_told_from_failure() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/c.json");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, "x").unwrap();
        assert_eq!(read(&path).unwrap().as_deref(), Some("x"));
        assert!(read(folder.path()).is_err());
        assert!(write(&path.join("below-a-file"), "x").is_err());
    }
}
