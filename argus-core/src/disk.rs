//! What durable files ask of a folder. A seam, so that a test can put a disk there that forgets what wasn't synced.

use std::fmt::Debug;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::{Path, PathBuf};

/// A folder of files.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Makes the folder if it isn't there.
    fn make(&self) -> io::Result<()>;
    /// Keeps other processes from writing for as long as the answer lives; `None` if one does already.
    fn lock(&self) -> io::Result<Option<Box<dyn Debug + Send + Sync>>>;
    /// The names of its files, sorted.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Opens a file to read it.
    fn read(&self, name: &str) -> io::Result<Box<dyn ReadSeek>>;
    /// Opens a file to write at its end, and makes it if it isn't there.
    fn append(&self, name: &str) -> io::Result<Box<dyn Append>>;
    /// Cuts a file off.
    fn truncate(&self, name: &str, length: u64) -> io::Result<()>;
    /// Takes a file away, if it is there.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Gives a file another name, in the place of one that may be there.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes what was made, renamed or removed durable.
    fn sync(&self) -> io::Result<()>;

    /// Writes a file as a whole: after a crash it is the old one or the new one.
    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let new = format!("{name}.new");
        self.remove(&new)?;
        let mut file = self.append(&new)?;
        file.write(bytes)?;
        file.sync()?;
        self.rename(&new, name)?;
        self.sync()
    }

    /// A file's text, if it is there, up to so many bytes.
    fn text(&self, name: &str, most: u64) -> io::Result<Option<String>> {
        let file = match self.read(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut text = String::new();
        file.take(most).read_to_string(&mut text)?;
        Ok(Some(text))
    }
}

pub(crate) trait ReadSeek: Read + Seek {}
impl<T: Read + Seek> ReadSeek for T {}

/// A file that grows.
pub(crate) trait Append: Debug + Send {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything written durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// A folder of the operating system.
#[derive(Debug, Clone)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Disk for Folder {
    fn make(&self) -> io::Result<()> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&self.0)
    }

    fn lock(&self) -> io::Result<Option<Box<dyn Debug + Send + Sync>>> {
        let file = open(options().create(true).append(true), &self.0.join("lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.0)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn ReadSeek>> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
        Ok(Box::new(open(&options, &self.0.join(name))?))
    }

    fn append(&self, name: &str) -> io::Result<Box<dyn Append>> {
        let file = open(options().create(true).append(true), &self.0.join(name))?;
        Ok(Box::new(file))
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        let file = open(options().write(true), &self.0.join(name))?;
        file.set_len(length)?;
        file.sync_all()
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        match std::fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.0.join(from), self.0.join(to))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

impl Append for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Options to write files that only the host's user may read. A link isn't followed: whoever put it there would choose what is written to.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // A FIFO would wait for whoever reads it.
        options
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    }
    options
}

/// Opens a file, if it is one.
fn open(options: &OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        let problem = "it is no regular file";
        return Err(io::Error::new(ErrorKind::InvalidInput, problem));
    }
    Ok(file)
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use super::{Disk, Folder};

    fn mode(path: &Path) -> u32 {
        let metadata = std::fs::metadata(path).unwrap();
        metadata.permissions().mode() & 0o777
    }

    #[test]
    fn a_folder_and_its_files_are_for_their_owner_alone() -> std::io::Result<()> {
        let place = tempfile::tempdir()?;
        let folder = Folder(place.path().join("new").join("trail"));
        folder.make()?;
        folder.make()?;
        folder.append("records")?.write(b"x")?;
        let lock = folder.lock()?;
        assert!(lock.is_some());
        assert_eq!(mode(&folder.0), 0o700);
        assert_eq!(mode(&place.path().join("new")), 0o700);
        assert_eq!(mode(&folder.0.join("records")), 0o600);
        assert_eq!(mode(&folder.0.join("lock")), 0o600);
        Ok(())
    }

    #[test]
    fn nothing_is_written_through_a_link_or_into_what_is_no_file() -> std::io::Result<()> {
        let place = tempfile::tempdir()?;
        let folder = Folder(place.path().join("trail"));
        folder.make()?;
        let target = place.path().join("precious");
        std::fs::write(&target, "precious")?;
        let missing = place.path().join("missing");
        for (link, to) in [("records", &target), ("lock", &target), ("new", &missing)] {
            symlink(to, folder.0.join(link))?;
        }
        assert!(folder.append("records").is_err());
        assert!(folder.append("new").is_err());
        assert!(folder.truncate("records", 0).is_err());
        assert!(folder.lock().is_err());
        assert_eq!(std::fs::read(&target)?, b"precious");
        assert!(!missing.exists(), "nothing was made at the end of a link");
        // A socket, and a folder: neither is written to, and neither is waited for.
        let _socket = std::os::unix::net::UnixListener::bind(folder.0.join("socket"))?;
        assert!(folder.append("socket").is_err());
        let fifo = folder.0.join("fifo");
        let made = std::process::Command::new("mkfifo").arg(fifo).status()?;
        assert!(made.success());
        std::fs::create_dir(folder.0.join("folder"))?;
        for name in ["fifo", "folder"] {
            assert!(folder.append(name).is_err(), "{name}");
            assert!(folder.read(name).is_err(), "{name}");
        }
        // Replacing takes the link away, and leaves what it leads to.
        folder.replace("records", b"own")?;
        assert_eq!(std::fs::read(folder.0.join("records"))?, b"own");
        assert_eq!(std::fs::read(&target)?, b"precious");
        Ok(())
    }
}
