//! What takes a process's rights away, for good.

/// Addresses beyond those of its memory, which take none: the pages that guard threads' stacks, and
/// the stack of the first thread.
#[cfg(target_os = "linux")]
const SLACK: u64 = 64 << 20;

/// From here on this process can compute, use the files that are open, and start threads; with no
/// more than `memory` bytes of its own. All else is refused by the kernel: opening files, sockets,
/// other programs, other processes.
///
/// To be called while there is one thread: those that it starts inherit it.
///
/// # Errors
/// Where the system does not allow to lock up a process; this one is then as free as it was, or
/// in part.
#[cfg(target_os = "linux")]
pub fn lock_down(memory: u64) -> anyhow::Result<()> {
    // Later there is no file left that says so.
    let present = linux::address_space()?;
    linux::share_one_pool();
    linux::restrict_files()?;
    limit(libc::RLIMIT_DATA, memory)?;
    // What was written and then made read-only is not counted there, but has its addresses.
    limit(libc::RLIMIT_AS, present.saturating_add(memory).saturating_add(SLACK))?;
    for nothing in [libc::RLIMIT_CORE, libc::RLIMIT_FSIZE, libc::RLIMIT_NOFILE] {
        limit(nothing, 0)?;
    }
    linux::filter_calls()
}

/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn lock_down(_memory: u64) -> anyhow::Result<()> {
    anyhow::bail!("only Linux can lock up a process like this")
}

#[cfg(target_os = "linux")]
type Resource = libc::__rlimit_resource_t;

/// Where the system's own limit is lower, that one stays: only root could raise it.
#[cfg(target_os = "linux")]
fn limit(resource: Resource, to: u64) -> anyhow::Result<()> {
    use anyhow::Context;
    let mut present = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure lives through the call.
    if unsafe { libc::getrlimit(resource, &mut present) } != 0 {
        return Err(std::io::Error::last_os_error()).context("a limit could not be read");
    }
    let to = to.min(present.rlim_max);
    let limit = libc::rlimit { rlim_cur: to, rlim_max: to };
    // SAFETY: the structure lives through the call.
    if unsafe { libc::setrlimit(resource, &limit) } != 0 {
        return Err(std::io::Error::last_os_error()).context("a limit could not be set");
    }
    Ok(())
}

#[cfg(target_os = "linux")]
mod linux {
    use std::collections::BTreeMap;

    use anyhow::Context;
    use landlock::{ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr};
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    };

    /// The bytes that this process's memory and libraries span.
    pub fn address_space() -> anyhow::Result<u64> {
        let sizes = std::fs::read_to_string("/proc/self/statm").context("/proc does not say how large it is")?;
        let pages: u64 = sizes.split(' ').next().unwrap_or_default().parse().context("/proc/self/statm")?;
        // SAFETY: it takes a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        Ok(pages.saturating_mul(u64::try_from(page)?))
    }

    /// All threads take memory from one pool: for each further one glibc sets 64 MiB of addresses aside.
    pub fn share_one_pool() {
        #[cfg(target_env = "gnu")]
        // SAFETY: mallopt takes two numbers and may be called at any time.
        unsafe {
            libc::mallopt(libc::M_ARENA_MAX, 1);
        }
    }

    /// No path leads anywhere, where the kernel has Landlock (5.13). Where it has not, there is still
    /// no call left that takes a path.
    pub fn restrict_files() -> anyhow::Result<()> {
        let rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(ABI::V5))?
            .handle_access(AccessNet::from_all(ABI::V5))?;
        rules.create()?.restrict_self()?;
        Ok(())
    }

    /// What computing, threads, memory and open sockets take; nothing here names a file or a process.
    const CALLS: &[libc::c_long] = &[
        libc::SYS_brk,
        libc::SYS_clock_getres,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_close,
        libc::SYS_epoll_pwait,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_gettid,
        libc::SYS_gettimeofday,
        libc::SYS_madvise,
        libc::SYS_membarrier,
        libc::SYS_mprotect,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_nanosleep,
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_restart_syscall,
        libc::SYS_rseq,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_yield,
        libc::SYS_sendmsg,
        libc::SYS_sendto,
        libc::SYS_set_robust_list,
        libc::SYS_sigaltstack,
        libc::SYS_write,
        libc::SYS_writev,
    ];

    pub fn filter_calls() -> anyhow::Result<()> {
        // The C library takes the older call, whose flags can be looked at, where this one is missing.
        let missing = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
        let missing = compiled(missing, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))?;

        let mut rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS.iter().map(|call| (*call, Vec::new())).collect();
        rules.insert(libc::SYS_clone3, Vec::new());
        let thread = libc::CLONE_THREAD as u64;
        let is_thread = SeccompCondition::new(0, SeccompCmpArgLen::Qword, SeccompCmpOp::MaskedEq(thread), thread)?;
        rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![is_thread])?]);
        let names_itself =
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, libc::PR_SET_NAME as u64)?;
        rules.insert(libc::SYS_prctl, vec![SeccompRule::new(vec![names_itself])?]);
        // RLIMIT_DATA counts neither what is shared nor what grows as a stack does.
        let uncounted = (libc::MAP_SHARED | libc::MAP_GROWSDOWN) as u64;
        let is_counted = SeccompCondition::new(3, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(uncounted), 0)?;
        rules.insert(libc::SYS_mmap, vec![SeccompRule::new(vec![is_counted])?]);
        // abort() sends a signal to its own thread; others' are not for this process.
        let itself = u64::from(std::process::id());
        let own = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, itself)?;
        rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![own])?]);
        // The stack's limit is looked at before a thread is started. None is set: root could lift its own.
        let own = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0)?;
        let looks = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
        rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![own, looks])?]);
        let allowed = compiled(rules, SeccompAction::Errno(libc::EPERM as u32), SeccompAction::Allow)?;

        // Also sets no_new_privs. The stricter one comes last: it forbids to install any other.
        seccompiler::apply_filter(&missing).context("the kernel takes no filter of system calls")?;
        seccompiler::apply_filter(&allowed).context("the kernel takes no filter of system calls")
    }

    fn compiled(
        rules: BTreeMap<i64, Vec<SeccompRule>>,
        otherwise: SeccompAction,
        matching: SeccompAction,
    ) -> anyhow::Result<BpfProgram> {
        let filter = SeccompFilter::new(rules, otherwise, matching, std::env::consts::ARCH.try_into()?)?;
        Ok(filter.try_into()?)
    }
}
