//! Where the command line's MP3s go: whole or not at all.

use std::{
    fs::Permissions,
    io::{self, IsTerminal, Read, Seek, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, bail, ensure};
use tempfile::{Builder, NamedTempFile};
use transcode::FileSink;

/// Stands for standard input or output.
pub const STANDARD: &str = "-";

/// Where drafts were begun, for [`exit`] to look.
static DRAFTS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Where one MP3 goes.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    Standard,
    File(PathBuf),
}

/// An MP3 being made, under a name that nobody looks for.
pub struct Draft<'a> {
    target: &'a Target,
    file: NamedTempFile,
}

impl Target {
    /// Where the MP3 of each input goes (or what else has this extension), given what the user named as
    /// the output.
    pub fn of_each(inputs: &[PathBuf], output: &Path, extension: &str) -> anyhow::Result<Vec<Self>> {
        if output.as_os_str() == STANDARD {
            ensure!(inputs.len() == 1, "several MP3s cannot go to standard output; name a folder");
            ensure!(!io::stdout().is_terminal(), "an MP3 is no text for a terminal; name a file, or pipe it on");
            return Ok(vec![Self::Standard]);
        }
        if inputs.len() == 1 && !output.is_dir() {
            return Ok(vec![Self::File(output.to_owned())]);
        }
        ensure!(!output.exists() || output.is_dir(), "{}: several MP3s need a folder", output.display());
        let mut targets = Vec::new();
        for input in inputs {
            let stem = match input.file_stem() {
                Some(stem) if input.as_os_str() != STANDARD => stem,
                _ => bail!("an MP3 made of {} needs a name; name a file as the output", input.display()),
            };
            let mut name = stem.to_owned();
            name.push(extension);
            let target = Self::File(output.join(name));
            ensure!(!targets.contains(&target), "two of the inputs would become {target}");
            targets.push(target);
        }
        Ok(targets)
    }

    /// Begins a draft. Without `force`, a file that exists already is left alone.
    pub fn draft(&self, force: bool) -> anyhow::Result<Draft<'_>> {
        // Locked, so that there is none that is not listed.
        let mut drafts = DRAFTS.lock().unwrap_or_else(PoisonError::into_inner);
        let file = match self {
            // Its head is written last, which a pipe does not allow.
            Self::Standard => NamedTempFile::new().context("cannot make a temporary file")?,
            Self::File(path) => {
                ensure!(force || !path.exists(), "{} exists; --force overwrites it", path.display());
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
                // As readable as any other new file, less what the user's mask forbids.
                let mut builder = Builder::new();
                let builder = builder.prefix(".mp3converter-").permissions(Permissions::from_mode(0o666));
                builder.tempfile_in(folder).with_context(|| format!("cannot write in {}", folder.display()))?
            }
        };
        drafts.push(file.path().to_owned());
        Ok(Draft { target: self, file })
    }
}

impl Draft<'_> {
    pub fn sink(&self) -> anyhow::Result<FileSink> {
        Ok(FileSink::new(self.file.reopen()?))
    }

    /// Gives the finished MP3 its name, or sends it on.
    pub fn finish(mut self, force: bool) -> anyhow::Result<()> {
        match self.target {
            Target::Standard => {
                self.file.rewind()?;
                let mut out = io::stdout().lock();
                io::copy(&mut self.file, &mut out).and_then(|_| out.flush()).context("standard output")?;
            }
            Target::File(path) => {
                let done = if force { self.file.persist(path) } else { self.file.persist_noclobber(path) };
                done.with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Standard => f.write_str("standard output"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// Ends the program at once. That drops no draft, so they are removed here.
pub fn exit(code: u8) -> ! {
    // Locked to the end, so that no further one is begun.
    let drafts = DRAFTS.lock().unwrap_or_else(PoisonError::into_inner);
    for draft in drafts.iter() {
        // Fails for those that are finished or given up already.
        let _ = std::fs::remove_file(draft);
    }
    std::process::exit(code.into())
}

/// An input that can be read at any place: the file itself, or all that a pipe had to say.
pub fn open(input: &Path) -> anyhow::Result<std::fs::File> {
    if input.as_os_str() != STANDARD {
        let file = std::fs::File::open(input)?;
        ensure!(!file.metadata()?.is_dir(), "this is a folder");
        return Ok(file);
    }
    let mut spool = tempfile::tempfile().context("cannot make a temporary file")?;
    io::copy(&mut io::stdin().lock().by_ref(), &mut spool).context("standard input")?;
    spool.rewind()?;
    Ok(spool)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_each(inputs: &[&str], output: &Path) -> Result<Vec<String>, String> {
        let inputs: Vec<_> = inputs.iter().map(PathBuf::from).collect();
        let targets = Target::of_each(&inputs, output, ".mp3").map_err(|e| e.to_string())?;
        Ok(targets.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn one_file_or_a_folder_of_them() {
        let home = tempfile::tempdir().expect("a folder");
        let at = |name: &str| home.path().join(name);
        let shown = |name: &str| at(name).display().to_string();
        assert_eq!(of_each(&["a.mp4"], &at("x.mp3")), Ok(vec![shown("x.mp3")]));
        assert_eq!(of_each(&["films/a.b.mp4"], home.path()), Ok(vec![shown("a.b.mp3")]));
        assert_eq!(of_each(&["a.mp4", "b.mkv"], &at("new")), Ok(vec![shown("new/a.mp3"), shown("new/b.mp3")]));
        assert!(of_each(&["a.mp4", "a.mkv"], &at("new")).expect_err("twins").contains("two of the inputs"));
        assert!(of_each(&["-"], home.path()).expect_err("no name").contains("needs a name"));
        std::fs::write(at("file"), "x").expect("written");
        assert!(of_each(&["a.mp4", "b.mp4"], &at("file")).expect_err("no folder").contains("need a folder"));
    }

    #[test]
    fn what_is_there_is_kept_unless_forced() {
        let home = tempfile::tempdir().expect("a folder");
        let path = home.path().join("a.mp3");
        let target = Target::File(path.clone());
        drop(target.draft(false).expect("a draft"));
        assert_eq!(std::fs::read_dir(home.path()).expect("a folder").count(), 0, "a draft given up leaves nothing");
        let late = target.draft(false).expect("a draft");
        std::fs::write(&path, "precious").expect("written");
        assert!(target.draft(false).is_err() && late.finish(false).is_err());
        assert_eq!(std::fs::read(&path).expect("read"), b"precious");
        target.draft(true).expect("a draft").finish(true).expect("overwritten");
        assert_eq!(std::fs::read(&path).expect("read"), b"");
    }
}
