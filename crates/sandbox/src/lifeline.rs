//! What ends a child when its parent is gone, whatever its other threads are at: code that goes round
//! and round hears of nothing.

#[cfg(target_os = "linux")]
pub use linux::Lifeline;

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        io::{self, ErrorKind},
        mem::MaybeUninit,
        os::{
            fd::{AsRawFd, FromRawFd, OwnedFd},
            unix::net::UnixStream,
        },
        ptr, thread,
    };

    /// The way to notice the parent's end. It is made before a process is locked up, which can make
    /// nothing any more.
    pub struct Lifeline {
        end: OwnedFd,
        socket: UnixStream,
    }

    impl Lifeline {
        /// `socket` leads to the parent.
        pub fn new(socket: UnixStream) -> io::Result<Self> {
            // SAFETY: it takes a number.
            let end = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
            if end == -1 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: it was made just now, and is nobody else's.
            let end = unsafe { OwnedFd::from_raw_fd(end) };
            // No event but the end, which cannot be left out.
            let mut none = libc::epoll_event { events: 0, u64: 0 };
            // SAFETY: both are open, and the structure lives through the call.
            match unsafe { libc::epoll_ctl(end.as_raw_fd(), libc::EPOLL_CTL_ADD, socket.as_raw_fd(), &mut none) } {
                0 => Ok(Self { end, socket }),
                _ => Err(io::Error::last_os_error()),
            }
        }

        /// Ends this process when the parent is gone.
        pub fn hold(self) -> io::Result<()> {
            let hold = move || {
                let (end, _socket) = (self.end, self.socket);
                let mut event = MaybeUninit::<libc::epoll_event>::uninit();
                // SAFETY: there is room for one event, which lives through the call.
                let mut wait = || unsafe { libc::epoll_pwait(end.as_raw_fd(), event.as_mut_ptr(), 1, -1, ptr::null()) };
                while wait() == -1 && io::Error::last_os_error().kind() == ErrorKind::Interrupted {}
                // SAFETY: _exit may be called at any time.
                unsafe { libc::_exit(1) }
            };
            thread::Builder::new().name("lifeline".to_owned()).stack_size(64 << 10).spawn(hold).map(drop)
        }
    }
}

/// Where nothing can be locked up there are no children either.
#[cfg(not(target_os = "linux"))]
pub struct Lifeline;

#[cfg(not(target_os = "linux"))]
impl Lifeline {
    pub fn new(_socket: std::os::unix::net::UnixStream) -> std::io::Result<Self> {
        Ok(Self)
    }

    pub fn hold(self) -> std::io::Result<()> {
        Ok(())
    }
}
