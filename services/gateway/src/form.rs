//! The form that a film comes in (`multipart/form-data`, RFC 7578), read as it arrives: no more
//! of it is ever in memory than a piece of the film, or a little of what stands beside it.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, BodyDataStream},
    extract::{FromRequest, Multipart, Request, multipart},
};
use bytes::Bytes;
use common::{Error, Result, text::is_visible};
use futures_util::{Stream, StreamExt};

/// Bytes of a form that are not the film: boundaries, headers, text fields. The parser keeps what
/// it is in the middle of, so there has to be an end to it. A piece of the film that it has not
/// given out yet counts, too; none is half as large.
const MOST_BESIDE: usize = 1 << 20;

/// A form that is being received.
pub struct Form {
    parts: Multipart,
    body: Guarded,
    /// A client that sends nothing for so long is gone.
    idle: Duration,
}

/// One of the form's parts, none of which has to be read to its end.
pub enum Part<'a> {
    Text(Field<'a>),
    File(Field<'a>),
}

impl Form {
    /// # Errors
    /// When it is no form at all.
    pub async fn new(request: Request, idle: Duration) -> Result<Self> {
        let (head, body) = request.into_parts();
        let body = Guarded::new(body);
        let request = Request::from_parts(head, Body::from_stream(body.clone()));
        // Whatever is not multipart holds no file.
        let parts = Multipart::from_request(request, &()).await.map_err(|_| exactly_one())?;
        Ok(Self { parts, body, idle })
    }

    /// The next part; `None` after the last.
    pub async fn next(&mut self) -> Result<Option<Part<'_>>> {
        let (idle, body) = (self.idle, &self.body);
        let Some(part) = body.within(idle, self.parts.next_field()).await? else { return Ok(None) };
        let is_file = part.file_name().is_some();
        let field = Field { part, body, idle, is_film: false };
        Ok(Some(if is_file { Part::File(field) } else { Part::Text(field) }))
    }

    /// What was not read of the body.
    pub fn into_rest(self) -> impl Stream<Item = Result<Bytes, axum::Error>> {
        let body = self.body;
        futures_util::stream::poll_fn(move |context| body.lock().stream.poll_next_unpin(context))
    }
}

/// A part's name, and what it holds.
pub struct Field<'a> {
    part: multipart::Field<'a>,
    body: &'a Guarded,
    idle: Duration,
    is_film: bool,
}

impl Field<'_> {
    pub fn name(&self) -> &str {
        self.part.name().unwrap_or_default()
    }

    /// The client's name for the file, without the folders that some send along and without
    /// anything that could not stand in a header or a list.
    pub fn file_name(&self) -> String {
        file_name(self.part.file_name().unwrap_or_default())
    }

    pub fn content_type(&self) -> Option<String> {
        self.part.content_type().map(|text| text.chars().take(255).collect())
    }

    /// Whether it is a form's file field that was left empty, but for what it may hold.
    pub fn is_nameless(&self) -> bool {
        self.part.file_name().is_none_or(str::is_empty)
    }

    /// From here on its pieces are the film's, of which there may be any number.
    pub fn is_the_film(&mut self, first: Option<&Bytes>) {
        self.is_film = true;
        self.body.lock().beside -= first.map_or(0, Bytes::len);
    }

    /// The next piece of it; `None` at its end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>> {
        let piece = self.body.within(self.idle, self.part.chunk()).await?;
        if self.is_film {
            self.body.lock().beside -= piece.as_ref().map_or(0, Bytes::len);
        }
        Ok(piece)
    }

    /// All of it, up to `most` bytes; `None`: it is longer.
    pub async fn text(&mut self, most: usize) -> Result<Option<String>> {
        let mut text = Vec::new();
        while let Some(piece) = self.piece().await? {
            text.extend_from_slice(&piece);
            if text.len() > most {
                return Ok(None);
            }
        }
        Ok(Some(String::from_utf8_lossy(&text).into_owned()))
    }
}

/// The body as the parser gets it: a piece at a time, and only so much beside the film.
#[derive(Clone)]
struct Guarded(Arc<Mutex<Guard>>);

struct Guard {
    stream: BodyDataStream,
    /// What the parser got and did not give out as the film's.
    beside: usize,
    /// The parser would go on for as long as there is something to be had, and keep all of it.
    rests: bool,
}

impl Guarded {
    fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Guard { stream: body.into_data_stream(), beside: 0, rests: false })))
    }

    fn lock(&self) -> MutexGuard<'_, Guard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn within<T>(
        &self,
        idle: Duration,
        step: impl Future<Output = Result<T, multipart::MultipartError>>,
    ) -> Result<T> {
        let step = tokio::time::timeout(idle, step).await.map_err(|_| Error::Stalled)?;
        step.map_err(|e| match self.lock().beside {
            beside if beside > MOST_BESIDE => Error::BadRequest("there is too much beside the file".to_owned()),
            _ => Error::BadRequest(format!("the upload is not complete or not well-formed: {}", e.body_text())),
        })
    }
}

impl Stream for Guarded {
    type Item = Result<Bytes, axum::Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut guard = self.lock();
        if guard.beside > MOST_BESIDE {
            return Poll::Ready(Some(Err(axum::Error::new("too much beside the file"))));
        }
        if std::mem::take(&mut guard.rests) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = guard.stream.poll_next_unpin(context);
        if let Poll::Ready(Some(Ok(piece))) = &next {
            guard.beside += piece.len();
            guard.rests = true;
        }
        next
    }
}

pub fn exactly_one() -> Error {
    Error::BadRequest("exactly 1 file required".to_owned())
}

fn file_name(sent: &str) -> String {
    let name = sent.rsplit(['/', '\\']).next().unwrap_or_default();
    name.chars().filter(|c| is_visible(*c)).take(255).collect::<String>().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_folders_and_what_breaks_lines() {
        assert_eq!(file_name("C:\\films\\a b.mp4"), "a b.mp4");
        assert_eq!(file_name("../../etc/passwd"), "passwd");
        assert_eq!(file_name("a\r\nBcc: x\u{7f}.mp4"), "aBcc: x.mp4");
        assert_eq!(file_name("Füße 映画.mkv"), "Füße 映画.mkv");
        assert_eq!(file_name("\u{202e}4pm.mlif\u{2066}.mp4"), "4pm.mlif.mp4");
        assert_eq!(file_name(&"x".repeat(1_000)).len(), 255);
    }
}
