//! What a request can end in other than well: one variant, one status, one sentence.

use std::time::Duration;

use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The seconds after which a server that was away, or busy, is worth another try.
pub const RETRY_AFTER: &str = "5";

/// An answer other than success. As a response it is the classic plain text; the `/v1` layer
/// turns the [`Problem`] beside it into `application/problem+json`.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// 401: no usable `Authorization` header.
    #[error("missing credentials")]
    MissingCredentials,
    /// 401: unknown user or wrong password, not told apart.
    #[error("invalid credentials")]
    InvalidCredentials,
    /// 401: a valid token of an account that may not use the converter.
    #[error("not authorized")]
    NotPermitted,
    /// 403: a token that is forged, expired, or made with another algorithm.
    #[error("not authorized")]
    NotAuthorized,
    /// 403: a page of another site sent it in the name of somebody who is logged in here.
    #[error("this request came from another site")]
    Foreign,
    /// 403: registration is closed.
    #[error("registration is closed")]
    RegistrationClosed,
    /// 409: the address has an account.
    #[error("this e-mail address is taken")]
    Taken,
    /// 409: its owner cancelled the conversion while the upload went on.
    #[error("the conversion was cancelled")]
    Cancelled,
    /// 409: not in its present state.
    #[error("{0}")]
    Conflict(&'static str),
    /// 422: understood, but not acceptable.
    #[error("{0}")]
    Unprocessable(&'static str),
    /// 400: not understood.
    #[error("{0}")]
    BadRequest(String),
    /// 404: not there, or not yours; not told apart.
    #[error("not found")]
    NotFound,
    /// 413: over `MAX_UPLOAD_BYTES`.
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    /// 408: the client stopped sending.
    #[error("the request stalled")]
    Stalled,
    /// 429: too often, or too much.
    #[error("{}, try again later", .0.what)]
    Limited(Limit),
    /// 503: as much of this goes on here as may; trying again later may help.
    #[error("{0}, try again later")]
    Busy(&'static str),
    /// 503: a server that we need does not answer; trying again later may help.
    #[error("{what} is unavailable, try again later")]
    Unavailable { what: &'static str, cause: anyhow::Error },
    /// 500: our fault.
    #[error("internal error")]
    Internal(#[from] anyhow::Error),
}

/// A limit that a client has come up against, as it is told in `Retry-After`, and in
/// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// What there was too much of: "too many requests".
    pub what: &'static str,
    /// The limit's name.
    pub policy: &'static str,
    /// How much is allowed.
    pub quota: u64,
    /// In what time; without one, at any time.
    pub window: Option<Duration>,
    /// What the quota counts, where it is not requests: `content-bytes`, `concurrent-requests`.
    pub unit: Option<&'static str>,
    /// How much of it is left, though not enough.
    pub left: u64,
    /// When trying again may help.
    pub after: Duration,
}

impl Limit {
    /// Of so many requests at the same time, all of which are under way.
    pub fn at_once(what: &'static str, policy: &'static str, quota: usize, after: Duration) -> Self {
        Self { what, policy, quota: quota as u64, window: None, unit: Some("concurrent-requests"), left: 0, after }
    }

    fn headers(&self) -> [(HeaderName, String); 3] {
        let Self { policy, quota, left, .. } = self;
        // In whole seconds, and none too early.
        let after = (self.after.as_millis().div_ceil(1_000)).max(1);
        let window = self.window.map(|window| format!(";w={}", window.as_secs())).unwrap_or_default();
        let unit = self.unit.map(|unit| format!(";qu=\"{unit}\"")).unwrap_or_default();
        [
            (header::RETRY_AFTER, after.to_string()),
            (RATELIMIT_POLICY, format!("\"{policy}\";q={quota}{window}{unit}")),
            (RATELIMIT, format!("\"{policy}\";r={left};t={after}")),
        ]
    }
}

/// The limits that hold.
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// What is left of them.
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The facts of an error response, kept beside it for other representations.
#[derive(Clone, Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub detail: String,
}

impl Error {
    /// For `map_err`: a server (named in a word) failed us.
    pub fn unavailable<E: Into<anyhow::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |cause| Self::Unavailable { what, cause: cause.into() }
    }

    pub fn status(&self) -> StatusCode {
        match self {
            Self::MissingCredentials | Self::InvalidCredentials | Self::NotPermitted => StatusCode::UNAUTHORIZED,
            Self::NotAuthorized | Self::Foreign | Self::RegistrationClosed => StatusCode::FORBIDDEN,
            Self::Taken | Self::Cancelled | Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Unprocessable(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Busy(_) | Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        // The cause is for the log, once; the client gets the sentence.
        match &self {
            Self::Unavailable { what, cause } => tracing::warn!(error = format!("{cause:#}"), "{what} is unavailable"),
            Self::Internal(cause) => tracing::error!(error = format!("{cause:#}"), "request failed"),
            _ => {}
        }
        let (status, detail) = (self.status(), self.to_string());
        let mut response = (status, detail.clone()).into_response();
        match &self {
            Self::Busy(_) | Self::Unavailable { .. } => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER));
            }
            Self::Limited(limit) => {
                let headers = limit.headers().into_iter();
                response
                    .headers_mut()
                    .extend(headers.filter_map(|(name, text)| Some((name, text.parse::<HeaderValue>().ok()?))));
            }
            _ => {}
        }
        response.extensions_mut().insert(Problem { status, detail });
        response
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Error, IntoResponse, Limit};

    #[test]
    fn who_comes_too_often_is_told_when_to_come_back() {
        let limit = Limit {
            what: "too many requests",
            policy: "requests",
            quota: 60,
            window: Some(Duration::from_secs(60)),
            unit: None,
            left: 0,
            after: Duration::from_millis(1_001),
        };
        let headers = |limit| {
            let answer = Error::Limited(limit).into_response();
            assert_eq!(answer.status(), 429);
            ["retry-after", "ratelimit-policy", "ratelimit"]
                .map(|name| answer.headers()[name].to_str().expect("text").to_owned())
        };
        assert_eq!(headers(limit), ["2", "\"requests\";q=60;w=60", "\"requests\";r=0;t=2"]);
        let bytes = Limit { policy: "bytes", window: None, unit: Some("content-bytes"), left: 7, ..limit };
        assert_eq!(headers(bytes), ["2", "\"bytes\";q=60;qu=\"content-bytes\"", "\"bytes\";r=7;t=2"]);
        assert_eq!(Error::Limited(limit).to_string(), "too many requests, try again later");
    }
}
