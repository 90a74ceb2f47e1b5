//! What a request can end in other than well: one variant, one status, one sentence.

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

pub type Result<T, E = Error> = std::result::Result<T, E>;

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
    #[error("the upload stalled")]
    Stalled,
    /// 503: a server that we need does not answer; trying again later may help.
    #[error("{what} is unavailable, try again later")]
    Unavailable { what: &'static str, cause: anyhow::Error },
    /// 500: our fault.
    #[error("internal error")]
    Internal(#[from] anyhow::Error),
}

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
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
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
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response.extensions_mut().insert(Problem { status, detail });
        response
    }
}
