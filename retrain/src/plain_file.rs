//! What a program leaves in its job's folder, read with care: only plain files of that folder, and no more than was agreed.
//!
//! A named pipe would never end, a device never be at its end, a link lead anywhere; and a file of holes is as large as it
//! says. None of them is opened as what it pretends to be.

use nix::fcntl::OFlag;
use std::fs::{File, FileType, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Why what a program left is not read.
#[derive(Debug, thiserror::Error)]
pub enum PlainFileError {
    /// It is not there, or the system refuses.
    #[error("it cannot be read: {source}")]
    Io {
        /// What the system said.
        #[from]
        source: io::Error,
    },
    /// It is something else.
    #[error("it is {found}, where a plain file was expected")]
    NotPlain {
        /// What it is.
        found: &'static str,
    },
    /// It lies elsewhere.
    #[error("it lies outside of the job's folder")]
    Elsewhere,
    /// It is too large.
    #[error("it has {bytes} bytes, more than the {most} that are allowed; `result_limit` of the command raises that")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// What is allowed.
        most: u64,
    },
}

/// Opens a plain file below the folder that has at most so many bytes.
///
/// # Errors
/// There is none, it is something else, it lies elsewhere, or it is larger.
pub fn open(folder: &Path, path: &Path, most: u64) -> Result<File, PlainFileError> {
    // Before it is opened: that alone can wake a device.
    refuse_other(path.symlink_metadata()?.file_type())?;
    let home = path.parent().unwrap_or(folder).canonicalize()?;
    if !home.starts_with(folder.canonicalize()?) {
        return Err(PlainFileError::Elsewhere);
    }
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    let metadata = file.metadata()?;
    refuse_other(metadata.file_type())?;
    match metadata.len() {
        bytes if bytes > most => Err(PlainFileError::TooLarge { bytes, most }),
        _ => Ok(file),
    }
}

/// The bytes of such a file.
///
/// # Errors
/// As [`open`].
pub fn read(folder: &Path, path: &Path, most: u64) -> Result<Vec<u8>, PlainFileError> {
    let file = open(folder, path, most)?;
    let mut bytes = Vec::new();
    // One that grows while it is read is not what was found.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 {
        read if read > most => Err(PlainFileError::TooLarge { bytes: read, most }),
        _ => Ok(bytes),
    }
}

fn refuse_other(found: FileType) -> Result<(), PlainFileError> {
    let found = match found {
        plain if plain.is_file() => return Ok(()),
        link if link.is_symlink() => "a symbolic link",
        directory if directory.is_dir() => "a directory",
        pipe if pipe.is_fifo() => "a named pipe",
        socket if socket.is_socket() => "a socket",
        _ => "a device",
    };
    Err(PlainFileError::NotPlain { found })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::Mode;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_a_plain_file_of_the_folder_within_its_size_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let told = |name: &str| read(folder.path(), &path(name), 100).unwrap_err().to_string();
        std::fs::write(path("plain"), [7; 100]).unwrap();
        assert_eq!(read(folder.path(), &path("plain"), 100).unwrap(), [7; 100]);
        nix::unistd::mkfifo(&path("pipe"), Mode::S_IRWXU).unwrap();
        symlink("/dev/zero", path("device")).unwrap();
        symlink("plain", path("link")).unwrap();
        std::fs::create_dir(path("directory")).unwrap();
        let _listens = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        File::create(path("holes")).unwrap().set_len(4 << 30).unwrap();
        for (name, expected) in [
            ("pipe", "it is a named pipe, where a plain file was expected"),
            ("device", "it is a symbolic link, where a plain file was expected"),
            ("link", "it is a symbolic link, where a plain file was expected"),
            ("directory", "it is a directory, where a plain file was expected"),
            ("socket", "it is a socket, where a plain file was expected"),
            ("holes", "it has 4294967296 bytes, more than the 100 that are allowed"),
            ("none", "it cannot be read: No such file"),
        ] {
            assert!(told(name).starts_with(expected), "{name}: {}", told(name));
        }
    }

    #[test]
    fn a_path_that_leads_out_of_the_folder_is_refused() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(other.path().join("file"), "secret").unwrap();
        symlink(other.path(), folder.path().join("inner")).unwrap();
        let beside = folder.path().join("..").join(other.path().file_name().unwrap()).join("file");
        for path in [other.path().join("file"), folder.path().join("inner/file"), beside, "/dev/zero".into()] {
            let error = read(folder.path(), &path, 100).unwrap_err();
            let is_refused =
                matches!(error, PlainFileError::Elsewhere | PlainFileError::NotPlain { found: "a device" });
            assert!(is_refused, "{}: {error}", path.display());
        }
    }
}
