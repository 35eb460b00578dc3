//! What durable files ask of a folder. A seam, so that a test can put a disk there that forgets what wasn't synced.

use std::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::path::PathBuf;

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
        std::fs::create_dir_all(&self.0)
    }

    fn lock(&self) -> io::Result<Option<Box<dyn Debug + Send + Sync>>> {
        let file = options()
            .create(true)
            .append(true)
            .open(self.0.join("lock"))?;
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
        Ok(Box::new(File::open(self.0.join(name))?))
    }

    fn append(&self, name: &str) -> io::Result<Box<dyn Append>> {
        let file = options()
            .create(true)
            .append(true)
            .open(self.0.join(name))?;
        Ok(Box::new(file))
    }

    fn truncate(&self, name: &str, length: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.0.join(name))?;
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

/// Options for files that only the host's user may read.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
