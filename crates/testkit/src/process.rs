//! Child processes that never outlive the program that started them.

use std::fs::File;
use std::future::ready;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use anyhow::{Context, bail};

use crate::eventually::poll;

/// A running program whose output goes to a file. Killed when dropped, and by the
/// kernel when this process ends in whatever way (on Linux).
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// Where it prints, unless that is where we print.
    log: Option<PathBuf>,
}

impl Process {
    /// Starts `command`; what it prints is appended to the file `log`.
    ///
    /// # Errors
    /// When the program cannot be started, for instance because it is not installed.
    pub fn spawn(name: &str, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        command.stdout(out.try_clone()?).stderr(out);
        let mut process = Self::spawn_inheriting(name, command)?;
        process.log = Some(log.to_owned());
        Ok(process)
    }

    /// Starts `command`; it prints where this program prints.
    ///
    /// # Errors
    /// When the program cannot be started, for instance because it is not installed.
    pub fn spawn_inheriting(name: &str, mut command: Command) -> anyhow::Result<Self> {
        // Ctrl-C in a terminal goes to a whole group: servers end last, not first.
        command.stdin(Stdio::null()).process_group(0);
        let program = command.get_program().to_string_lossy().into_owned();
        let child =
            fork(command).with_context(|| format!("cannot start {name} ({program}); run `scripts/setup.sh test`"))?;
        Ok(Self { name: name.to_owned(), child, log: None })
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if it has ended.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Fails, with the end of what it printed, when the process has ended.
    pub(crate) fn check_alive(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.exited()? {
            bail!("{} ended by itself ({status}):\n{}", self.name, self.log_tail());
        }
        Ok(())
    }

    /// The last lines it printed.
    pub fn log_tail(&self) -> String {
        let text = self.log.as_ref().and_then(|log| std::fs::read(log).ok()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }

    /// Sends `signal` (for instance `libc::SIGTERM`); nothing happens when it has ended.
    pub fn signal(&mut self, signal: i32) {
        if matches!(self.exited(), Ok(None)) {
            send_signal(&self.child, signal);
        }
    }

    /// Asks it to end (SIGTERM) and waits; after `grace` it is killed, which is an error.
    ///
    /// # Errors
    /// When it had to be killed.
    pub async fn stop(&mut self, grace: Duration) -> anyhow::Result<ExitStatus> {
        self.signal(libc::SIGTERM);
        let ended = poll(grace, || ready(self.child.try_wait().ok().flatten())).await;
        match ended {
            Ok(status) => Ok(status),
            Err(_) => {
                self.kill();
                bail!("{} did not stop within {grace:?}:\n{}", self.name, self.log_tail())
            }
        }
    }

    /// Ends it at once (SIGKILL) and reaps it.
    pub fn kill(&mut self) {
        // Both fail only when it has already been reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends `signal` to a child that has not been reaped yet.
fn send_signal(child: &Child, signal: i32) {
    let Ok(pid) = libc::pid_t::try_from(child.id()) else { return };
    // SAFETY: kill takes no pointers. The child is not reaped before `wait`, which needs
    // the `Child` that we borrow, so the id cannot have passed to another process.
    unsafe { libc::kill(pid, signal) };
}

/// The number of the account that this process acts as; 0 is root.
pub fn effective_user() -> u32 {
    // SAFETY: geteuid takes nothing, touches no memory and cannot fail.
    unsafe { libc::geteuid() }
}

type Request = (Command, mpsc::Sender<io::Result<Child>>);

/// Starts `command` so that the kernel kills it when this process ends.
///
/// Linux sends that signal when the *thread* that forked ends, not the process. So one
/// thread that lives as long as the process does all the forking.
fn fork(mut command: Command) -> io::Result<Child> {
    static FORKER: LazyLock<mpsc::Sender<Request>> = LazyLock::new(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in requests {
                // The asker waits for the answer, so this cannot fail.
                let _ = answer.send(command.spawn());
            }
        });
        sender
    });

    end_with_parent(&mut command, libc::SIGKILL);
    let (answer, child) = mpsc::channel();
    FORKER.send((command, answer)).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}

/// Has the kernel send `signal` to what `command` starts when the thread that starts it
/// ends: fit for a main thread. Only on Linux; elsewhere there is no such thing.
pub fn end_with_parent(command: &mut Command, signal: i32) {
    #[cfg(target_os = "linux")]
    {
        let me = std::process::id();
        // SAFETY: between fork and exec only async-signal-safe calls are allowed; prctl and
        // getppid are bare system calls that allocate nothing and take no locks.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, signal) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // The parent may have died before the line above: then no signal will come.
                if std::os::unix::process::parent_id() != me {
                    return Err(io::Error::from(io::ErrorKind::BrokenPipe));
                }
                Ok(())
            });
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (command, signal);
}
