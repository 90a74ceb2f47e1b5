//! The data folder: what lies where in it, and who may use it.

use std::{
    fs::{self, DirBuilder, File},
    io::{ErrorKind, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use common::{Env, Id};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands for itself in the path of a URL.
const IN_PATHS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

/// The data folder.
#[derive(Clone, Debug)]
pub struct Home {
    path: PathBuf,
}

/// Held by the one process that serves the folder. The kernel frees it however that ends.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "what counts is that the file stays open")] File);

impl Home {
    /// The folder that was asked for, or the platform's own place, made if it is missing.
    pub fn find(asked: Option<PathBuf>) -> anyhow::Result<Self> {
        let path = match asked {
            Some(path) => std::path::absolute(path)?,
            None => usual().context("there is no home folder: name a folder with --data")?,
        };
        // Films and accounts are nobody else's business.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        made.with_context(|| format!("cannot make the data folder {}", path.display()))?;
        Ok(Self { path })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Takes the folder for this process.
    pub fn lock(&self) -> anyhow::Result<Lock> {
        let path = self.path.join("in-use");
        let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => Ok(Lock(file)),
            Err(fs::TryLockError::WouldBlock) => {
                bail!("another mp3converter is serving {}; stop it, or choose another --data", self.path.display())
            }
            Err(fs::TryLockError::Error(error)) => Err(error).context(format!("cannot lock {}", path.display())),
        }
    }

    /// Fills in what the environment leaves open: everything is kept in this folder.
    pub fn fill(&self, env: &mut Env) -> anyhow::Result<()> {
        let place = |name: &str| -> anyhow::Result<String> {
            let path = self.path.join(name);
            let path = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
            Ok(utf8_percent_encode(path, IN_PATHS).to_string())
        };
        if env.optional("MYSQL_HOST").is_none() {
            env.default_to("DATABASE_URL", format!("sqlite:{}", place("users.db")?));
        }
        if env.optional("MONGODB_URI").is_none() && env.optional("MONGODB_URI_FILE").is_none() {
            env.default_to("LEDGER_URL", format!("sqlite:{}", place("jobs.db")?));
            env.default_to("BLOBS_URL", format!("file:{}", place("")?.trim_end_matches('/')));
        }
        env.default_to("AMQP_URL", format!("sqlite:{}", place("queue.db")?));
        if env.optional("GMAIL_ADDRESS").is_none() {
            env.default_to("SMTP_URL", format!("file:{}", place("mails")?));
        }
        env.default_to("JWT_SECRET", self.secret()?);
        Ok(())
    }

    /// The secret that signs tokens: made once, so that a restart logs nobody out.
    fn secret(&self) -> anyhow::Result<String> {
        let path = self.path.join("jwt-secret");
        match fs::read_to_string(&path) {
            Ok(secret) => return Ok(secret.trim_end().to_owned()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error).context(format!("cannot read {}", path.display())),
        }
        let secret = format!("{}{}{}", Id::fresh(), Id::fresh(), Id::fresh());
        let made = || -> std::io::Result<()> {
            // Renamed when it is whole: half a secret would be one, too.
            let partial = path.with_extension("part");
            let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
            writeln!(file, "{secret}")?;
            file.sync_all()?;
            fs::rename(partial, &path)
        };
        made().with_context(|| format!("cannot write {}", path.display()))?;
        Ok(secret)
    }
}

/// Where programs of this platform keep their data.
fn usual() -> Option<PathBuf> {
    let folder = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let data = match folder("XDG_DATA_HOME") {
        Some(data) => data,
        None if cfg!(target_os = "macos") => folder("HOME")?.join("Library/Application Support"),
        None => folder("HOME")?.join(".local/share"),
    };
    Some(data.join("mp3converter"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{Env, Home};

    fn home() -> (Home, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        (Home::find(Some(folder.path().join("a b"))).expect("made"), folder)
    }

    #[test]
    fn what_the_environment_names_is_left_alone() {
        let (home, _folder) = home();
        let mut env: Env = [("AMQP_URL", "amqp://a"), ("MONGODB_URI", "mongodb://m")].into_iter().collect();
        home.fill(&mut env).expect("filled");
        assert_eq!(env.optional("AMQP_URL").as_deref(), Some("amqp://a"));
        assert_eq!(env.optional("BLOBS_URL"), None);
        let database = env.optional("DATABASE_URL").expect("a default");
        assert!(database.starts_with("sqlite:/") && database.ends_with("/a%20b/users.db"), "{database}");
    }

    #[test]
    fn the_secret_is_kept_and_nobody_else_can_read_it() {
        let (home, _folder) = home();
        let secret = home.secret().expect("made");
        assert!(secret.len() >= 32);
        assert_eq!(home.secret().expect("read"), secret);
        let mode = |name: &str| home.path().join(name).metadata().expect("there").permissions().mode() & 0o777;
        assert_eq!((mode("jwt-secret"), mode("")), (0o600, 0o700));
    }

    #[test]
    fn a_folder_is_served_once_at_a_time() {
        let (home, _folder) = home();
        let lock = home.lock().expect("free");
        assert!(home.lock().expect_err("in use").to_string().contains("another mp3converter"));
        drop(lock);
        home.lock().expect("free again");
    }
}
