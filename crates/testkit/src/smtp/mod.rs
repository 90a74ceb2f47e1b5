//! An SMTP server for tests: it keeps every mail, and misbehaves on demand.

mod fault;
mod mail;
mod session;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::task::{AbortHandle, JoinSet};

use crate::eventually::poll;
use crate::tls::Tls;
use fault::Faults;
pub use fault::{Fault, Phase};
pub use mail::{Credentials, Mail};
use session::Session;

/// How a connection is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Not at all.
    #[default]
    Plain,
    /// From the first byte on (`smtps`).
    Tls,
    /// By the STARTTLS command; logins and mails are refused before it.
    StartTls,
}

/// A server on a free port of loopback. It ends when dropped.
#[derive(Debug)]
pub struct SmtpServer {
    address: SocketAddr,
    state: Arc<State>,
    accepting: AbortHandle,
}

/// What the server and its sessions share.
#[derive(Debug)]
struct State {
    security: Security,
    tls: Option<Tls>,
    faults: Mutex<Faults>,
    mails: Mutex<Vec<Mail>>,
    news: broadcast::Sender<Mail>,
}

impl State {
    fn keep(&self, mail: Mail) {
        lock(&self.mails).push(mail.clone());
        // No subscriber is not an error.
        let _ = self.news.send(mail);
    }

    fn take_fault(&self, phase: Phase) -> Option<Fault> {
        lock(&self.faults).take(phase)
    }
}

/// A lock that outlives a panic of its holder: each change to what it guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SmtpServer {
    /// A server that speaks plain SMTP.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start() -> anyhow::Result<Self> {
        Self::start_with(Security::Plain).await
    }

    /// A server with the given protection. Its certificate, for `localhost`, is signed
    /// by an authority of its own: [`Self::ca_pem`].
    ///
    /// # Errors
    /// When no port can be had or no certificate made.
    pub async fn start_with(security: Security) -> anyhow::Result<Self> {
        let tls = if security == Security::Plain { None } else { Some(Tls::of(&["localhost", "127.0.0.1"])?) };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            security,
            tls,
            faults: Mutex::default(),
            mails: Mutex::default(),
            news: broadcast::channel(1024).0,
        });
        let accepting = tokio::spawn(accept(listener, state.clone())).abort_handle();
        Ok(Self { address, state, accepting })
    }

    /// `smtp://127.0.0.1:port`, `smtps://localhost:port` or `smtp+starttls://localhost:port`.
    pub fn url(&self) -> String {
        let port = self.address.port();
        match self.state.security {
            Security::Plain => format!("smtp://127.0.0.1:{port}"),
            Security::Tls => format!("smtps://localhost:{port}"),
            Security::StartTls => format!("smtp+starttls://localhost:{port}"),
        }
    }

    /// The port it listens on, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The certificate of the authority that a client must trust, in PEM; a program
    /// takes it from the variable `SSL_CERT_FILE`. `None` without TLS.
    pub fn ca_pem(&self) -> Option<PathBuf> {
        self.state.tls.as_ref().map(Tls::ca_pem)
    }

    /// Every mail taken so far, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        lock(&self.state.mails).clone()
    }

    /// Every mail from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<Mail> {
        self.state.news.subscribe()
    }

    /// Waits for a mail that `wanted` accepts, and returns it; earlier mails count.
    ///
    /// # Panics
    /// When none has come within `deadline`; the message lists what has.
    #[track_caller]
    pub fn wait_for_mail(&self, wanted: impl Fn(&Mail) -> bool, deadline: Duration) -> impl Future<Output = Mail> {
        let caller = std::panic::Location::caller();
        async move {
            let find = || std::future::ready(self.mails().into_iter().find(|mail| wanted(mail)));
            poll(deadline, find).await.unwrap_or_else(|_| {
                let got: Vec<String> =
                    self.mails().iter().map(|mail| format!("{:?} to {:?}", mail.subject(), mail.to)).collect();
                panic!("{caller}: no such mail within {deadline:?}; there came {got:?}")
            })
        }
    }

    /// Misbehaves at `phase` in every connection, until [`Self::clear_faults`].
    pub fn set_fault(&self, phase: Phase, fault: Fault) {
        lock(&self.state.faults).set(phase, fault, None);
    }

    /// Misbehaves at `phase` the next `times` times.
    pub fn set_fault_times(&self, phase: Phase, fault: Fault, times: usize) {
        lock(&self.state.faults).set(phase, fault, Some(times));
    }

    /// Behaves again. A session that hangs goes on hanging.
    pub fn clear_faults(&self) {
        *lock(&self.state.faults) = Faults::default();
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    // The sessions end with this task, and so with the server.
    let mut sessions = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let state = state.clone();
        sessions.spawn(async move {
            if lock(&state.faults).any_reset() {
                // Closing then sends RST, as a crash or a firewall does, not a polite FIN.
                let _ = socket.set_zero_linger();
            }
            // A client that goes away ends its session, and that is all.
            let _ = Session::run(socket, &state).await;
        });
        while sessions.try_join_next().is_some() {}
    }
}
