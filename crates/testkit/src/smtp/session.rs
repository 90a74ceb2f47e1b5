//! One client's dialogue with the server (RFC 5321, 3207 and 4954).

use std::io;

use mail_parser::decoders::base64::base64_decode;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::{Credentials, Fault, Mail, Phase, Security, State};

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

pub(super) struct Session<'a> {
    state: &'a State,
    wire: BufReader<Box<dyn Wire>>,
    encrypted: bool,
    credentials: Option<Credentials>,
    from: Option<String>,
    to: Vec<String>,
}

impl<'a> Session<'a> {
    /// Talks until the client leaves or a fault cuts it off.
    pub(super) async fn run(socket: TcpStream, state: &'a State) -> io::Result<()> {
        let implicit = state.security == Security::Tls;
        let wire: Box<dyn Wire> = match &state.tls {
            Some(tls) if implicit => Box::new(tls.acceptor().accept(socket).await?),
            _ => Box::new(socket),
        };
        let wire = BufReader::new(wire);
        let mut session = Session { state, wire, encrypted: implicit, credentials: None, from: None, to: Vec::new() };
        session.answer_at(Phase::Greeting, "220 testkit ESMTP").await?;
        loop {
            let line = session.line().await?;
            let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match verb.to_ascii_uppercase().as_str() {
                "STARTTLS" if session.may_start_tls() => session = session.start_tls().await?,
                "QUIT" => return session.answer("221 bye").await,
                verb => session.obey(verb, rest).await?,
            }
        }
    }

    async fn obey(&mut self, verb: &str, rest: &str) -> io::Result<()> {
        match verb {
            "EHLO" => self.extensions().await,
            "HELO" => self.answer("250 testkit").await,
            "NOOP" => self.answer("250 still here").await,
            "RSET" => {
                self.forget();
                self.answer("250 forgotten").await
            }
            "AUTH" | "MAIL" if self.may_start_tls() => self.answer("530 STARTTLS first").await,
            "AUTH" => self.login(rest).await,
            "MAIL" => {
                self.forget();
                if self.answer_at(Phase::Sender, "250 sender ok").await? {
                    self.from = Some(address(rest));
                }
                Ok(())
            }
            "RCPT" if self.from.is_some() => {
                if self.answer_at(Phase::Recipient, "250 recipient ok").await? {
                    self.to.push(address(rest));
                }
                Ok(())
            }
            "DATA" if !self.to.is_empty() => self.take_mail().await,
            "RCPT" | "DATA" => self.answer("503 not yet").await,
            _ => self.answer("500 what is that?").await,
        }
    }

    async fn extensions(&mut self) -> io::Result<()> {
        let offer = if self.may_start_tls() { "STARTTLS" } else { "AUTH PLAIN LOGIN" };
        self.answer(&format!("250-testkit\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 {offer}")).await
    }

    fn may_start_tls(&self) -> bool {
        self.state.security == Security::StartTls && !self.encrypted
    }

    async fn start_tls(mut self) -> io::Result<Self> {
        let Some(tls) = &self.state.tls else { return Ok(self) };
        let acceptor = tls.acceptor();
        self.answer("220 go ahead").await?;
        if !self.wire.buffer().is_empty() {
            // What came before the handshake must not count after it.
            return Err(io::ErrorKind::InvalidData.into());
        }
        let wire = acceptor.accept(self.wire.into_inner()).await?;
        let wire: Box<dyn Wire> = Box::new(wire);
        Ok(Session { wire: BufReader::new(wire), encrypted: true, from: None, to: Vec::new(), ..self })
    }

    async fn login(&mut self, rest: &str) -> io::Result<()> {
        let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let credentials = match mechanism.to_ascii_uppercase().as_str() {
            "PLAIN" => {
                let reply = if initial.is_empty() { self.ask("").await? } else { decode(initial) };
                let mut parts = reply.split('\0').skip(1).map(str::to_owned);
                parts.next().zip(parts.next())
            }
            "LOGIN" => {
                // The prompts are "Username:" and "Password:".
                let user = if initial.is_empty() { self.ask("VXNlcm5hbWU6").await? } else { decode(initial) };
                Some((user, self.ask("UGFzc3dvcmQ6").await?))
            }
            _ => None,
        };
        let Some((user, password)) = credentials else { return self.answer("504 cannot do that").await };
        if self.answer_at(Phase::Login, "235 welcome").await? {
            self.credentials = Some(Credentials { user, password });
        }
        Ok(())
    }

    async fn ask(&mut self, prompt: &str) -> io::Result<String> {
        self.answer(&format!("334 {prompt}")).await?;
        Ok(decode(&self.line().await?))
    }

    async fn take_mail(&mut self) -> io::Result<()> {
        if !self.answer_at(Phase::Data, "354 end with a dot").await? {
            return Ok(());
        }
        let raw = self.message().await?;
        let fault = self.state.take_fault(Phase::Message);
        if let Some(Fault::Answer(_)) = fault {
            self.forget();
        } else {
            self.state.keep(Mail {
                from: self.from.take().unwrap_or_default(),
                to: std::mem::take(&mut self.to),
                raw,
                credentials: self.credentials.clone(),
                encrypted: self.encrypted,
                acknowledged: fault.is_none(),
            });
        }
        self.answer_unless(fault, "250 taken").await.map(drop)
    }

    /// The message up to the lone dot, which is left out.
    async fn message(&mut self) -> io::Result<Vec<u8>> {
        let mut message = Vec::new();
        loop {
            let start = message.len();
            if self.wire.read_until(b'\n', &mut message).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if message[start..] == *b".\r\n" {
                message.truncate(start);
                return Ok(message);
            }
            if message[start..].starts_with(b".") {
                // A client doubles the dot that begins a line.
                message.remove(start);
            }
        }
    }

    fn forget(&mut self) {
        self.from = None;
        self.to.clear();
    }

    /// Answers `text`, or does what is armed for `phase`; tells whether it was `text`.
    async fn answer_at(&mut self, phase: Phase, text: &str) -> io::Result<bool> {
        let fault = self.state.take_fault(phase);
        self.answer_unless(fault, text).await
    }

    async fn answer_unless(&mut self, fault: Option<Fault>, text: &str) -> io::Result<bool> {
        match fault {
            None => self.answer(text).await.map(|()| true),
            Some(Fault::Answer(code)) => {
                self.answer(&format!("{code} as the test wants it")).await?;
                if code == 421 { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(false) }
            }
            // Until the client or the server gives up, and this task with it.
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Reset) => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }

    async fn answer(&mut self, text: &str) -> io::Result<()> {
        self.wire.write_all(format!("{text}\r\n").as_bytes()).await?;
        self.wire.flush().await
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.wire.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// What stands between `<` and `>`.
fn address(argument: &str) -> String {
    let after = argument.split_once('<').map_or(argument, |(_, after)| after);
    after.split_once('>').map_or(after, |(before, _)| before).to_owned()
}

fn decode(base64: &str) -> String {
    let bytes = base64_decode(base64.as_bytes()).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}
