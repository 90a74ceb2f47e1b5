//! What a process that is locked up can still do.
#![cfg(target_os = "linux")]

use std::{
    fs::File,
    io,
    net::{TcpStream, UdpSocket},
    os::unix::net::UnixStream,
    process::Command,
    thread,
};

const MEMORY: u64 = 256 << 20;

#[test]
fn it_computes_and_that_is_all() {
    let myself = std::env::current_exe().expect("a path");
    let output =
        Command::new(myself).args(["--ignored", "--exact", "locked_up", "--nocapture"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

fn refused<T>(outcome: io::Result<T>) -> bool {
    // EPERM of the filter, EACCES of Landlock, EMFILE where no file may be opened any more.
    outcome
        .err()
        .and_then(|e| e.raw_os_error())
        .is_some_and(|code| [libc::EPERM, libc::EACCES, libc::EMFILE].contains(&code))
}

fn call(outcome: libc::c_long) -> io::Result<()> {
    if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Memory that was written and is read-only now.
fn hidden(size: usize) -> io::Result<*mut libc::c_void> {
    let (both, ours) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_ANONYMOUS | libc::MAP_PRIVATE);
    // SAFETY: what is mapped is new, and as long as what is written.
    unsafe {
        let memory = libc::mmap(std::ptr::null_mut(), size, both, ours, -1, 0);
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        memory.cast::<u8>().write_bytes(1, size);
        call(libc::mprotect(memory, size, libc::PROT_READ).into())?;
        Ok(memory)
    }
}

/// Runs in a process of its own, see above.
#[test]
#[ignore = "locks up the process that it runs in"]
fn locked_up() {
    sandbox::lock_down(MEMORY).expect("locked up");
    assert!(refused(File::open("/etc/passwd")));
    assert!(refused(File::open("/proc/self/environ")));
    assert!(refused(File::create("/tmp/it-got-out")));
    assert!(refused(std::fs::read_dir("/")));
    assert!(refused(std::fs::remove_file("/etc/passwd")));
    assert!(refused(TcpStream::connect(("127.0.0.1", 9))));
    assert!(refused(UdpSocket::bind(("127.0.0.1", 0))));
    assert!(refused(UnixStream::pair()));
    assert!(refused(Command::new("/bin/true").status()));
    // SAFETY: system calls with plain numbers; the filter refuses them all.
    unsafe {
        let none = std::ptr::null::<libc::c_char>();
        assert!(refused(call(libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0))), "a process");
        assert!(refused(call(libc::syscall(libc::SYS_execve, none, none, none))), "a program");
        assert!(refused(call(libc::syscall(libc::SYS_kill, libc::getppid(), 0))), "a signal");
        assert!(refused(call(libc::syscall(libc::SYS_ptrace, 0, 0, 0, 0))), "a debugger");
        assert!(refused(call(libc::syscall(libc::SYS_seccomp, 0, 0, 0))), "another filter");
        assert!(refused(call(libc::syscall(libc::SYS_io_uring_setup, 1, none))), "calls by another way");
        let (ours, page) = (libc::MAP_ANONYMOUS | libc::MAP_PRIVATE, 4_096);
        for uncounted in [libc::MAP_ANONYMOUS | libc::MAP_SHARED, ours | libc::MAP_GROWSDOWN] {
            let taken = libc::mmap(std::ptr::null_mut(), page, libc::PROT_READ, uncounted, -1, 0);
            assert!(taken == libc::MAP_FAILED && refused::<()>(Err(io::Error::last_os_error())), "uncounted memory");
        }
        let more = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
        assert!(refused(call(libc::setrlimit(libc::RLIMIT_DATA, &more).into())), "another limit, even as root");
        assert_eq!(libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), -1, "nor may it ask");
    }

    let sum = thread::spawn(|| (0..1_000_u64).sum::<u64>()).join().expect("a thread");
    assert_eq!(sum, 499_500);
    assert!(refused(thread::spawn(|| File::open("/etc/passwd")).join().expect("a thread")));
    let mut memory = Vec::<u8>::new();
    memory.try_reserve_exact(MEMORY as usize / 4).expect("some");
    Vec::<u8>::new().try_reserve_exact(MEMORY as usize).expect_err("too much");
    drop(memory);

    // More than it may have, what is set aside for guards, and what was its own before.
    let (size, too_many) = (16 << 20, (MEMORY as usize + (128 << 20)) / (16 << 20));
    // With room for all: there is none to be had at the end.
    let mut pieces = Vec::with_capacity(too_many);
    let refusal = loop {
        match hidden(size) {
            Ok(piece) => pieces.push(piece),
            Err(error) => break error,
        }
        assert!(pieces.len() < too_many, "read-only memory without end");
    };
    for piece in pieces {
        // SAFETY: it was mapped above, and nothing points into it.
        unsafe { libc::munmap(piece, size) };
    }
    assert_eq!(refusal.raw_os_error(), Some(libc::ENOMEM), "{refusal}");
}
