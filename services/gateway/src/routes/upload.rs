//! `POST /upload` and `POST /v1/conversions`: exactly one film, streamed from the socket into the store.

use std::time::Duration;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use common::{Error, Id, Result};
use futures_util::{Stream, StreamExt};
use jobs::{Job, RECORD_BYTES, Settings};

use crate::{
    App,
    allowance::UploadPlace,
    auth_client::User,
    conversion::Conversion,
    form::{Field, Form, Part, exactly_one},
    intake::{Announced, KEY_IN_USE, Upload},
    routes::{
        conversions,
        settings::{asked, unfit},
    },
};

/// What multipart adds around a film: boundaries and the part's headers.
const ENVELOPE: u64 = 64 * 1024;
/// How much of a refused body is still read, so that the client gets to read the answer
/// instead of a reset connection.
const DRAIN: u64 = 16 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// A longer `Idempotency-Key` is refused.
const LONGEST_KEY: usize = 255;
/// No wish in a form is longer: 1000 characters of a tag.
const LONGEST_WISH: usize = 4_000;

/// Which of the two layers is spoken.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// `success!`, unless the client asks for JSON. Text fields beside the film mean nothing.
    Classic,
    /// JSON. Wishes may come in the query, or as text fields before the film.
    Api,
}

pub async fn upload(State(app): State<App>, request: Request) -> Result<Response> {
    take(app, request, Manner::Classic).await
}

pub async fn take(app: App, request: Request, manner: Manner) -> Result<Response> {
    let outcome = receive_and_answer(app, request, manner).await;
    metrics::counter!("uploads_total", "outcome" => label(&outcome)).increment(1);
    outcome
}

fn label(outcome: &Result<Response>) -> &'static str {
    match outcome {
        Ok(_) => "accepted",
        Err(Error::MissingCredentials | Error::NotAuthorized | Error::NotPermitted) => "unauthorized",
        Err(Error::BadRequest(_) | Error::Unprocessable(_) | Error::Conflict(_)) => "invalid",
        Err(Error::TooLarge(_)) => "too_large",
        Err(Error::Stalled) => "stalled",
        Err(Error::Limited(_)) => "limited",
        Err(Error::Cancelled) => "cancelled",
        Err(Error::Busy(_)) => "busy",
        Err(Error::Unavailable { .. }) => "unavailable",
        Err(_) => "error",
    }
}

async fn receive_and_answer(app: App, request: Request, manner: Manner) -> Result<Response> {
    let headers = request.headers().clone();
    let id = Id::fresh();
    tracing::Span::current().record("job.id", tracing::field::display(&id));
    let terms = match admit(&app, &headers, request.uri().clone(), id, manner).await {
        Ok(Admitted::New(terms)) => *terms,
        known_or_refused => {
            // A client that asked beforehand (`Expect: 100-continue`) has not sent the film.
            if !headers.contains_key(header::EXPECT) {
                let rest = request.into_body().into_data_stream();
                match place_of_known(&app, &known_or_refused) {
                    // Who had no answer the first time shall have it now, after however much.
                    Some(_place) => drain(rest, app.config.max_upload_bytes, app.config.upload_idle).await,
                    None => drain_some(rest).await,
                }
            }
            return match known_or_refused? {
                Admitted::Known(job) => answer(&app, &job, &headers, manner).await,
                Admitted::New(_) => Err(Error::Internal(anyhow::anyhow!("admitted and refused"))),
            };
        }
    };
    let mut form = Form::new(request, app.config.upload_idle).await?;
    let received = receive(&app, terms, &mut form).await;
    if received.is_err() {
        drain_some(form.into_rest()).await;
    }
    let job = received?.accept().await?;
    answer(&app, &job, &headers, manner).await
}

/// A place like any upload's for one that is sent again, if there is one.
fn place_of_known(app: &App, outcome: &Result<Admitted>) -> Option<UploadPlace> {
    match outcome {
        Ok(Admitted::Known(job)) => app.allowance.upload(&job.owner).ok(),
        _ => None,
    }
}

async fn answer(app: &App, job: &Job, headers: &HeaderMap, manner: Manner) -> Result<Response> {
    let location = [(header::LOCATION, format!("/v1/conversions/{}", job.id))];
    if manner == Manner::Api || accepts_json(headers) {
        // It is accepted, whether or not its place in the line can be told just now.
        let conversion = conversions::represent(app, job).await.unwrap_or_else(|_| Conversion::of(job, None));
        return Ok((StatusCode::ACCEPTED, location, Json(conversion)).into_response());
    }
    Ok((location, "success!").into_response())
}

/// What is settled before a film is read.
struct Terms {
    id: Id,
    user: User,
    settings: Settings,
    key: Option<String>,
    manner: Manner,
    /// The most bytes that it may have, and whether it is its owner's room that ends there.
    most: u64,
    room_ends: bool,
    /// Among all uploads, and among its owner's.
    _place: UploadPlace,
}

impl Terms {
    fn too_large(&self, app: &App) -> Error {
        if self.room_ends { app.allowance.no_room(self.most) } else { Error::TooLarge(self.most) }
    }
}

enum Admitted {
    New(Box<Terms>),
    /// This upload was accepted before, by its key.
    Known(Box<Job>),
}

/// Who sends, if they may, and if what they announce is neither too much nor known.
async fn admit(app: &App, headers: &HeaderMap, uri: Uri, id: Id, manner: Manner) -> Result<Admitted> {
    let user = app.auth.user_of(headers, &id).await?;
    let settings = match manner {
        Manner::Classic => Settings::default(),
        Manner::Api => asked(&uri)?,
    };
    let key = idempotency_key(headers)?;
    if let Some(key) = &key
        && let Some(job) = app.jobs.by_key(&user.name, key).await.map_err(Error::unavailable("the store"))?
    {
        return if job.state == jobs::State::Uploading { Err(KEY_IN_USE) } else { Ok(Admitted::Known(Box::new(job))) };
    }
    let place = app.allowance.upload(&user.name)?;
    // Its record, which is not there yet, takes room as well.
    let room = room(app, &user).await?.map(|room| room.saturating_sub(RECORD_BYTES));
    let room = room.filter(|room| *room < app.config.max_upload_bytes);
    let most = room.unwrap_or(app.config.max_upload_bytes);
    let terms = Terms { id, user, settings, key, manner, most, room_ends: room.is_some(), _place: place };
    match content_length(headers) {
        Some(length) if length > most.saturating_add(ENVELOPE) => Err(terms.too_large(app)),
        _ if room == Some(0) => Err(terms.too_large(app)),
        _ => Ok(Admitted::New(Box::new(terms))),
    }
}

/// How many more bytes may be kept for this user, if there is an end to it.
async fn room(app: &App, user: &User) -> Result<Option<u64>> {
    if app.allowance.room(0).is_none() {
        return Ok(None);
    }
    let kept = app.jobs.kept_bytes(&user.name).await.map_err(Error::unavailable("the store"))?;
    Ok(app.allowance.room(kept))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().map(str::trim).filter(|key| !key.is_empty() && key.len() <= LONGEST_KEY);
    let bad = || Error::BadRequest("Idempotency-Key: 1 to 255 characters of plain ASCII are expected".to_owned());
    key.map(|key| Some(key.to_owned())).ok_or_else(bad)
}

/// Reads the whole body. What is received is given up when anything is wrong with the rest of it.
async fn receive(app: &App, mut terms: Terms, form: &mut Form) -> Result<Upload> {
    let mut film = None;
    while let Some(part) = form.next().await? {
        match part {
            Part::Text(field) if terms.manner == Manner::Api && Settings::NAMES.contains(&field.name()) => {
                if film.is_some() {
                    return Err(Error::Unprocessable("what is wished for must stand before the file"));
                }
                wish(&mut terms.settings, field).await?;
            }
            // Any other text field beside the file means nothing to us.
            Part::Text(mut field) => while field.piece().await?.is_some() {},
            Part::File(mut file) => {
                let first = file.piece().await?;
                if file.is_nameless() && first.is_none() {
                    continue; // a form's file field that was left empty
                }
                if film.is_some() {
                    return Err(exactly_one());
                }
                film = Some(store(app, &terms, file, first).await?);
            }
        }
    }
    let film: Upload = film.ok_or_else(exactly_one)?;
    // Asked once more, for what came from the same user meanwhile.
    match room(app, &terms.user).await? {
        Some(room) if room < film.received() => Err(app.allowance.no_room(room)),
        _ => Ok(film),
    }
}

async fn wish(settings: &mut Settings, mut field: Field<'_>) -> Result<()> {
    let text = field.text(LONGEST_WISH).await?.ok_or(Error::Unprocessable("this wish is too long"))?;
    settings.note(field.name(), &text).map_err(unfit)?;
    Ok(())
}

async fn store(app: &App, terms: &Terms, mut file: Field<'_>, first: Option<Bytes>) -> Result<Upload> {
    terms.settings.check().map_err(unfit)?;
    let announced = Announced {
        id: terms.id.clone(),
        owner: terms.user.name.clone(),
        filename: Some(file.file_name()).filter(|name| !name.is_empty()),
        content_type: file.content_type(),
        settings: terms.settings.clone(),
        key: terms.key.clone(),
    };
    let mut upload = app.intake.begin(announced).await?;
    file.is_the_film(first.as_ref());
    let mut next = first;
    while let Some(bytes) = next {
        if upload.received() + bytes.len() as u64 > terms.most {
            return Err(terms.too_large(app));
        }
        upload.write(&bytes).await?;
        next = file.piece().await?;
    }
    Ok(upload)
}

/// Reads on without keeping anything: at most so many bytes, and while they come.
async fn drain<E>(rest: impl Stream<Item = Result<Bytes, E>>, most: u64, idle: Duration) {
    let (mut rest, mut left) = (std::pin::pin!(rest), most);
    while let Ok(Some(Ok(piece))) = tokio::time::timeout(idle, rest.next()).await {
        match left.checked_sub(piece.len() as u64) {
            Some(less) => left = less,
            None => break,
        }
    }
}

/// As much of a refused body as costs little.
async fn drain_some<E>(rest: impl Stream<Item = Result<Bytes, E>>) {
    let _ = tokio::time::timeout(DRAIN_TIME, drain(rest, DRAIN, DRAIN_TIME)).await;
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("application/json")
    })
}
