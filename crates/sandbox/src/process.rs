//! Processes for conversions. One that has started already waits to be copied: starting a program
//! anew takes 50 ms and more of a processor where FFmpeg is made of a hundred libraries.

use std::{
    io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use rustix::{
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg,
    },
    process::{Pid, Signal, WaitOptions, kill_process, waitpid},
};

use crate::NAME;

/// No program takes longer to start, and none to be copied.
pub const START: Duration = Duration::from_secs(30);

/// A child of this process, which ends with this.
#[derive(Debug)]
pub struct Process {
    pid: Pid,
    ended: Option<ExitStatus>,
}

impl Process {
    fn of(pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).filter(|pid| !pid.is_init());
        let pid = pid.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "no such process"))?;
        Ok(Self { pid, ended: None })
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.wait(WaitOptions::NOHANG)
    }

    /// Ends it, if it has not ended by itself, and says how that was.
    pub fn end(&mut self) -> io::Result<ExitStatus> {
        if self.ended.is_none() {
            // Fails only for one that has ended; until it was waited for, the number is nobody else's.
            let _ = kill_process(self.pid, Signal::KILL);
        }
        Ok(self.wait(WaitOptions::empty())?.ok_or(ErrorKind::NotFound)?)
    }

    fn wait(&mut self, how: WaitOptions) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            let ended = waitpid(Some(self.pid), how)?;
            self.ended = ended.map(|(_, status)| ExitStatus::from_raw(status.as_raw()));
        }
        Ok(self.ended)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// The process that is copied for each conversion. It never sees a byte of a video.
#[derive(Debug)]
pub struct ForkServer {
    control: UnixStream,
    _process: Process,
}

impl ForkServer {
    /// `program`'s `main` begins with [`run_if_child`](crate::run_if_child).
    pub fn start(program: &Path, memory: u64) -> io::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        control.set_read_timeout(Some(START))?;
        let started = Command::new(program)
            .arg0(NAME)
            .arg(memory.to_string())
            .env_clear()
            .current_dir("/")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // A Ctrl-C is for the parent, which then lets conversions come to their end.
            .process_group(0)
            .spawn()?;
        let process = Process::of(started.id() as i32)?;
        Ok(Self { control, _process: process })
    }

    /// A new child of this process, at the other end of the socket.
    pub fn fork(&mut self) -> io::Result<(Process, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        let sockets = [theirs.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut message = SendAncillaryBuffer::new(&mut space);
        message.push(SendAncillaryMessage::ScmRights(&sockets));
        sendmsg(&self.control, &[IoSlice::new(&[0])], &mut message, SendFlags::NOSIGNAL)?;
        let mut answer = [0; 4];
        self.control.read_exact(&mut answer)?;
        match i32::from_le_bytes(answer) {
            code @ ..0 => Err(io::Error::from_raw_os_error(-code)),
            pid => Ok((Process::of(pid)?, ours)),
        }
    }
}

/// The server's life, until nobody is at the other end of `control`. Returns in each copy as well,
/// with that one's socket. To be called while there is one thread.
pub fn serve_forks(mut control: UnixStream) -> io::Result<Option<UnixStream>> {
    while let Some(socket) = receive_socket(&control)? {
        let pid = match fork() {
            Ok(0) => return Ok(Some(socket)),
            Ok(pid) => pid,
            Err(error) => -error.raw_os_error().unwrap_or(libc::EAGAIN),
        };
        control.write_all(&pid.to_le_bytes())?;
    }
    Ok(None)
}

fn receive_socket(control: &UnixStream) -> io::Result<Option<UnixStream>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    recvmsg(control, &mut [IoSliceMut::new(&mut [0])], &mut message, RecvFlags::CMSG_CLOEXEC)?;
    let sockets = message.drain().filter_map(|part| match part {
        RecvAncillaryMessage::ScmRights(mut sockets) => sockets.next(),
        _ => None,
    });
    Ok(sockets.last().map(UnixStream::from))
}

/// A copy of this process whose parent is this one's parent, who can so wait for it and end it.
#[cfg(target_os = "linux")]
fn fork() -> io::Result<i32> {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: as fork(2): no memory is shared, and this is the only thread, so nobody holds a lock.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid as i32) }
}

#[cfg(not(target_os = "linux"))]
fn fork() -> io::Result<i32> {
    Err(io::Error::from_raw_os_error(libc::ENOSYS))
}
