//! What the server can do wrong, and when.

/// A moment of the dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The connection is open, the greeting is due.
    Greeting,
    /// After a login's credentials.
    Login,
    /// After `MAIL FROM`.
    Sender,
    /// After `RCPT TO`.
    Recipient,
    /// After `DATA`, before the message.
    Data,
    /// After the dot that ends the message.
    Message,
}

/// What happens then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This code is answered (421 also closes the connection). The mail is not taken.
    Answer(u16),
    /// Nothing is answered any more, and the connection stays open. At
    /// [`Phase::Message`] the mail *has* been taken.
    Hang,
    /// The connection is reset. At [`Phase::Message`] the mail *has* been taken.
    Reset,
}

#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Armed>);

#[derive(Debug)]
struct Armed {
    phase: Phase,
    fault: Fault,
    /// How often still; `None` for always.
    times: Option<usize>,
}

impl Faults {
    pub(super) fn set(&mut self, phase: Phase, fault: Fault, times: Option<usize>) {
        self.0.retain(|armed| armed.phase != phase);
        self.0.push(Armed { phase, fault, times });
    }

    /// The fault due at `phase`; one that is counted is used up by it.
    pub(super) fn take(&mut self, phase: Phase) -> Option<Fault> {
        let armed = self.0.iter_mut().find(|armed| armed.phase == phase)?;
        if let Some(times) = &mut armed.times {
            *times = times.checked_sub(1)?;
        }
        Some(armed.fault)
    }

    pub(super) fn any_reset(&self) -> bool {
        self.0.iter().any(|armed| armed.fault == Fault::Reset)
    }
}
