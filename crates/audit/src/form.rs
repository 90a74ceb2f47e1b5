//! An upload's form, as the gateway reads it.

use std::{cell::RefCell, convert::Infallible, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, header},
};
use common::{Error, text::is_visible};
use futures_util::stream;
use gateway::form::{Form, Part};

/// Longer than any of the fuzzer's inputs takes.
const IDLE: Duration = Duration::from_secs(60);

thread_local! {
    static RUNTIME: RefCell<tokio::runtime::Runtime> = RefCell::new(
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime")
    );
}

/// What a part was: name, file name, type, content.
type Read = (String, Option<String>, Option<String>, Vec<u8>);

/// The first line is the content type, the rest the body. However the network cuts that into
/// pieces, the form is the same.
pub fn form(data: &[u8]) {
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (kind, body) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let Ok(kind) = HeaderValue::from_bytes(kind) else { return };
    let read = |size| {
        let future = parts(&kind, body, size);
        RUNTIME.with_borrow_mut(|runtime| runtime.block_on(future))
    };
    let whole = read(usize::MAX);
    for (name, file_name, _, content) in whole.iter().flatten() {
        assert!(name.len() + content.len() <= body.len());
        if let Some(file_name) = file_name {
            assert!(file_name.chars().count() <= 255 && file_name.chars().all(is_visible), "{file_name:?}");
            assert!(!file_name.contains(['/', '\\']), "{file_name:?}");
        }
    }
    for size in [1, 7, 64] {
        assert_eq!(read(size), whole, "in pieces of {size}");
    }
}

/// All parts; `None`: it is no form, or no whole one.
async fn parts(kind: &HeaderValue, body: &[u8], size: usize) -> Option<Vec<Read>> {
    let pieces: Vec<_> = body.chunks(size.min(body.len()).max(1)).map(<[u8]>::to_vec).collect();
    let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)));
    let request = Request::post("/upload").header(header::CONTENT_TYPE, kind).body(body).expect("a request");
    let mut form = client_error(Form::new(request, IDLE).await)?;
    let mut parts = Vec::new();
    while let Some(part) = client_error(form.next().await)? {
        let (mut field, is_file) = match part {
            Part::Text(field) => (field, false),
            Part::File(field) => (field, true),
        };
        let (name, file_name) = (field.name().to_owned(), is_file.then(|| field.file_name()));
        let (kind, mut content) = (field.content_type(), Vec::new());
        while let Some(piece) = client_error(field.piece().await)? {
            content.extend_from_slice(&piece);
        }
        parts.push((name, file_name, kind, content));
    }
    Some(parts)
}

/// Nothing that a client sends is a failure of ours.
fn client_error<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::BadRequest(_)) => None,
        Err(error) => panic!("{error:?}"),
    }
}
