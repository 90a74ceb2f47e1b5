//! Mails as files that any mail program opens (RFC 5322, `.eml`), for those who have no mail
//! server: one file for each mail, whole or not there.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{Error, message::Message};

/// What stands for itself in a file's name.
const UNSAFE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'@');
/// Names may have 255 bytes on most disks; the part that differs comes first.
const LONGEST: usize = 200;

/// A folder of mails.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Understands a URL; makes nothing yet.
    pub fn connect(url: &str) -> anyhow::Result<Self> {
        let path = url.strip_prefix("file:").unwrap_or_default();
        // file:///path and file:/path name the same.
        let path = path.strip_prefix("//").unwrap_or(path);
        let path = percent_decode_str(path).decode_utf8().context("not the path of a folder")?;
        ensure!(Path::new(path.as_ref()).is_absolute(), "an absolute path is expected after file:");
        Ok(Self { path: PathBuf::from(path.as_ref()) })
    }

    /// Returns when the mail is on disk. The same mail once more takes the first one's place.
    pub async fn send(&self, message_id: &str, message: Message, timeout: Duration) -> Result<(), Error> {
        let (folder, name) = (self.path.clone(), file_name(message_id));
        let written = tokio::task::spawn_blocking(move || write(&folder, &name, &message.bytes));
        match tokio::time::timeout(timeout, written).await {
            Ok(Ok(Ok(()))) => Ok(()),
            Ok(Ok(Err(error))) => Err(Error::Transient(format!("the file: {error}"))),
            Ok(Err(_)) => Err(Error::Transient("the file was not written".to_owned())),
            Err(_) => Err(Error::Transient(format!("the disk did not finish within {timeout:?}"))),
        }
    }
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let (partial, whole) = (folder.join(format!("{name}.part")), folder.join(name));
    let mut file = File::create(&partial)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(partial, whole)?;
    File::open(folder)?.sync_all()
}

/// A name of its own for each id, which is a name and nothing else.
fn file_name(message_id: &str) -> String {
    let id = message_id.trim_matches(['<', '>']);
    let mut name = utf8_percent_encode(id, UNSAFE).to_string();
    name.truncate(LONGEST);
    // Neither hidden nor the folder above.
    let dot = if name.starts_with('.') { "_" } else { "" };
    format!("{dot}{name}.eml")
}

#[cfg(test)]
mod tests {
    use super::{Folder, file_name};

    #[test]
    fn names_are_names() {
        assert_eq!(file_name("<65a1.done@example.com>"), "65a1.done@example.com.eml");
        assert_eq!(file_name("<../../etc/passwd>"), "_..%2F..%2Fetc%2Fpasswd.eml");
        assert_eq!(file_name("<a\0b\nö>"), "a%00b%0A%C3%B6.eml");
        assert!(file_name(&"x".repeat(1_000)).len() < 255);
    }

    #[test]
    fn faulty_urls() {
        for url in ["", "file:", "file:mails", "file://host/mails", "file:/%ff"] {
            assert!(Folder::connect(url).is_err(), "{url}");
        }
        assert_eq!(Folder::connect("file:/a%20b").expect("a path").path.to_str(), Some("/a b"));
    }
}
